"""Fit the constants of the serving time model to published latencies, leaving groups out; score; write the table.

python tools/fit_serve_time.py TRUTH [--write] [--leave-out]
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.catalog import load
from outlay.resolve import resolve
from outlay.resolve.serve.time import GROUPS, UNKNOWN_AGE, shape_of, time_constants, time_device
from outlay.scenario_io import scenario_from
from outlay.steps.serve.cache import tokens_at
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.memory import serve_memory
from outlay.steps.serve.time import closed
from outlay.steps.serve.time_inputs import EngineTime, Load
from outlay.steps.serve.time_parts import Parts, time_parts
from outlay.steps.serve.time_room import room_of
from outlay.validate.latency_cases import latency_case, merge_copies
from outlay.validate.serve_time_cases import group_of

sys.path.insert(0, str(Path(__file__).parent))

from serve_time_scores import (
    age_residuals,
    forget,
    pool_ratios,
    pools_like,
    ratios_of,
    report,
    residuals,
    write,
    write_left_out,
)

# name: (start, unit, how far a fit may go from it as a factor, what it is)
BASE = {
    "flow": (0.9, "ratio", 1.3, "reading the weights of matrix products against the measured kernels"),
    "floor": (0.4, "ratio", 2.0, "what of a small kernel's own time remains in a captured graph"),
    "experts": (1.0, "ratio", 1.6, "grouped expert products against a single product of their bytes"),
    "exchange": (1.0, "ratio", 2.0, "collectives in a step against those measured alone"),
    "reading": (1.0, "ratio", 2.0, "decode attention against the measured kernel"),
    "layer_s": (16e-6, "s", 6.0, "small kernels of a layer: norms, rotation, activation, cache write"),
    "expert_layer_s": (10e-6, "s", 3.0, "routing, sorting and joining of a layer with experts"),
    "step_s": (500e-6, "s", 6.0, "scheduling, sampling and copies of a step"),
    "sequence_s": (8e-6, "s", 8.0, "host work a sequence and step"),
    "work": (1.1, "ratio", 1.6, "matrix products bound by arithmetic against the measured kernels"),
    "expert_work": (1.1, "ratio", 1.6, "experts bound by arithmetic against single products of their tiles"),
    "copies": (1.0, "ratio", 1.6, "tokens' copies handed to experts and back against those of the measured kernels"),
    "prompt_attention": (1.0, "ratio", 1.6, "attention of a prompt against half the 16-bit peak"),
    "prompt_layer_s": (100e-6, "s", 8.0, "launching the kernels of a layer one by one, outside a captured graph"),
    "prompt_expert_layer_s": (250e-6, "s", 8.0, "the same of a layer's experts"),
    "prompt_mixer_layer_s": (1000e-6, "s", 8.0, "the same of a layer whose mixer is not plain attention"),
    "first_s": (0.012, "s", 8.0, "request handling before the first token"),
    "token_s": (4e-6, "s", 8.0, "reading a prompt's text, a token"),
    "queue": (0.05, "ratio", 4.0, "of a burst of all prompts, waited for on average: half a wave of ten"),
    "meet": (0.5, "ratio", 4.0, "of the prompts under way or before one, waited for: half of the one under way"),
    "wait": (1.5, "ratio", 16.0, "decode steps until a request is taken up and its first token sent"),
    "hold": (1.0, "ratio", 1.6, "of the decode steps that a server is set to let pass"),
    "mixed_layer_s": (20e-6, "s", 8.0, "a layer's launches in a decode step that carries a prompt"),
    "mixed_expert_layer_s": (20e-6, "s", 8.0, "the same of a layer's experts"),
}
# How far an engine may lie from all, as the deviation of a logarithm: how it takes requests up, not its kernels;
# and a generation of devices. What is not here is of all: factors of their own cost more on models left out.
BY_ENGINE = {"first_s": 0.15, "wait": 0.1, "queue": 0.05, "prompt_layer_s": 0.3,
             "prompt_expert_layer_s": 0.3}
BY_GENERATION = {"layer_s": 0.02, "work": 0.02}
BY_AGE = {"layer_s": 0.5, "step_s": 0.5}  # of old versions
OF_ALL = 16.0  # of the priors of all, chosen with the above by the error on models left out
FITTED = ("aiconfigurator_silicon", "splitwise_perf_model", "tensorrt_llm_perf_overview")
NUDGE = 1e-4
DATED = "vllm@0.11"
SCALE = 0.12  # error from which on a row counts linearly
# Numbers that are fitted, with the error from which on each counts linearly and its weight.
NUMBERS = (("tpot_s", SCALE, 1.0), ("ttft_s", 2.0 * SCALE, 0.35), ("output_tokens_per_s", 1.5 * SCALE, 0.5))
POOLS_WEIGHT = 0.15  # rows of two pools are many of one model
UNTOLD_WEIGHT = 0.05  # rows that do not print how many replicas a pool has


class Item(Struct):
    """A measured row with its parts."""

    case: dict[str, Any]
    parts: Parts
    engine: EngineTime
    layout: ServeLayout
    load: Load
    room: Any
    first: Any = None  # of a disaggregated row: parts, engine, layout, load, room of the prefill pool
    generation: str = ""
    weight: float = 1.0


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
    key = (case["model"], serve["precision"], serve.get("kv_precision"), case["device"], case["engine"],
           "device_power_limit_w" in fleet, str(serve.get("speculative")))
    if key not in kept:
        plain = {n: serve[n] for n in ("engine", "engine_version", "precision", "kv_precision", "speculative")
                 if n in serve} | {"tensor": 1}
        kept[key] = resolve(scenario_from({**scenario, "serve": plain}), catalog), time_device(
            catalog.find("device", case["device"], ""))
    resolved, device = kept[key]
    recipe = resolved.serve.recipe
    case = case | {"shape": shape_of(resolved.architecture)}
    plain_of = lambda x: float(getattr(x, "value", x))  # noqa: E731
    timed = resolved.serve.speed.engine
    engine = EngineTime({k: plain_of(v) for k, v in recipe.part_bytes.items()}, plain_of(recipe.cache_bytes), {},
                        8192.0, 2048.0, timed.drafted, timed.acceptance, draft_share=timed.draft_share,
                        widened=timed.widened, own_steps=timed.own_steps,
                        reserve=resolved.serve.engine.number("schedule_reserve"),
                        holds=holds_of(serve, resolved.serve.speed), gathers=timed.gathers)
    kind = "batch" if "batch" in work else "queued" if work.get("rate") == math.inf else "closed"
    layout = layout_of(side)
    count = float(work.get("concurrency", work.get("batch", 1)))
    if (key, layout) not in kept:
        found = serve_memory(resolved.architecture, plain_of(resolved.serve.usable_bytes), recipe, layout)
        kept[key, layout] = plain_of(found.kv_cache_tokens)
    least = work["input"] + work["output"]
    cache = tokens_at(resolved.architecture, recipe, layout, kept[key, layout],
                      engine.held(work["input"], work["output"]))
    if cache <= least:  # the row ran: its memory is not as told
        cache = least if kind == "queued" else math.inf
    replicas = side.get("replicas", 1)
    load_ = Load(kind, work["input"], work["output"], max(count / replicas, 1.0), 0.0, cache,
                 "decode" if split else "both", float(work.get("requests", math.inf)))
    room = room_of(engine, layout, load_)
    parts = time_parts(resolved.architecture, device, engine, layout, load_, room.running)
    first = None
    if first_side:
        one = layout_of(first_side)
        share = max(count / first_side.get("replicas", 1), 1.0)
        pre = replace(load_, concurrency=share, pool="prefill")
        at = room_of(engine, one, pre)
        first = time_parts(resolved.architecture, device, engine, one, pre, at.running), one, pre, at
    return Item(case, parts, engine, layout, load_, room, first, device.generation)


def holds_of(serve: dict[str, Any], speed: Any) -> tuple[tuple[float, float], ...]:
    """Decode steps let pass before requests are taken up: as the row says, else the engine's."""
    own = serve.get("hold_steps")
    return speed.engine.holds if own is None else ((0.0, float(own)),)


