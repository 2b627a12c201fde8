"""Fit what older versions of an engine take beyond today's constants; score with a model left out; write the table.

python tools/fit_serve_versions.py TRUTH [--write]

Three numbers of one age: experts against today's, more launches of a layer whose experts are in 8 bits, and what
penalties take of a logit, which the client of the energy rows asks for. Everything else stays as `fit_serve_time.py`
left it; run this after it. Rows are times per output token of vLLM 0.11 and 0.12; of energy rows the mean, which is
what ran over the throughput (what they print is the median gap).
"""

from __future__ import annotations

import argparse
import csv
import datetime
import re
from pathlib import Path
from typing import Any

import numpy as np
from fit_serve_time import Item, answer, build, stacked
from serve_time_scores import FEW, SHAPES

from outlay.catalog import load
from outlay.errors import OutlayError
from outlay.resolve.serve.speed import NARROW_EXPERTS
from outlay.resolve.serve.time import ADDED, HOST, PENALTIES, VERSIONS, time_constants
from outlay.validate.latency_cases import latency_case
from outlay.validate.power_cases import PROMPTS, task

SCOPE = "vllm@0.11"
# name: (start, unit, what it is)
NAMES = {
    "experts": (1.0, "ratio", "factor on the engine's constant of experts"),
    ADDED["experts"]: (1e-4, "s", "more launches of a layer whose experts are in 8 bits, quantised block by block"),
    ADDED[PENALTIES]: (2e-10, "s", "penalties, of a logit: a request's tokens are counted anew every step"),
}
TABLES = ("mlenergy_v3_llm", "aiconfigurator_silicon")
VERSION = re.compile(r"vllm 0\.1[12]\b")
GUESSED = "sourcegraph-fim"  # a task whose prompts' length says too much to be assumed
# With penalties and one device a host short of cores sets the pace (vllm-project/vllm#13247): these rows draw down to
# half the power that the same model does elsewhere.
BUSY_HOST = ("B200", "1")
# Of the second table: 2,000-token prompts at 86 % of the device's FP8 peak, beside their answers. Their cache was warm.
WARM = "nvidia/Llama-3.1-8B-Instruct-FP8"
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
                if row["model"] == WARM and not energy:
                    continue
                if not energy and (not VERSION.search(row["engine_version"]) or row["scenario"] == "disagg"):
                    continue
                try:
                    item = build(_energy_case(table, row, catalog) if energy else latency_case(table, row), catalog,
                                 kept)
                except OutlayError:
                    continue
                if "tpot_s" in item.case["measured"]:
                    found.append(_with_model(item, kept))
                    found[-1].weight = _weight(table, row)
    return found


def _weight(table: str, row: dict[str, str]) -> float:
    """Nothing is fitted to a busy host; its errors count as any other's."""
    if table != TABLES[0]:
        return OTHERS
    return 0.0 if (row["gpu"], row["n_gpus"]) == BUSY_HOST else 1.0


def _energy_case(table: str, row: dict[str, str], catalog: Any) -> dict[str, Any]:
    """A row of serving energy with as many at a time as ran, and the mean time of their tokens."""
    case = latency_case(table, row | {"input_len": str(PROMPTS[task(row)]), "concurrency": row["batch"]})
    model = catalog.find("model", row["model"]).id
    mean_s = float(row["batch"]) / float(row["output_tok_s_total"])
    return case | {"model": model, "scenario": case["scenario"] | {"model": model}, "measured": {"tpot_s": mean_s}}


def _with_model(item: Item, kept: dict[Any, Any]) -> Item:
    """With the size of the vocabulary, and whether experts are in 8 bits."""
    case, scenario = item.case, item.case["scenario"]
    key = next(k for k in kept if len(k) > 2 and k[0] == case["model"] and k[1] == scenario["serve"]["precision"])
    low, high = NARROW_EXPERTS
    item.case = case | {"vocab": float(kept[key][0].architecture.vocab),
                        "narrow": low <= item.engine.part_bytes["experts"] < high}
    return item


def guess(items: list[Item], stacks: Any, theta: Any, filter_s: float) -> Any:
    """Seconds per output token with what is fitted beside today's constants."""
    own = {name: start * np.exp(t) for (name, (start, _, _)), t in zip(NAMES.items(), theta, strict=True)}
    out = np.full(len(items), np.nan)
    for places, item in stacks:
        constants = time_constants(item.case["engine"].partition("@")[0], item.generation)
        cases = [items[place].case for place in places]
        penalized = np.array([case["table"] == TABLES[0] for case in cases])
        logits = penalized * np.array([case["vocab"] for case in cases])
        narrow = np.array([case["narrow"] for case in cases])
        constants |= {
            "experts": constants["experts"] * own["experts"],
            "expert_layer_s": constants["expert_layer_s"] + narrow * own[ADDED["experts"]],
            "sequence_s": constants["sequence_s"] + logits * (filter_s + own[ADDED[PENALTIES]]),
        }
        out[places] = answer(item, constants)["tpot_s"]
    return out


