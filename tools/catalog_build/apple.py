"""Apple's chips with every size of unified memory they are sold with: one device for each, as programs see it."""

from __future__ import annotations

from pathlib import Path

from catalog_build.common import CATALOG_DATE, Row, read_csv
from catalog_build.device_nodes import NODES

KIND = "device"
GIB = 2**30
ALUS = 128  # 32-bit units of a GPU core; 16-bit arithmetic runs at the same rate
_ALU = "cores x 128 units x 2 x clock; units a core: github.com/philipturner/metal-benchmarks (MIT)"
_SET = "recommendedMaxWorkingSetSize in public llama.cpp and MLX logs (ggml-org/llama.cpp#1870, ollama#434, exo#1672)"
_SMALL_GB = 36  # below, two thirds of the memory is for the GPU; from here on three quarters
_POWER = "Apple support article 102027, Mac Studio power consumption"
_NODE = "one chip a machine"
WALL_W_A_CORE = {"m1": 115 / 32, "m2": 145 / 30}  # M1 Max with 32 cores, M2 Max with 30 (the same article)


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    chips = read_csv(Path(__file__).with_name("apple_chips.csv"))
    return [row for chip in chips for memory in chip["memories_gb"].split() for row in _device(chip, int(memory))]


def _device(chip: dict[str, str], memory_gb: int) -> list[Row]:
    me, source = f"{chip['chip']}-{memory_gb}gb", chip["source"]

    def row(parameter: str, value: float | str, unit: str, how: str = "vendor", note: str = "") -> Row:
        return Row(me, parameter, value, unit, source, CATALOG_DATE, how, note=note)

    sold = f"{chip['name']} {memory_gb}GB"
    rows = [
        row("name", f"Apple {sold}", "text"),
        row("aliases", f"apple-{me}|Apple {sold}|{sold}", "list", "derived"),
        row("vendor", "apple", "text"),
        row("class", "apple", "text", "derived"),
        row("architecture", "apple", "text", "derived"),
        row("release_date", chip["released"], "date", "published"),
        row("form_factor", "SoC", "text"),
        row("memory_sold_gb", memory_gb, "GB", "published", "unified: the CPU takes its share"),
        row("memory_nominal_bytes", memory_gb * GIB, "byte", "published"),
        row("memory_type", "LPDDR5 unified", "text"),
        row("memory_bytes_per_s", float(chip["bandwidth_gbs"]) * 1e9, "byte/s"),
        row("link", "unified", "text"),
        row("gpu_cores", float(chip["gpu_cores"]), "", "published", "the most this chip is sold with"),
    ]
    return rows + _memory(me, memory_gb) + _compute(me, chip) + _machine(me, memory_gb, chip)


def _memory(me: str, memory_gb: int) -> list[Row]:
    share, most = (2 / 3, 0.72) if memory_gb < _SMALL_GB else (0.75, 0.84)
    note = "what macOS gives the GPU; later releases give more, and iogpu.wired_limit_mb raises it"
    whole = memory_gb * GIB
    low = 0.98 * share * whole
    return [Row(me, "memory_bytes", share * whole, "byte", _SET, CATALOG_DATE, "measured", low, most * whole, note)]


def _compute(me: str, chip: dict[str, str]) -> list[Row]:
    peak = int(chip["gpu_cores"]) * ALUS * 2 * float(chip["clock_ghz"]) * 1e9
    note = f"{chip['gpu_cores']} cores, the most this chip is sold with; the clock is not published"
    return [
        Row(me, f"peak_{name}_flop_per_s", peak, "flop/s", _ALU, CATALOG_DATE, "assumed", 0.85 * peak, 1.1 * peak, note)
        for name in ("fp32", "fp16", "bf16")
    ]


def _machine(me: str, memory_gb: int, chip: dict[str, str]) -> list[Row]:
    node = NODES["single"]

    def row(parameter: str, value: float | str, unit: str, note: str = "") -> Row:
        return Row(me, parameter, value, unit, node.source, CATALOG_DATE, "assumed", note=note)

    rows = [
        row("node", node.id, "text"),
        row("devices_per_node", 1, "", _NODE),
        row("scale_up_devices", 1, "", _NODE),
        row("inter_node_bytes_per_s", node.inter_node_bytes_per_s, "byte/s"),
        row("host_link_bytes_per_s", float(chip["bandwidth_gbs"]) * 1e9, "byte/s", "the same memory"),
        row("host_memory_bytes", memory_gb * GIB / 4, "byte", "what the GPU is not given"),
        row("utilization_family", "rtx_pro_6000_server", "text", "no kernel table; another maker's GDDR part"),
        row("utilization_donor_widening", 2.0, "", "no kernel table: off by up to this factor (80 %)"),
    ]
    return [*rows, _power(me, chip), row("power_scope", "node", "text", "power_w is the machine's, at the wall")]


def _power(me: str, chip: dict[str, str]) -> Row:
    """The whole machine at the wall at its most; where Apple's table does not have the chip, by its GPU cores."""
    note = "the whole machine at the wall at its most, of a Mac Studio with this chip"
    if chip["wall_w"]:
        watts = float(chip["wall_w"])
        return Row(me, "power_w", watts, "W", _POWER, CATALOG_DATE, "vendor", 0.7 * watts, watts, note)
    each = WALL_W_A_CORE["m1" if chip["chip"].startswith("m1") else "m2"]
    watts = round(each * int(chip["gpu_cores"]))
    note = f"not in the article: {each:.1f} W a GPU core, as the Max chip of that generation or the last one listed"
    return Row(me, "power_w", watts, "W", _POWER, CATALOG_DATE, "assumed", 0.5 * watts, 1.1 * watts, note)
