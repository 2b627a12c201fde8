"""What the serving time model is given of a device and an engine, from the catalogue's measured tables."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from functools import lru_cache
from statistics import median
from typing import Any

from outlay.architecture import Architecture
from outlay.catalog import Entry
from outlay.catalog.store import DATA
from outlay.catalog.utilization import decode_attention, expert_copies, matmul_grids
from outlay.resolve.efficiency import DEFAULT_FAMILY
from outlay.resolve.engines import version_of
from outlay.resolve.serve.fitted import spans, values, written
from outlay.resolve.serve.relatives import link_ratio, meshed, reached_share
from outlay.steps.efficiency import GENERATIONS
from outlay.steps.serve.time_inputs import LAUNCHES, Links, TimeDevice

CONSTANTS = DATA / "serve_time_constants.csv"
VERSIONS = DATA / "serve_version_constants.csv"
LEFT_OUT = DATA / "grids" / "serve_time_left_out.csv"  # the same, fitted without one group each
COLLECTIVES = DATA / "grids" / "utilization_collectives.csv"
SLOW_SHARE = 0.85  # of a network card's rate
UNMEASURED = ((2.0, 4.0, 8.0), (10e-6, 12e-6, 15e-6))  # devices and latency where no table exists
LINK_SHARE = 0.75  # of a link's rate that a collective reaches where none was measured
COPIED_BYTES_PER_S = 1.8e12  # where none was measured: the middle of devices
GRAPHS_SINCE = (0, 6)  # of vLLM
LAUNCHED_AGE = "vllm@0.4"  # of which decode steps launched kernel by kernel were fitted
UNKNOWN_AGE = " left out"  # residuals of an age of which nothing was fitted (validation only)
GROUPS = "serve-time/"  # what a group that is left out starts with
PLAIN = {"nvfp4": "fp4"}
PENALTIES = "penalties"
HOST = " on its host"  # behind an engine's age, of runs whose host may set the pace: with penalties, on one device
# Of an engine's ages, in seconds and not as factors: of a logit where penalties are asked for, which is much the same
# in later versions; and more launches of a layer whose experts are in 8 bits.
ADDED = {PENALTIES: "penalty_logit_s", "experts": "narrow_expert_layer_s"}
HOST_SEQUENCE = "host_sequence_s"  # of an age: host work a sequence and step beyond today's
AGE_OF_PENALTIES = {"vllm": "vllm@0.11"}


def time_device(
    entry: Entry,
    memory_bytes_per_s: Any = None,
    peaks: dict[str, Any] | None = None,
    clock: float = 1.0,
    host: int | None = None,
) -> TimeDevice:
    """A catalogued device; bandwidth, peaks and devices of a node may be replaced by what the scenario gives.

    peaks: all that the device has, its 16-bit rate among them; those of `entry` where none are given.
    clock: share of its clock that a power cap leaves under full work (`resolve.power.capped_clock`).
    """
    family = str(entry.value("utilization_family", DEFAULT_FAMILY))
    bandwidth = float(entry.value("memory_bytes_per_s")) if memory_bytes_per_s is None else memory_bytes_per_s
    reached = clock * reached_share(entry)
    found = {name: value * reached for name, value in (own_peaks(entry) if peaks is None else peaks).items()}
    share, floor = _reading(family, float(entry.value("memory_bytes_per_s")))
    link = float(entry.value("link_bytes_per_s", 25e9) or 25e9)
    host = host or int(entry.value("devices_per_node", 8) or 8)
    reduce, exchange = (links(family, kind, link, host, link_ratio(entry)) for kind in ("reduce", "exchange"))
    if host == entry.value("mesh_devices", 0):
        reduce, exchange = meshed(reduce, host), meshed(exchange, host)
    return TimeDevice(
        generation(entry),
        found,
        matmul_grids(family) or matmul_grids(DEFAULT_FAMILY),
        bandwidth,
        share,
        floor,
        reduce,
        exchange,
        int(entry.value("scale_up_devices", 8) or 8),
        SLOW_SHARE * float(entry.value("inter_node_bytes_per_s", 50e9) or 50e9),
        copied_bytes_per_s=expert_copies().get(family, COPIED_BYTES_PER_S),
    )


def own_peaks(entry: Entry) -> dict[str, float]:
    """Dense peaks of a catalogued device by the names the step goes by.

    >>> from outlay.catalog import load
    >>> sorted(own_peaks(load().find("device", "v100-sxm2-32gb"))), sorted(own_peaks(load().find("device", "b200-sxm")))
    (['bf16'], ['bf16', 'fp8', 'nvfp4'])
    """
    found = {name: entry.value(f"peak_{PLAIN.get(name, name)}_flop_per_s", None) for name in ("bf16", "fp8", "nvfp4")}
    found["bf16"] = found["bf16"] or entry.value("peak_fp16_flop_per_s", None)
    return {name: float(value) for name, value in found.items() if value is not None}


def generation(entry: Entry) -> str:
    """Whose kernels a device runs, in the words constants are fitted by."""
    return GENERATIONS.get(str(entry.value("utilization_family", "")), str(entry.value("architecture", "other")))


def _reading(family: str, bandwidth: float) -> tuple[float, float]:
    """Share of bandwidth of the largest read measured, and the time a call takes beyond it."""
    sizes, shares = decode_attention(family)
    if not sizes:
        sizes, shares = decode_attention(DEFAULT_FAMILY)
    top = min(shares[-1], 1.0)
    extra = [
        size / bandwidth * (1.0 / share - 1.0 / top)
        for size, share in zip(sizes, shares, strict=True)
        if 2**21 <= size < 2**28
    ]
    return top, max(median(extra), 0.0)


@lru_cache(maxsize=64)
def links(family: str, kind: str, link_bytes_per_s: float, host: int = 8, ratio: float = 1.0) -> Links:
    """All-reduces captured in a graph, or the general all-to-all, by devices; the card's link where unmeasured.

    host: devices of a node. Numbers are those of hosts of the nearest size, the middle of all where those have fewer
    devices: two cards behind their own host's bridge reach a third of what the same two reach in a server of eight.
    ratio: the card's link over that of the card that was measured. A general exchange that was measured on larger
    hosts only is slower on the smaller as reductions are.
    """
    tables = _collectives(family, kind)
    found = _middle(tables)
    if len(found) < 2:
        return Links(*UNMEASURED, (LINK_SHARE * link_bytes_per_s,) * len(UNMEASURED[0]))
    near, reduced = _of_host(tables, host), _collectives(family, "reduce")
    found |= _middle(near)
    if kind == "exchange" and min(map(max, reduced.values())) < min(map(max, near.values())):
        here, there = _middle(_of_host(reduced, host)), _middle(_of_host(reduced, int(min(map(max, near.values())))))
        slower = median(here[n][1] / there[n][1] for n in here if n in there)
        found = {n: (x / slower, y * slower) if n in here else (x, y) for n, (x, y) in found.items()}
    return Links(tuple(found), tuple(x for x, _ in found.values()), tuple(ratio * y for _, y in found.values()))


def _of_host(tables: Mapping[str, Mapping[float, tuple[float, float]]], host: int
             ) -> dict[str, Mapping[float, tuple[float, float]]]:
    """Tables of the hosts nearest in size: a table goes as far as its host has devices."""
    size = min({max(one) for one in tables.values()}, key=lambda most: abs(math.log2(most / host)))
    return {name: one for name, one in tables.items() if max(one) == size}


def _middle(tables: Mapping[str, Mapping[float, tuple[float, float]]]) -> dict[float, tuple[float, float]]:
    """Latency and rate by devices, each the middle of all tables."""
    sizes = sorted({n for one in tables.values() for n in one})
    return {n: (median(one[n][0] for one in tables.values() if n in one),
                median(one[n][1] for one in tables.values() if n in one)) for n in sizes}


def _collectives(family: str, kind: str) -> dict[str, dict[float, tuple[float, float]]]:
    """Latency and rate by devices, of every software and version that was measured on a family."""
    found: dict[str, dict[float, tuple[float, float]]] = {}
    for source, variant, devices, latency_s, bytes_per_s in _collective_rows().get(family, ()):
        general = "nccl" in source
        if general if kind == "exchange" else not general and "eager" not in variant:
            found.setdefault(source, {})[float(devices)] = float(latency_s), float(bytes_per_s)
    return found


@lru_cache(maxsize=1)
def _collective_rows() -> dict[str, list[tuple[str, ...]]]:
    """Rows of the measured collectives by family of devices."""
    wanted = ("source", "variant", "devices", "latency_s", "bus_bytes_per_s")
    found: dict[str, list[tuple[str, ...]]] = {}
    with open(COLLECTIVES, newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        head = next(rows)
        places, family = [head.index(name) for name in wanted], head.index("family")
        for row in rows:
            found.setdefault(row[family], []).append(tuple(row[place] for place in places))
    return found


@lru_cache(maxsize=1)
def _rows() -> dict[tuple[str, str], float]:
    return values(CONSTANTS)


@lru_cache(maxsize=1)
def _left_out() -> dict[tuple[str, str], float]:
    return values(LEFT_OUT)


@lru_cache(maxsize=1)
def _versions() -> dict[tuple[str, str], str]:
    return written(VERSIONS)


def dated_scope(engine: str, version: tuple[int, ...]) -> str:
    """An engine's older form that a version falls in, or the engine: factors on its constants are fitted apart."""
    for (scope, name), start in _versions().items():
        if name != "version_from" or scope.partition("@")[0] != engine or not version:
            continue
        if version_of(start) <= version < version_of(_versions()[scope, "version_before"]):
            return scope
    return engine


