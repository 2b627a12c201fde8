"""Fit the constants of the serving time model to published latencies, leaving groups out; score; write the table.

python tools/fit_serve_time.py TRUTH [--write] [--leave-out]
"""

from __future__ import annotations

import argparse
import csv
import datetime
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from outlay.catalog import load
from outlay.resolve import resolve
from outlay.resolve.serve_time import CONSTANTS, time_constants, time_device
from outlay.scenario_io import scenario_from
from outlay.steps.serve_inputs import ServeLayout
from outlay.steps.serve_memory import serve_memory
from outlay.steps.serve_time import Parts, closed, sequences_at_once, time_parts
from outlay.steps.serve_time_inputs import EngineTime, Load
from outlay.validate.latency_cases import latency_case, merge_copies

# name: (start, unit, how far a fit may go from it as a factor, what it is)
BASE = {
    "flow": (1.0, "ratio", 1.3, "large matrix products in an engine against the measured kernels"),
    "floor": (0.4, "ratio", 2.0, "what of a small kernel's own time remains in a captured graph"),
    "experts": (1.1, "ratio", 1.6, "grouped expert products against a single product of their bytes"),
    "exchange": (1.0, "ratio", 2.0, "collectives in a step against those measured alone"),
    "reading": (1.0, "ratio", 2.0, "decode attention against the measured kernel"),
    "layer_s": (12e-6, "s", 6.0, "small kernels of a layer: norms, rotation, activation, cache write"),
    "expert_layer_s": (15e-6, "s", 3.0, "routing, sorting and joining of a layer with experts"),
    "step_s": (500e-6, "s", 6.0, "scheduling, sampling and copies of a step"),
    "sequence_s": (8e-6, "s", 8.0, "host work a sequence and step"),
    "prompt": (1.1, "ratio", 1.6, "matrix products of a prompt against the measured kernels"),
    "prompt_experts": (1.2, "ratio", 1.6, "experts of a prompt against single products"),
    "prompt_attention": (1.0, "ratio", 1.6, "attention of a prompt against half the 16-bit peak"),
    "share": (1.0, "ratio", 1.2, "of other requests' prompts that falls between one's own tokens"),
    "prompt_layer_s": (100e-6, "s", 8.0, "launching the kernels of a layer one by one, outside a captured graph"),
    "prompt_expert_layer_s": (200e-6, "s", 8.0, "the same of a layer's experts"),
    "first_s": (0.03, "s", 8.0, "request handling before the first token"),
    "queue": (0.05, "ratio", 4.0, "of a burst of all prompts, waited for on average: half a wave of ten"),
    "wait": (1.0, "ratio", 16.0, "decode steps until a request is taken up and its first token sent"),
    "wait_ranks": (10.0, "ratio", 16.0, "decode steps more where attention ranks take up prompts together"),
    "mixed_layer_s": (20e-6, "s", 8.0, "a layer's launches in a decode step that carries a prompt"),
}
# How far an engine or a generation may lie from all, as the deviation of a logarithm: kernels less than hosts.
SPREADS = {"flow": 0.06, "reading": 0.08, "exchange": 0.12, "floor": 0.1, "experts": 0.1, "layer_s": 0.2,
           "expert_layer_s": 0.2, "step_s": 0.3, "sequence_s": 0.3, "prompt": 0.3, "prompt_experts": 0.3, "prompt_attention": 0.3, "share": 0.15, "first_s": 1.4,
           "queue": 0.6, "wait": 2.0, "wait_ranks": 1.0, "mixed_layer_s": 0.6, "prompt_layer_s": 1.2, "prompt_expert_layer_s": 1.2}
HOST = ("layer_s", "step_s", "prompt_layer_s", "mixed_layer_s")
ENGINES_OWN = ("step_s", "sequence_s", "share", "first_s", "queue", "wait", "wait_ranks", "mixed_layer_s", "prompt_layer_s",
               "prompt_expert_layer_s")  # of the host and the scheduler, whatever the device
