"""How far counted training memory is off measured runs, by evidence class: the train_memory residuals.

    python tools/memory_residuals.py TRUTH_FOLDER            print the spread of every class
    python tools/memory_residuals.py TRUTH_FOLDER --write    put it into the catalogue

Nothing is fitted to these runs but the fragmentation of torchtitan's allocator, whose refits with one table
left out differ by less than the interval. A configuration measured several times counts once.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from outlay.catalog import Catalog, load
from outlay.planner.layouts.evaluate import nominal
from outlay.resolve import resolve
from outlay.scenario_io import scenario_from
from outlay.steps.inputs import Layout
from outlay.steps.train.memory import train_memory
from outlay.validate.memory_cases import MemoryCase, memory_case

TABLES = ("simumax_b200", "torchtitan", "megatron_golden_memory", "korthikanti_2022")
OUT = Path(__file__).parent.parent / "src" / "outlay" / "catalog" / "data" / "memory_constants.csv"
HEADER = ["id", "parameter", "value", "unit", "low", "high", "source", "retrieved", "how", "note"]
SOURCE = "errors against SimuMax B200, torchtitan, Megatron-LM tests and arXiv:2205.05198"
DATE = "2026-11-23"
FAMILY = "train_memory"
EDGES = (0.12, 0.88)  # narrower than the 80 % of a plan, since the draws of the sizes themselves come on top
ASSUMED = {
    FAMILY: (0.90, 1.15, "no measured run of this kind: wider than every measured class"),
    f"{FAMILY}.xla": (0.90, 1.12, "whole-graph compilation plans its own buffers; not measured"),
    f"{FAMILY}.tpu": (0.90, 1.12, "whole-graph compilation plans its own buffers; not measured"),
}
POOLED = {"torchtitan": ("torchtitan", "fsdp"), "fsdp": ("torchtitan", "fsdp")}  # eager and compiled runs


def ratios(folder: Path) -> dict[str, list[float]]:
    """Measured over counted by evidence class, one value a configuration."""
    catalog = load()
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for table in TABLES:
        with open(folder / f"{table}.csv", newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
        for row in rows:
            case = memory_case(table, row)
            if case is None or case.excluded:
                continue
            evidence, counted = _counted(case, catalog)
            key = repr((case.name.split("_mbc")[0], case.measured_bytes))
            found[evidence][key] = case.measured_bytes / counted
    return {name: list(group.values()) for name, group in found.items()}


def _counted(case: MemoryCase, catalog: Catalog) -> tuple[str, float]:
    """Evidence class, and the counted bytes of what was measured."""
    resolved = resolve(scenario_from(dict(case.scenario)), catalog)
    phase, arch, hw = resolved.pretrain, resolved.architecture, resolved.hardware
    assert phase is not None and arch is not None and hw is not None
    given = dict(case.scenario["pretrain"]["layout"])
    given.setdefault("shard", given["data"])
    if given.get("virtual_pipeline", 1) > 1:
        given["schedule"] = "interleaved"
    memory = train_memory(arch, nominal(hw), nominal(phase.recipe), Layout(**given))
    stage = memory.fullest if case.stage == "fullest" else memory.stages[-1]
    if case.field.startswith("memory_parts."):
        return phase.evidence, float(stage.parts[case.field.partition(".")[2]])
    return phase.evidence, float(getattr(stage, case.field))


def rows_of(found: dict[str, list[float]]) -> list[list[str]]:
    """Catalogue rows: measured classes first, then the assumed ones."""
    rows = []
    for name in sorted(found):
        pool = [value for other in POOLED.get(name, (name,)) for value in found.get(other, [])]
        low, high = (float(edge) for edge in np.quantile(pool, EDGES))
        note = f"12th to 88th percentile of measured over counted, {len(pool)} configurations"
        rows.append(["residual", f"{FAMILY}.{name}", "1", "ratio", f"{min(low, 0.99):.3f}",
                     f"{max(high, 1.01):.3f}", SOURCE, DATE, "derived", note])
    for name, (low, high, note) in ASSUMED.items():
        if name not in {row[1] for row in rows}:
            rows.append(["residual", name, "1", "ratio", f"{low:.3f}", f"{high:.3f}",
                         "no measured run; a choice of this catalogue", DATE, "assumed", note])
    return rows


def write(rows: list[list[str]]) -> None:
    """Replace the residuals and keep the constants."""
    kept: list[list[str]] = []
    if OUT.exists():
        with open(OUT, newline="", encoding="utf-8") as handle:
            kept = [row for row in list(csv.reader(handle))[1:] if row[0] != "residual"]
    with open(OUT, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(HEADER)
        writer.writerows(kept + rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    rows = rows_of(ratios(args.truth))
    for row in rows:
        print(f"{row[1]:28s} {row[4]} .. {row[5]}  {row[9]}")
    if args.write:
        write(rows)


if __name__ == "__main__":
    main()
