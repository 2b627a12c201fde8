"""How deployers size two pools, and how far plans that are not told it lie off.

    python tools/fit_pool_replicas.py TRUTH [--write]

Rows that print the workers of each pool say how replicas follow from what the pools have to do. Those that do not are
planned without them, each model left out of the fit of times; the residual is what makes 80 % of them fall inside.
Printed beside: how many of a device's, or an engine's, rows the residual of all others holds.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
from fit_serve_time import rows_of
from msgspec.structs import replace

from outlay.catalog import Catalog, load
from outlay.derive import Z_EDGE, normal_draws
from outlay.planner.serve.pool_times import load_of_pools
from outlay.planner.serve.pools import pools_of
from outlay.resolve import resolve
from outlay.resolve.serve.untold import CONSTANTS, Untold
from outlay.scenario_io import scenario_from
from outlay.validate.serve_time_cases import GROUPS, asked, group_of

SOURCE = "rows of two pools among the AIConfigurator silicon rows (ai-dynamo/aiconfigurator, Apache-2.0); "
TOOL, TODAY = "python tools/fit_pool_replicas.py TRUTH --write", "2026-11-30"
NUMBERS = ("tpot_s", "ttft_s", "output_tokens_per_s")
ROUNDS, WIDEST = 30, 30.0


def of_one_each(case: dict[str, Any], catalog: Catalog) -> tuple[Any, Any]:
    """Both pools with one replica of each, and their load."""
    scenario = asked(case["scenario"])
    split = {name: {key: value for key, value in pool.items() if key != "replicas"}
             for name, pool in scenario["serve"]["disaggregated"].items()}
    scenario = scenario | {"fleet": {k: v for k, v in scenario["fleet"].items() if k != "devices"},
                           "serve": scenario["serve"] | {"disaggregated": split}}
    found = resolve(scenario_from(scenario), catalog, without=f"{GROUPS}model/{group_of(case, 'model')}")
    assert found.serve is not None and found.architecture is not None
    phase, _, pools = pools_of(found.serve, found.architecture)
    return pools, load_of_pools(phase.asked)


def sizing(cases: list[dict[str, Any]], catalog: Catalog) -> tuple[float, float, float]:
    """Replicas of prompts over those of answers: where both are equally busy, the exponent of the load, the spread."""
    ratios, loads = [], []
    for case in cases:
        pools, asked_ = of_one_each(case, catalog)
        found, sides = pools.modelled(asked_), case["scenario"]["serve"]["disaggregated"]
        ratios.append(np.log(sides["prefill"]["replicas"] / sides["decode"]["replicas"]))
        loads.append(np.log(float(found["prefill_load"] / found["decode_load"])))
    columns = np.stack([np.ones(len(loads)), loads], axis=1)
    (even, exponent), *_ = np.linalg.lstsq(columns, np.array(ratios), rcond=None)
    return float(np.exp(even)), float(exponent), float(np.std(np.array(ratios) - columns @ [even, exponent]))


def spread_of(case: dict[str, Any], catalog: Catalog, of: tuple[float, float, float]) -> dict[str, tuple[float, Any]]:
    """What was measured and the draws over replicas, by number."""
    pools, load_ = of_one_each(case, catalog)
    pools = replace(pools, untold=Untold(*of, (np.inf, np.inf), 0))
    drawn = {name: each.samples for name, each in pools.over_replicas(load_, pools.modelled(load_)).items()}
    stay = drawn["ttft_s"] + drawn["tpot_s"] * (load_.output - 1.0)
    drawn["output_tokens_per_s"] = load_.concurrency * load_.output / stay
    seen = dict(case["measured"])
    if {"ttft_s", "tpot_s"} <= set(seen):
        took = seen["ttft_s"] + seen["tpot_s"] * (load_.output - 1.0)
        seen["output_tokens_per_s"] = load_.concurrency * load_.output / took
    return {name: (seen[name], drawn[name]) for name in NUMBERS if name in seen}


def fitted(seen: Any, drawn: Any) -> tuple[float, float]:
    """Low and high of the residual at which a tenth of the rows fall below their interval, and a tenth above."""
    low, high = 0.5, 2.0
    for _ in range(6):
        low = _edge(lambda at, high=high: np.mean(seen < edges(drawn, at, high)[0]) - 0.1)
        high = 1.0 / _edge(lambda at, low=low: np.mean(seen > edges(drawn, low, 1.0 / at)[1]) - 0.1)
    return low, high


def edges(drawn: Any, low: float, high: float) -> Any:
    z = normal_draws(0, "residual")
    taken = drawn * np.exp(np.where(z < 0, -z * np.log(low), z * np.log(high)) / Z_EDGE)
    return np.quantile(taken, (0.1, 0.9), axis=1)


def _edge(over: Any) -> float:
    """Where a share that grows with the place crosses nothing, by halving."""
    low, high = 1.0 / WIDEST, 1.0
    for _ in range(ROUNDS):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if over(middle) > 0.0 else (middle, high)
    return (low * high) ** 0.5


def held(seen: Any, drawn: Any, keys: list[str]) -> str:
    """Share of each group's rows inside what the others' residual makes."""
    told = []
    for key in sorted(set(keys)):
        own = np.array([each == key for each in keys])
        low, high = edges(drawn[own], *fitted(seen[~own], drawn[~own]))
        told.append((float(np.mean((seen[own] >= low) & (seen[own] <= high))), int(own.sum()), key))
    whole = sum(share * n for share, n, _ in told) / len(keys)
    return f"{whole:.0%} (" + ", ".join(f"{key} {share:.0%} of {n}" for share, n, key in told) + ")"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    catalog = load()
    cases = [case for case in rows_of(given.truth, ("aiconfigurator_silicon",)) if case["kind"] == "disagg"]
    of = sizing([case for case in cases if case["told"]], catalog)
    print("even {:.3f}, exponent {:.3f}, spread {:.3f}".format(*of))
    note = f"{sum(case['told'] for case in cases)} rows that print the workers of each pool"
    rows = [[id_, name, f"{value:.4g}", unit, f"{value:.4g}", f"{value:.4g}", SOURCE + TOOL, TODAY, "derived", what]
            for id_, name, value, unit, what in (
                ("even", "ratio", of[0], "ratio", f"replicas of prompts over those of answers at equal load, {note}"),
                ("exponent", "load", of[1], "", f"of the load of prompts over that of answers, {note}"),
                ("spread", "ratio", of[2], "", f"deviation of the ratio's logarithm, {note}"))]
    untold = [case for case in cases if not case["told"]]
    found = [spread_of(case, catalog, of) for case in untold]
    for number in NUMBERS:
        places = [i for i, each in enumerate(found) if number in each]
        seen, drawn = (np.array([found[i][number][k] for i in places]) for k in (0, 1))
        low, high = fitted(seen, drawn)
        bare = np.quantile(drawn, (0.1, 0.9), axis=1)
        print(f"{number}: residual {low:.3f} to {high:.3f}; over replicas alone "
              f"{np.mean((seen >= bare[0]) & (seen <= bare[1])):.0%} inside")
        for what in ("device", "engine", "model"):
            print(f"  {what} left out: {held(seen, drawn, [untold[i][what] for i in places])}")
        devices = np.array([untold[i]["device"] for i in places])
        spans = {"": (low, high)} | {f"@without/{device}": fitted(seen[devices != device], drawn[devices != device])
                                     for device in sorted(set(devices))}
        rows += [[f"residual.untold{tail}", number, "1", "ratio", f"{span[0]:.4g}", f"{span[1]:.4g}", SOURCE + TOOL,
                  TODAY, "derived", f"measured over predicted, model left out, replicas drawn, {len(places)} rows"
                  + (", but this device's, for validation" if tail else "")] for tail, span in spans.items()]
    if given.write:
        with open(CONSTANTS, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", "parameter", "value", "unit", "low", "high", "source", "retrieved", "how", "note"])
            writer.writerows(rows)


if __name__ == "__main__":
    main()