@lru_cache(maxsize=1)
def _spans() -> dict[tuple[str, str], tuple[float, float, float]]:
    return spans(CONSTANTS) | spans(VERSIONS)


def shape_of(arch: Architecture) -> str:
    """dense, moe or mla: by which errors of serving times are told apart. Latent attention comes first."""
    kinds = [kind for kind, _ in arch.groups]
    if any(kind.mixer == "mla" for kind in kinds):
        return "mla"
    return "moe" if any(kind.mlp == "moe" for kind in kinds) else "dense"


def time_residual(
    number: str, shape: str, pools: bool, seen: bool, engine: str = ""
) -> tuple[float, float, float]:
    """Measured over predicted, 10th, 50th and 90th percentile, of models left out; of devices where not `seen`.

    number is ttft_s, tpot_s or output_tokens_per_s; pools says that prompts and answers run apart. The middle is
    reported, not applied: a prediction stays what the constants say. engine: with its age, where it has one; an age
    that was measured has a spread of its own, which is another where that age was left out of the fit.
    """
    plain = engine.removesuffix(HOST)
    hosts = () if plain == engine else (engine, AGE_OF_PENALTIES.get(plain, plain) + HOST)
    for own in (*hosts, plain):
        if (f"residual.{own}", f"{number}.{shape}") in _spans() and not pools:
            return _spans()[f"residual.{own}", f"{number}.{shape}"]
    scope = "residual." + ("seen" if seen else "unseen")
    return _spans()[scope, f"{number}.{shape}{'.pools' if pools else ''}"]


