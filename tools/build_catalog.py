"""Rebuild the shipped catalogue from raw facts: python tools/build_catalog.py --data DIR --models DIR.

`--only KIND` rebuilds one kind. The output is committed; the same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from catalog_build import common  # noqa: E402

OUT = HERE.parent / "src" / "outlay" / "catalog" / "data"
TABLES = (
    "devices",
    "apple",
    "instances",
    "models",
    "sites",
    "utilization",
    "defaults",
    "defaults_pay",
    "defaults_serve",
    "load_shapes",
    "tunings",
    "nodes",
    "frameworks",
    "engines",
    "checkpoints",
    "optimizers",
    "providers",
    "storage",
    "datasets",
    "embodied",
    "technologies",
    "personas",
    "focus",
    "life_defaults",
    "deals",
    "evaluations",
    "lifetimes",
    "rungs",
    "concentration",
    "defaults_afford",
    "holes",
    "meta",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of raw fact tables")
    parser.add_argument("--models", type=Path, required=True, help="folder of raw model tables")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only", help="rebuild one kind (or 'prices', 'token_prices')")
    args = parser.parse_args()
    by_kind: dict[str, list[common.Row]] = {}
    for name in TABLES:
        if not (HERE / "catalog_build" / f"{name}.py").exists():
            print(f"{name}: no builder yet")
            continue
        module = importlib.import_module(f"catalog_build.{name}")
        if not hasattr(module, "KIND"):  # grids: their own files, not facts
            if args.only in (None, name):
                (args.out / "grids").mkdir(parents=True, exist_ok=True)
                module.build(args.data, args.out / "grids")
                print(f"{name}: grids written")
        elif args.only in (None, module.KIND):
            by_kind.setdefault(module.KIND, []).extend(module.build(args.data, args.models))
    args.out.mkdir(parents=True, exist_ok=True)
    for kind, rows in by_kind.items():
        text = common.table_text(common.check(rows, kind))
        changed = common.write_if_changed(args.out / f"{kind}.csv", text)
        print(
            f"{kind}: {len({r.id for r in rows})} entries, {len(rows)} rows, {len(text) // 1000} kB"
            f"{'' if changed else ', unchanged'}"
        )
    if args.only in (None, "prices") and (HERE / "catalog_build" / "prices.py").exists():
        prices = importlib.import_module("catalog_build.prices")
        print(prices.write(args.data, args.out))
    if args.only in (None, "token_prices"):
        print(importlib.import_module("catalog_build.token_prices").write(args.data, args.out))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