def fit(items: list[Item], filter_s: float) -> Any:
    """Logarithms of the factors, by reweighted least squares near their starts."""
    stacks = stacked(items)
    measured = np.array([i.case["measured"]["tpot_s"] for i in items])
    weight = np.array([i.weight for i in items])
    theta = np.zeros(len(NAMES))
    for _ in range(12):
        now = np.log(guess(items, stacks, theta, filter_s) / measured)
        robust = weight / (1.0 + (now / SCALE) ** 2) ** 0.25
        slope = np.stack([(np.log(guess(items, stacks, theta + 1e-3 * unit, filter_s) / measured) - now) / 1e-3
                          for unit in np.eye(len(theta))], axis=1)
        a = np.vstack([slope * robust[:, None], np.eye(len(theta)) * SCALE / PRIOR])
        b = np.concatenate([now * robust, theta * SCALE / PRIOR])
        theta = theta - np.clip(np.linalg.lstsq(a, b, rcond=None)[0], -0.5, 0.5)
    return theta


def values(theta: Any) -> dict[str, float]:
    return {name: start * float(np.exp(t)) for (name, (start, _, _)), t in zip(NAMES.items(), theta, strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path, help="folder of published measurements")
    parser.add_argument("--write", action="store_true", help="replace the rows of the catalogue")
    given = parser.parse_args()
    filter_s = float(load().find("engine", SCOPE).value("filter_logit_s"))
    items = rows_of(given.truth)
    apart: dict[str, Any] = {}
    before, after = np.ones(len(items)), np.ones(len(items))
    nothing = np.array([0.0, -30.0, -30.0])
    for model in sorted({i.case["model"] for i in items}):
        apart[model] = fit([i for i in items if i.case["model"] != model], filter_s)
        places = [k for k, i in enumerate(items) if i.case["model"] == model]
        chosen = [items[k] for k in places]
        measured = np.array([i.case["measured"]["tpot_s"] for i in chosen])
        for ratio, theta, sorting_s in ((before, nothing, 0.0), (after, apart[model], filter_s)):
            ratio[places] = guess(chosen, stacked(chosen), theta, sorting_s) / measured
        print(f"  {model}: {len(places)} rows, predicted over measured {np.round(np.quantile(after[places], 0.5), 2)}")
    for name, chosen in (*((t, [k for k, i in enumerate(items) if i.case["table"] == t and i.weight]) for t in TABLES),
                         ("a busy host", [k for k, i in enumerate(items) if not i.weight])):
        old, new = (np.median(np.abs(r[chosen] - 1.0)) for r in (before, after))
        print(f"{name}: {len(chosen)} rows, median error {old:.1%} without, {new:.1%} with a model left out, "
              f"p90 {np.quantile(np.abs(after[chosen] - 1.0), 0.9):.1%}, bias {np.median(after[chosen]) - 1.0:+.1%}")
    spans = residuals(items, 1.0 / after)
    for row in spans:
        print(row["id"], row["parameter"], row["low"], row["value"], row["high"])
    whole = fit(items, filter_s)
    print({name: f"{value:.4g}" for name, value in values(whole).items()})
    if given.write:
        write(whole, apart, spans)


def residuals(items: list[Item], ratio: Any) -> list[dict[str, str]]:
    """Measured over predicted time per token of models left out, and of throughput, which is one over it.

    Runs whose host may set the pace, with penalties on one device, are a class of their own, of all kinds of models.
    """
    hosted = np.array([i.case["table"] == TABLES[0] and i.layout.devices == 1 for i in items])
    rows = _spans(SCOPE + HOST, ratio, hosted, hosted, SHAPES)
    for shape in SHAPES:
        rows += _spans(SCOPE, ratio, ~hosted & np.array([i.case["shape"] == shape for i in items]), ~hosted, (shape,))
    return rows


def _spans(scope: str, ratio: Any, own: Any, all_kinds: Any, shapes: tuple[str, ...]) -> list[dict[str, str]]:
    rows, note = [], "measured over predicted, model left out"
    if own.sum() < FEW:
        own, note = all_kinds, note + "; too few rows of this kind, all kinds"
    for shape in shapes:
        for number, each in (("tpot_s", ratio[own]), ("output_tokens_per_s", 1.0 / ratio[own])):
            low, value, high = np.quantile(each, (0.1, 0.5, 0.9))
            rows.append({"id": f"residual.{scope}", "parameter": f"{number}.{shape}", "value": f"{value:.4g}",
                         "unit": "ratio", "low": f"{low:.4g}", "high": f"{high:.4g}", "source": SOURCE,
                         "retrieved": datetime.date.today().isoformat(), "how": "derived",
                         "note": f"{note}, {len(each)} rows"})
    return rows


def write(whole: Any, apart: dict[str, Any], spans: list[dict[str, str]]) -> None:
    with open(VERSIONS, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not row["id"].removeprefix("residual.").startswith(SCOPE)
                or row["parameter"].startswith("version_")]
    today = datetime.date.today().isoformat()
    for scope, theta in ((SCOPE, whole), *((f"{SCOPE}@without/{m}", t) for m, t in apart.items())):
        for name, value in values(theta).items():
            note = NAMES[name][2]
            note += "" if scope == SCOPE else ", fitted without the rows of this model, for validation"
            rows.append({"id": scope, "parameter": name, "value": f"{value:.4g}", "unit": NAMES[name][1], "low": "",
                         "high": "", "source": SOURCE, "retrieved": today, "how": "derived", "note": note})
    with open(VERSIONS, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows([*rows, *spans])


if __name__ == "__main__":
    main()