def is_seen(engine: str, generation_name: str, without: str = "") -> bool:
    """Whether constants were fitted to rows of this engine and of this generation of device."""
    scopes = {scope for scope, _ in _rows()}
    known = engine.partition("@")[0] in scopes and generation_name in scopes
    return known and not without.startswith((f"{GROUPS}device/", f"{GROUPS}engine/"))


def residual_age(engine: str, without: str) -> str:
    """Whose residual an engine's age has: another one where the group left out took all that was known of the age."""
    tail = f"@without/{without}"
    ages = {scope for scope, _ in _rows() if "@" in scope}
    lost = without.startswith(GROUPS) and engine in ages and not any(s == engine + tail for s, _ in _left_out())
    return engine + UNKNOWN_AGE * lost


def _launched(engine: str) -> bool:
    """Whether an engine is of an age that captured no graphs of its decode steps."""
    version = version_of(engine.partition("@")[2])
    return bool(version) and version < GRAPHS_SINCE


def time_constants(
    engine: str, generation_name: str, rows: dict[tuple[str, str], float] | None = None, without: str = ""
) -> dict[str, float]:
    """Constants of all engines, times those of this engine and of this generation; `without` a group left out."""
    table = _rows() if rows is None else rows
    tail = f"@without/{without}" if without.startswith(GROUPS) else ""
    table = _left_out() if tail and rows is None else table
    found = {name: value for (scope, name), value in table.items() if scope == f"all{tail}"}
    if found and _launched(engine):  # a decode step kernel by kernel, as a prompt still is
        found["layer_s"] += found["prompt_layer_s"]
        found["expert_layer_s"] += found["prompt_expert_layer_s"]
    for scope in (engine.partition("@")[0], engine if "@" in engine else "", generation_name):
        for name in found:
            found[name] *= table.get((f"{scope}{tail}", name), 1.0)
    if "@" in engine:
        dated = _dated(engine, without)
        for name in found:
            found[name] *= float(_versions().get((dated, name), 1.0))
    if found:
        found["sequence_s"] += float(_versions().get((engine, HOST_SEQUENCE), 0.0))
    return found


def launches(engine: str, constants: Mapping[str, float], without: str = "") -> dict[str, float]:
    """Seconds of handing out a decode step kernel by kernel, as a prompt's are; none of an age that does so always.

    A layer's are as many times longer as those of the one age whose decode steps were measured so: a prompt's are
    hidden in part by its arithmetic.
    """
    if _launched(engine):
        return {}
    table, tail = (_left_out(), f"@without/{without}") if without.startswith(GROUPS) else (_rows(), "")
    slower = table.get((f"{LAUNCHED_AGE}{tail}", "layer_s"), _rows()[LAUNCHED_AGE, "layer_s"])
    found = (slower * (constants["layer_s"] + constants["prompt_layer_s"]),
             constants["expert_layer_s"] + constants["prompt_expert_layer_s"], constants["prompt_mixer_layer_s"])
    return dict(zip(LAUNCHES, found, strict=True))


def _dated(scope: str, without: str) -> str:
    """An age's constants, or those fitted without a group of rows."""
    apart = f"{scope}@without/{without.rpartition('/')[2]}"
    return apart if any(each == apart for each, _ in _versions()) else scope


def version_constant(engine: str, what: str, without: str = "") -> float:
    """Seconds that an age of an engine adds (`ADDED`); 0 where it adds none."""
    scope = AGE_OF_PENALTIES.get(engine, engine) if what == PENALTIES else engine
    return float(_versions().get((_dated(scope, without), ADDED[what]), 0.0))