OLD_SPREAD = 8.0  # of the host's work in an engine of another age
BY_SCOPE = tuple(SPREADS)
TIGHT = 4.0  # weight of the priors, chosen by the error on models left out
FITTED = ("aiconfigurator_silicon", "splitwise_perf_model")
COLUMNS = ["id", "parameter", "value", "unit", "low", "high", "source", "retrieved", "how", "note"]
FEW = 30  # rows below which a kind of model has no percentiles of its own
SCALE = 0.12  # error from which on a row counts linearly
TTFT_WEIGHT = 0.35
TTFT_SCALE = 2.0
UNTOLD_WEIGHT = 0.0  # rows that do not print how many replicas a pool has
DRAFTED = 0.35  # faster than told by more than this logarithm: a model that can draft did, though no row says so
SOURCE = "fit to AIConfigurator silicon rows and Splitwise; python tools/fit_serve_time.py TRUTH --write"


@dataclass
class Item:
    """A measured row with its parts."""

    case: dict[str, Any]
    parts: Parts
    engine: EngineTime
    layout: ServeLayout
    load: Load
    running: Any
    first: Any = None  # of a disaggregated row: parts, engine, layout, load, running of the prefill pool
    generation: str = ""
    weight: float = 1.0
    drafts: bool = False  # whether the model comes with a head that drafts


def rows_of(truth: Path, tables: Iterable[str]) -> list[dict[str, Any]]:
    cases = []
    for table in tables:
        with open(truth / f"{table}.csv", newline="", encoding="utf-8") as file:
            cases += [latency_case(table, row) for row in merge_copies(list(csv.DictReader(file)))]
    return cases


def build(case: dict[str, Any], catalog: Any, kept: dict[Any, Any]) -> Item:
    scenario = {**case["scenario"], "serve": dict(case["scenario"]["serve"])}
    serve = scenario["serve"]
    split = serve.pop("disaggregated", None)
    first_side, side = (split["prefill"], split["decode"]) if split else (None, {k: serve[k] for k in
                                                                   ("tensor", "pipeline", "data", "expert")})
    work = serve["workload"]
    fleet = scenario["fleet"]
    key = (case["model"], serve["precision"], case["device"], case["engine"], "device_power_limit_w" in fleet)
    if key not in kept:
        plain = {n: serve[n] for n in ("engine", "engine_version", "precision") if n in serve} | {"tensor": 1}
        kept[key] = resolve(scenario_from({**scenario, "serve": plain}), catalog), time_device(
            catalog.find("device", case["device"], ""))
    resolved, device = kept[key]
    recipe = resolved.serve.recipe
    plain_of = lambda x: float(getattr(x, "value", x))  # noqa: E731
    drafted = 0.0
    engine = EngineTime({k: plain_of(v) for k, v in recipe.part_bytes.items()}, plain_of(recipe.cache_bytes), {},
                        8192.0, 4096.0, drafted, 0.0)
    kind = "batch" if "batch" in work else "queued" if work.get("rate") == math.inf else "closed"
    layout = layout_of(side)
    count = float(work.get("concurrency", work.get("batch", 1)))
    if (key, layout) not in kept:
        found = serve_memory(resolved.architecture, plain_of(resolved.serve.usable_bytes), recipe, layout)
        kept[key, layout] = plain_of(found.kv_cache_tokens)
    cache = kept[key, layout]
    least = work["input"] + work["output"]
    if cache <= least:  # the row ran: its memory is not as told
        cache = least if kind == "queued" else math.inf
    replicas = side.get("replicas", 1)
    load_ = Load(kind, work["input"], work["output"], max(count / replicas, 1.0), 0.0, cache,
                 "decode" if split else "both")
    running = sequences_at_once(engine, layout, load_)
    parts = time_parts(resolved.architecture, device, engine, layout, load_, running)
    first = None
    if first_side:
        one = layout_of(first_side)
        share = max(count / first_side["replicas"], 1.0)
        pre = replace(load_, concurrency=share, pool="prefill")
        at = sequences_at_once(engine, one, pre)
        first = time_parts(resolved.architecture, device, engine, one, pre, at), one, pre, at
    return Item(case, parts, engine, layout, load_, running, first, device.generation,
                drafts=resolved.architecture.mtp_layers > 0)