def layout_of(side: dict[str, Any]) -> ServeLayout:
    tensor, data = side["tensor"], side["data"]
    return ServeLayout(tensor, side["pipeline"], min(side["expert"], tensor * data), data)


def stacked(items: list[Item]) -> list[tuple[list[int], Item]]:
    """Items of one kind, engine and generation as one of arrays, with their places."""
    groups: dict[Any, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        apart = item.engine.holds, item.engine.drafted, item.engine.draft_share
        groups[item.load.kind, item.load.pool, item.case["engine"], item.generation, apart].append(place)
    found = []
    for places in groups.values():
        members = [items[i] for i in places]
        found.append((places, _stack(members)))
    return found


def _stack(values: list[Any]) -> Any:
    first = values[0]
    if hasattr(first, "__struct_fields__"):
        held = {}
        for name in first.__struct_fields__:
            if name in ("case", "generation", "engine", "kind", "pool", "varied", "own_steps"):
                held[name] = getattr(first, name)
            else:
                held[name] = _stack([getattr(v, name) for v in values])
        return type(first)(**held)
    if isinstance(first, tuple):
        return tuple(_stack([v[i] for v in values]) for i in range(len(first)))
    if first is None:
        return None
    return np.array([float(v) for v in values])


def answer(item: Item, constants: dict[str, Any]) -> dict[str, Any]:
    """The model's answer for a stack of rows; of two pools the first token comes from the prefill pool."""
    found = closed(item.parts, replace(item.engine, constants=constants), item.layout, item.load, item.room)
    if item.first is not None:
        parts, layout, load_, room = item.first
        engine = replace(item.engine, constants=constants)
        found["ttft_s"] = closed(parts, engine, layout, load_, room)["ttft_s"]
    return found


def predict(
    stacks: list[tuple[list[int], Item]], constants: Callable[[Item], dict[str, float]], n: int
) -> dict[str, Any]:
    out = {name: np.full(n, np.nan) for name in ("ttft_s", "tpot_s", "output_tokens_per_s")}
    for places, item in stacks:
        found = answer(item, constants(item))
        for name in out:
            out[name][places] = found[name]
    return out


def of_scopes(item: Item) -> tuple[str, ...]:
    """Whose factors bear on a row."""
    return item.case["engine"], item.case["engine"].partition("@")[0], item.generation


class Fit:
    """Logarithms of the base constants, then factors of every engine and generation among the rows."""

    def __init__(self, items: list[Item]) -> None:
        engines = {i.case["engine"] for i in items if i.case["engine"] != DATED}
        generations = {i.generation for i in items}
        self.scopes = sorted(engines | {e.partition("@")[0] for e in engines} | generations)
        free = {s: BY_GENERATION if s in generations else BY_AGE if "@" in s else BY_ENGINE for s in self.scopes}
        self.names = [("all", n) for n in BASE] + [(s, n) for s in self.scopes for n in free[s]]
        self.spreads = [0.6 * math.log(BASE[n][2]) / OF_ALL if s == "all" else free[s][n] for s, n in self.names]

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
        """Gauss and Newton's method on errors that count linearly when large, with a prior on every logarithm."""
        items = [i for i in items if i.weight > 0]
        stacks, n = stacked(items), len(items)
        seen = {name: np.array([i.case["measured"].get(name, np.nan) for i in items]) for name, _, _ in NUMBERS}
        seen["output_tokens_per_s"][[i.load.kind != "queued" for i in items]] = np.nan
        seen["ttft_s"][[i.first is not None for i in items]] = np.nan  # waiting for a pool is the planner's
        whole = np.sqrt(np.array([i.weight for i in items]))
        prior = 1.0 / np.array(self.spreads)
        member = np.array([[s == "all" or s in of_scopes(i) for i in items] for s, _ in self.names]).T

        def errors(theta: Any) -> tuple[Any, Any]:
            """Residuals, and their slope by the logarithm of each constant of a row."""
            found = moved_by_each(stacks, self.constants(theta), n)
            parts, slopes = [], []
            for name, scale, w in NUMBERS:
                e = np.log(found[name] / seen[name]) / scale
                slope = (e[1:] - e[0]) / NUDGE
                e = np.where(np.isfinite(e[0]), e[0], 0.0)
                bent = np.sqrt(2.0 * (np.sqrt(1.0 + e * e) - 1.0))
                parts.append(w * whole * np.sign(e) * bent)
                turn = np.where(bent > 1e-9, np.abs(e) / np.maximum(bent, 1e-9) / np.sqrt(1.0 + e * e), 1.0)
                slopes.append(w * whole * turn * np.where(np.isfinite(slope), slope, 0.0))
            column = [list(BASE).index(name) for _, name in self.names]
            return np.concatenate([*parts, prior * theta]), np.concatenate(
                [*(member * slope[column].T for slope in slopes), np.diag(prior)])

        theta, damp = np.zeros(len(self.names)), 1.0
        now, slope = errors(theta)
        for _ in range(rounds):
            gram, right = slope.T @ slope, -slope.T @ now
            for _ in range(6):
                move = np.clip(np.linalg.solve(gram + damp * np.diag(np.diag(gram)), right), -1, 1)
                new, steeper = errors(theta + move)
                if new @ new < now @ now:
                    theta, now, slope, damp = theta + move, new, steeper, damp / 4
                    break
                damp *= 4
            else:
                break
        return theta


def moved_by_each(stacks: list[tuple[list[int], Item]], constants: Callable[[Item], dict[str, float]], n: int) -> Any:
    """What is predicted, then the same with each constant a little larger: an axis before that of the rows."""
    out = {name: np.full((len(BASE) + 1, n), np.nan) for name, _, _ in NUMBERS}
    for places, item in stacks:
        plain = constants(item)
        nudged = {name: plain[name] * np.exp(NUDGE * (np.arange(len(BASE) + 1) == 1 + j))[:, None]
                  for j, name in enumerate(BASE)}
        found = answer(item, nudged)
        for name in out:
            out[name][:, places] = found[name]
    return out


def weigh(items: list[Item]) -> None:
    """A group of rows with the same model, device, engine and kind counts as the square root of its size."""
    sizes: dict[Any, int] = defaultdict(int)
    for i in items:
        sizes[i.case["model"], i.case["device"], i.case["engine"], i.case["kind"]] += 1
    for i in items:
        i.weight = 5.0 / math.sqrt(sizes[i.case["model"], i.case["device"], i.case["engine"], i.case["kind"]])
        if i.case["engine"] == DATED:  # constants of their own: tools/fit_serve_versions.py
            i.weight = 0.0
        i.weight *= UNTOLD_WEIGHT if not i.case["told"] else POOLS_WEIGHT if i.case["kind"] == "disagg" else 1.0


def left_out(items: list[Item], what: str) -> tuple[dict[str, Any], dict[str, dict[tuple[str, str], float]]]:
    """What is predicted for every row by a fit without its own model, device or engine, and those fits' constants."""
    key: Callable[[Item], str] = lambda i: group_of(i.case, what)  # noqa: E731
    out = {name: np.full(len(items), np.nan) for name in ("ttft_s", "tpot_s", "output_tokens_per_s")}
    tables = {}
    for group in sorted({key(i) for i in items}):
        rest = [i for i in items if key(i) != group]
        fit = Fit(rest)
        theta = fit.run(rest)
        tables[f"{GROUPS}{what}/{group}"] = fit.table(theta)
        places = [p for p, i in enumerate(items) if key(i) == group]
        held = [items[p] for p in places]
        found = predict(stacked(held), fit.constants(theta), len(held))
        for name in out:
            out[name][places] = found[name]
    return out, tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--write", action="store_true", help="what was found, with its residuals and left-out fits")
    parser.add_argument("--leave-out", action="store_true", help="only score: models, devices and engines left out")
    given = parser.parse_args()
    catalog, kept = load(), {}
    items = [build(c, catalog, kept) for c in rows_of(given.truth, FITTED)]
    weigh(items)
    fit = Fit(items)
    theta = fit.run(items)
    report("fitted to all", items, predict(stacked(items), fit.constants(theta), len(items)))
    if not given.leave_out and not given.write:
        return
    extra: list[list[str]] = []
    tables: dict[str, Any] = {}
    for what, scope in (("model", "seen"), ("device", "unseen"), ("engine", "")):
        found, fits = left_out(items, what)
        report(f"{what} left out", items, found)
        tables |= fits
        if scope:
            extra += residuals(ratios_of(items, found), scope, f"{what} left out")
        if scope:
            extra += age_residuals(items, found, f"{what} left out", UNKNOWN_AGE if what == "model" else "")
    if not given.write:
        return
    write_left_out(tables)
    write(fit.table(theta), BASE, extra + pools_like(extra))
    forget()
    for what, scope in (("model", "seen"), ("device", "unseen")):
        extra += residuals(pool_ratios(items, what), scope, f"{what} left out, two pools", ".pools")
    write(fit.table(theta), BASE, extra)


if __name__ == "__main__":
    main()
