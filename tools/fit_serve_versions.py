"""Fit what older versions of an engine take beyond today's constants; score with a model left out; write the table.

python tools/fit_serve_versions.py TRUTH [--write]

Three factors a version range: the host's work a layer and a sequence, and experts. Everything else stays as
`fit_serve_time.py` left it; run this after it. Rows are times per output token of vLLM 0.11 and 0.12.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import re
from pathlib import Path
from typing import Any

import numpy as np
from fit_serve_time import Item, build, predict, stacked

from outlay.catalog import load
from outlay.errors import OutlayError
from outlay.resolve.serve.time import VERSIONS, time_constants
from outlay.validate.latency_cases import latency_case
from outlay.validate.power_cases import PROMPTS, task

SCOPE = "vllm@0.11"
NAMES = {
    "layer_s": "of host work a layer",
    "sequence_s": "of host work a sequence and step",
    "experts": "of experts",
}
TABLES = ("mlenergy_v3_llm", "aiconfigurator_silicon")
VERSION = re.compile(r"vllm 0\.1[12]\b")
GUESSED = "sourcegraph-fim"  # a task whose prompts' length says too much to be assumed
SOURCE = ("fit to times per token of vLLM 0.11.1 (ML.ENERGY leaderboard v3) and 0.12.0 (AIConfigurator silicon rows); "
          "python tools/fit_serve_versions.py TRUTH --write")
SCALE, PRIOR, OTHERS = 0.15, 1.0, 0.5  # robust scale; deviation of a factor's logarithm; weight of the second table


def rows_of(truth: Path) -> list[Item]:
    """Measured rows of this age with their parts."""
    catalog, kept, found = load(), {}, []
    for table in TABLES:
        with open(truth / f"{table}.csv", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                energy = table == TABLES[0]
                if energy and (task(row) not in PROMPTS or task(row) == GUESSED):
                    continue
                if not energy and (not VERSION.search(row["engine_version"]) or row["scenario"] == "disagg"):
                    continue
                if energy:
                    row["input_len"] = str(PROMPTS[task(row)])
                try:
                    case = latency_case(table, row)
                    if energy:
                        model = catalog.find("model", row["model"]).id
                        case |= {"model": model, "scenario": case["scenario"] | {"model": model}}
                    if "tpot_s" in case["measured"]:
                        found.append(build(case, catalog, kept))
                except OutlayError:
                    continue
    return found


def guess(stacks: Any, count: int, theta: Any) -> Any:
    """Seconds per output token with factors on today's constants."""
    factors = dict(zip(NAMES, np.exp(theta), strict=True))

    def constants(item: Item) -> dict[str, float]:
        plain = time_constants(item.case["engine"].partition("@")[0], item.generation)
        return {name: value * factors.get(name, 1.0) for name, value in plain.items()}

    return predict(stacks, constants, count)["tpot_s"]


def fit(items: list[Item]) -> Any:
    """Logarithms of the factors, by reweighted least squares near one."""
    stacks, count = stacked(items), len(items)
    measured = np.array([i.case["measured"]["tpot_s"] for i in items])
    weight = np.array([1.0 if i.case["table"] == TABLES[0] else OTHERS for i in items])
    theta = np.zeros(len(NAMES))
    for _ in range(12):
        now = np.log(guess(stacks, count, theta) / measured)
        robust = weight / (1.0 + (now / SCALE) ** 2) ** 0.25
        slope = np.stack([(np.log(guess(stacks, count, theta + 1e-3 * unit) / measured) - now) / 1e-3
                          for unit in np.eye(len(theta))], axis=1)
        a = np.vstack([slope * robust[:, None], np.eye(len(theta)) * SCALE / PRIOR])
        b = np.concatenate([now * robust, theta * SCALE / PRIOR])
        theta = theta - np.clip(np.linalg.lstsq(a, b, rcond=None)[0], -0.5, 0.5)
    return theta


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path, help="folder of published measurements")
    parser.add_argument("--write", action="store_true", help="replace the rows of the catalogue")
    given = parser.parse_args()
    items = rows_of(given.truth)
    apart: dict[str, Any] = {}
    before, after = np.ones(len(items)), np.ones(len(items))
    for model in sorted({i.case["model"] for i in items}):
        apart[model] = fit([i for i in items if i.case["model"] != model])
        places = [k for k, i in enumerate(items) if i.case["model"] == model]
        chosen = [items[k] for k in places]
        measured = np.array([i.case["measured"]["tpot_s"] for i in chosen])
        for ratio, theta in ((before, 0.0 * apart[model]), (after, apart[model])):
            ratio[places] = guess(stacked(chosen), len(chosen), theta) / measured
        print(f"  {model}: {len(places)} rows, predicted over measured {np.round(np.quantile(after[places], 0.5), 2)}")
    for table in TABLES:
        own = [k for k, i in enumerate(items) if i.case["table"] == table]
        old, new = (np.median(np.abs(r[own] - 1.0)) for r in (before, after))
        print(f"{table}: {len(own)} rows, median error {old:.1%} without, {new:.1%} with a model left out, "
              f"p90 {np.quantile(np.abs(after[own] - 1.0), 0.9):.1%}, bias {np.median(after[own]) - 1.0:+.1%}")
    whole = fit(items)
    print({name: round(float(value), 3) for name, value in zip(NAMES, np.exp(whole), strict=True)})
    if given.write:
        write(whole, apart)


def write(whole: Any, apart: dict[str, Any]) -> None:
    with open(VERSIONS, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["parameter"].startswith("version_")]
    today = datetime.date.today().isoformat()
    for scope, theta in ((SCOPE, whole), *((f"{SCOPE}@without/{m}", t) for m, t in apart.items())):
        for name, value in zip(NAMES, np.exp(theta), strict=True):
            note = f"factor on the engine's constant {NAMES[name]}"
            note += "" if scope == SCOPE else ", fitted without the rows of this model, for validation"
            rows.append({"id": scope, "parameter": name, "value": f"{value:.4g}", "unit": "ratio", "low": "",
                         "high": "", "source": SOURCE, "retrieved": today, "how": "derived", "note": note})
    with open(VERSIONS, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