def layout_of(side: dict[str, Any]) -> ServeLayout:
    tensor, data = side["tensor"], side["data"]
    return ServeLayout(tensor, side["pipeline"], min(side["expert"], tensor * data), data)


def stacked(items: list[Item]) -> list[tuple[list[int], Item]]:
    """Items of one kind, engine and generation as one of arrays, with their places."""
    groups: dict[Any, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        groups[item.load.kind, item.load.pool, item.case["engine"], item.generation].append(place)
    found = []
    for places in groups.values():
        members = [items[i] for i in places]
        found.append((places, _stack(members)))
    return found


def _stack(values: list[Any]) -> Any:
    first = values[0]
    if hasattr(first, "__dataclass_fields__"):
        held = {}
        for name in first.__dataclass_fields__:
            if name in ("case", "generation", "engine", "kind", "pool"):
                held[name] = getattr(first, name)
            else:
                held[name] = _stack([getattr(v, name) for v in values])
        return type(first)(**held)
    if isinstance(first, tuple):
        return tuple(_stack([v[i] for v in values]) for i in range(len(first)))
    if first is None:
        return None
    return np.array([float(v) for v in values])


def predict(
    stacks: list[tuple[list[int], Item]], constants: Callable[[Item], dict[str, float]], n: int
) -> dict[str, Any]:
    out = {name: np.full(n, np.nan) for name in ("ttft_s", "tpot_s", "output_tokens_per_s")}
    for places, item in stacks:
        engine = replace(item.engine, constants=constants(item))
        found = closed(item.parts, engine, item.layout, item.load, item.running)
        if item.first is not None:
            parts, layout, load_, running = item.first
            found["ttft_s"] = closed(parts, engine, layout, load_, running)["ttft_s"]
        for name in out:
            out[name][places] = found[name]
    return out


def of_scopes(item: Item) -> tuple[str, ...]:
    """Whose factors bear on a row."""
    return item.case["engine"], item.case["engine"].partition("@")[0], item.generation


class Fit:
    """Logarithms of the base constants, then factors of every engine and generation among the rows."""

    def __init__(self, items: list[Item]) -> None:
        engines = {i.case["engine"] for i in items}
        generations = {i.generation for i in items}
        self.scopes = sorted(engines | {e.partition("@")[0] for e in engines} | generations)
        self.names = [("all", n) for n in BASE] + [
            (s, n) for s in self.scopes for n in BY_SCOPE if n not in (ENGINES_OWN if s in generations else ())
        ]

    def table(self, theta: Any) -> dict[tuple[str, str], float]:
        found = {}
        for (scope, name), value in zip(self.names, theta, strict=True):
            found[scope, name] = math.exp(value) * (BASE[name][0] if scope == "all" else 1.0)
        return found

    def constants(self, theta: Any) -> Callable[[Item], dict[str, float]]:
        table = self.table(theta)

        def of(item: Item) -> dict[str, float]:
            return time_constants(item.case["engine"], item.generation, table)

        return of

    def run(self, items: list[Item], rounds: int = 14) -> Any:
        items = [i for i in items if i.weight > 0]
        stacks, n = stacked(items), len(items)
        seen = {name: np.array([i.case["measured"].get(name, np.nan) for i in items]) for name in ("tpot_s", "ttft_s")}
        whole = np.sqrt(np.array([i.weight for i in items]))
        drafts = np.array([i.drafts for i in items])
        free = [
            0.6 * math.log(BASE[n][2]) if s == "all" else OLD_SPREAD if "@" in s and n in HOST else SPREADS[n]
            for s, n in self.names
        ]
        prior = TIGHT / np.array(free)

        def errors(theta: Any, found: Any = None) -> Any:
            found = found or predict(stacks, self.constants(theta), n)
            parts, weight = [], whole * kept
            for name, scale, w in (("tpot_s", SCALE, 1.0), ("ttft_s", TTFT_SCALE * SCALE, TTFT_WEIGHT)):
                e = np.log(found[name] / seen[name]) / scale
                e = np.where(np.isfinite(e), e, 0.0)
                parts.append(w * weight * np.sign(e) * np.sqrt(2.0 * (np.sqrt(1.0 + e * e) - 1.0)))
            return np.concatenate([*parts, prior * theta])

        kept = np.ones(n)
        theta, damp = np.zeros(len(self.names)), 1.0
        now = errors(theta)
        for turn in range(rounds):
            if turn in (4, 8):
                ahead = np.log(predict(stacks, self.constants(theta), n)["tpot_s"] / seen["tpot_s"])
                kept = np.where(drafts & (ahead > DRAFTED), 0.0, 1.0)
                now = errors(theta)
            slope = np.zeros((len(now), len(theta)))
            base = predict(stacks, self.constants(theta), n)
            for j, (scope, _) in enumerate(self.names):
                step = np.zeros(len(theta))
                step[j] = 1e-4
                part = [s for s in stacks if scope == "all" or scope in of_scopes(s[1])]
                if part:
                    moved = predict(part, self.constants(theta + step), n)
                    moved = {m: np.where(np.isnan(v), base[m], v) for m, v in moved.items()}
                    slope[:, j] = (errors(theta + step, moved) - now) / 1e-4
            gram, right = slope.T @ slope, -slope.T @ now
            for _ in range(6):
                move = np.linalg.solve(gram + damp * np.diag(np.diag(gram)), right)
                new = errors(theta + np.clip(move, -1, 1))
                if new @ new < now @ now:
                    theta, now, damp = theta + np.clip(move, -1, 1), new, damp / 4
                    break
                damp *= 4
            else:
                break
        return theta


def report(title: str, items: list[Item], found: dict[str, Any]) -> None:
    print(f"-- {title}")
    classes: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        case = item.case
        kind = case["kind"] if case["kind"] in ("agg", "disagg") else "static" if "static" in case["kind"] else \
            "queued" if "offline" in case["kind"] else "steady"
        shape = shape_of(case["model"])
        classes[f"{kind} {shape}"].append(place)
        if kind == "agg":
            classes["agg all"].append(place)
            classes["agg engine " + case["engine"]].append(place)
            classes["agg device " + case["device"]].append(place)
            classes["agg model " + case["model"]].append(place)
        if kind == "disagg":
            classes["disagg all"].append(place)
    for name, places in sorted(classes.items()):
        line = f"{name:34s} n={len(places):4d}"
        for number in ("tpot_s", "ttft_s", "output_tokens_per_s"):
            seen = np.array([items[i].case["measured"].get(number, np.nan) for i in places])
            ratio = found[number][places] / seen
            ratio = ratio[np.isfinite(ratio)]
            if len(ratio):
                e = np.abs(ratio - 1)
                middle, high, bias = np.median(e), np.quantile(e, 0.9), np.median(ratio)
                line += f" | {number[:6]} {middle:6.1%} p90 {high:6.1%} bias {bias:5.2f}"
        print(line)


def shape_of(model: str) -> str:
    return "mla" if model.startswith(("deepseek", "glm-5", "kimi")) else "moe" if any(
        w in model for w in ("gpt-oss", "-a", "mixtral", "llama-4")) else "dense"


def weigh(items: list[Item]) -> None:
    """A group of rows with the same model, device, engine and kind counts as the square root of its size."""
    sizes: dict[Any, int] = defaultdict(int)
    for i in items:
        sizes[i.case["model"], i.case["device"], i.case["engine"], i.case["kind"]] += 1
    for i in items:
        i.weight = 5.0 / math.sqrt(sizes[i.case["model"], i.case["device"], i.case["engine"], i.case["kind"]])
        i.weight *= 1.0 if i.case["told"] else UNTOLD_WEIGHT


def family(model: str) -> str:
    return "deepseek" if model.startswith("deepseek") else model


def left_out(items: list[Item], fitted: list[Item], key: Callable[[Item], str]) -> dict[str, Any]:
    out = {name: np.full(len(items), np.nan) for name in ("ttft_s", "tpot_s", "output_tokens_per_s")}
    for group in sorted({key(i) for i in items}):
        rest = [i for i in fitted if key(i) != group]
        fit = Fit(rest)
        theta = fit.run(rest, 8)
        places = [p for p, i in enumerate(items) if key(i) == group]
        held = [items[p] for p in places]
        found = predict(stacked(held), fit.constants(theta), len(held))
        for name in out:
            out[name][places] = found[name]
    return out


def residuals(items: list[Item], found: dict[str, Any], scope: str, what: str) -> list[list[str]]:
    """Measured over predicted of a group left out, 10th to 90th percentile: what intervals are.

    A kind of model with too few rows of its own takes those of all kinds.
    """
    rows = []
    for pools in (False, True):
        for shape in ("dense", "moe", "mla"):
            for number in ("tpot_s", "ttft_s", "output_tokens_per_s"):
                ratio, note = _ratios(items, found, number, shape, pools), what
                if len(ratio) < FEW:
                    ratio = np.concatenate([_ratios(items, found, number, s, pools) for s in ("dense", "moe", "mla")])
                    note += "; too few rows of this kind, all kinds"
                low, value, high = np.quantile(ratio, (0.1, 0.5, 0.9))
                span = [f"{value:.4g}", "ratio", f"{low:.4g}", f"{high:.4g}"]
                name = f"{number}.{shape}" + (".pools" if pools else "")
                rows.append([f"residual.{scope}", name, *span, SOURCE, datetime.date.today().isoformat(), "derived",
                             f"measured over predicted, {note}, {len(ratio)} rows"])
    return rows


def _ratios(items: list[Item], found: dict[str, Any], number: str, shape: str, pools: bool) -> Any:
    """Of throughput: as a closed loop's own latencies tell it where the table prints none."""
    ratio = []
    for place, item in enumerate(items):
        case, work = item.case, item.case["scenario"]["serve"]["workload"]
        if shape_of(item.case["model"]) != shape or (case["kind"] == "disagg") != pools or "static" in case["kind"]:
            continue
        seen = dict(case["measured"])
        if "output_tokens_per_s" not in seen and {"tpot_s", "ttft_s"} <= set(seen) and "concurrency" in work:
            out = work["output"]
            seen["output_tokens_per_s"] = work["concurrency"] * out / (seen["ttft_s"] + (out - 1) * seen["tpot_s"])
        if number in seen:
            ratio.append(seen[number] / found[number][place])
    return np.array([r for r in ratio if np.isfinite(r)])


def write(fit: Fit, theta: Any, extra: list[list[str]]) -> None:
    today = datetime.date.today().isoformat()
    with open(CONSTANTS, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(COLUMNS)
        for (scope, name), value in fit.table(theta).items():
            unit = BASE[name][1] if scope == "all" else "ratio"
            wide = 1.15 if scope == "all" else 1.0
            note = BASE[name][3] if scope == "all" else "factor on that of all"
            span = [f"{value / wide:.4g}", f"{value * wide:.4g}"]
            out.writerow([scope, name, f"{value:.4g}", unit, *span, SOURCE, today, "derived", note])
        out.writerows(extra)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--leave-out", action="store_true")
    parser.add_argument("--keep", type=Path, help="parts kept between runs while trying")
    given = parser.parse_args()
    import pickle

    if given.keep and given.keep.exists():
        items = pickle.loads(given.keep.read_bytes())
    else:
        catalog, kept = load(), {}
        items = [build(c, catalog, kept) for c in rows_of(given.truth, FITTED)]
        if given.keep:
            given.keep.write_bytes(pickle.dumps(items))
    weigh(items)
    fit = Fit(items)
    theta = fit.run(items)
    report("fitted to all", items, predict(stacked(items), fit.constants(theta), len(items)))
    for (scope, name), value in fit.table(theta).items():
        print(scope, name, f"{value:.4g}")
    extra: list[list[str]] = []
    if given.leave_out:
        found = left_out(items, items, lambda i: family(i.case["model"]))
        report("a model left out", items, found)
        extra = residuals(items, found, "seen", "a model left out")
        found = left_out(items, items, lambda i: i.case["device"])
        report("a device left out", items, found)
        extra += residuals(items, found, "unseen", "a device left out")
        report("an engine left out", items, left_out(items, items, lambda i: i.case["engine"]))
    if given.write:
        write(fit, theta, extra)


if __name__ == "__main__":
    main()
