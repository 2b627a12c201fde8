"""Node builds as entries of their own, so that a person can look one up and layer another on top."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row
from catalog_build.device_nodes import NODES

KIND = "node"
UNITS = {
    "devices_per_node": "",
    "scale_up_devices": "",
    "inter_node_bytes_per_s": "byte/s",
    "host_link_bytes_per_s": "byte/s",
    "host_memory_bytes": "byte",
}


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    rows = []
    for node in NODES.values():
        rows.append(
            Row(node.id, "name", node.name, "text", node.source, CATALOG_DATE, node.how, note=node.note)
        )
        for parameter, unit in UNITS.items():
            value = float(getattr(node, parameter))
            if value:
                rows.append(
                    Row(node.id, parameter, value, unit, node.source, CATALOG_DATE, node.how, note=node.note)
                )
    return rows
