"""The builder: rows it refuses, and that the same input gives the same bytes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[1] / "tools"
sys.path.insert(0, str(TOOLS))

from catalog_build import common, device_names, device_rules  # noqa: E402

GOOD = common.Row("h100", "power_w", 700.0, "W", "a data sheet", "2026-11-23", "vendor")


@pytest.mark.parametrize(
    "row",
    [
        GOOD._replace(id="H100"),
        GOOD._replace(parameter="power W"),
        GOOD._replace(value=float("nan")),
        GOOD._replace(value="700"),
        GOOD._replace(unit="text"),
        GOOD._replace(source=" "),
        GOOD._replace(retrieved="yesterday"),
        GOOD._replace(how="memory"),
        GOOD._replace(low=600.0),
        GOOD._replace(low=710.0, high=720.0),
        GOOD._replace(note="two\nlines"),
    ],
)
def test_a_row_without_full_provenance_is_not_built(row: common.Row) -> None:
    assert common.faults_of(GOOD) == []
    with pytest.raises(ValueError, match="device"):
        common.check([row], "device")


def test_a_fact_stands_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        common.check([GOOD, GOOD], "device")


def test_numbers_are_short_and_whole() -> None:
    assert common.number(989.4e12) == "989400000000000"
    assert float(common.number(1 / 3)) == pytest.approx(1 / 3, rel=1e-11)


def test_borrowed_utilisation_widens_with_distance() -> None:
    near, next_door, far = (
        device_rules.donor(d).widening for d in ("h100-pcie-80gb", "v100-sxm2-16gb", "t4")
    )
    assert 1.0 == device_rules.donor("h100-sxm5-80gb").widening < near < next_door < far
    assert device_names.catalogue_id("nvidia-rtx-4090") == "rtx-4090"


@pytest.mark.skipif(
    "OUTLAY_DATA" not in os.environ, reason="OUTLAY_DATA and OUTLAY_MODELS name the raw facts"
)
def test_rebuilding_gives_the_committed_bytes(tmp_path: Path) -> None:
    command = [sys.executable, str(TOOLS / "build_catalog.py"), "--data", os.environ["OUTLAY_DATA"]]
    command += ["--models", os.environ["OUTLAY_MODELS"], "--out", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    committed = TOOLS.parent / "src" / "outlay" / "catalog" / "data"
    built = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*.csv"))
    assert built
    for name in built:
        assert (committed / name).read_bytes() == (tmp_path / name).read_bytes(), name
