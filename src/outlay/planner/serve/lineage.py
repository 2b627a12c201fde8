"""What a token and a first token are made of, down to bytes, arithmetic and the catalogue's rows, for `explain`.

Values are those of the closed form; nothing is computed anew but the bytes and the arithmetic behind them.
"""

from __future__ import annotations

import math
from typing import Any

from msgspec.structs import replace

from outlay.derive import Quantity, add_all, derive, exact
from outlay.planner.serve.replicas import Replicas
from outlay.resolve.serve.speed import HOST_LINK
from outlay.steps.serve.power import cache_work, pass_work, prompt_work
from outlay.steps.serve.time import HOP_S
from outlay.steps.serve.time_inputs import Load
from outlay.steps.serve.time_parts import Parts, time_parts
from outlay.steps.serve.time_pass import Pass
from outlay.steps.serve.time_products import precision_of
from outlay.steps.serve.time_waits import read_s

CONSTANTS = "serve_time_constants"
GRID = "utilization tables of kernels measured alone"
SMALLEST_S = 1e-9  # a part below that is not shown


def moved_s(moved_bytes: Any, memory_bytes_per_s: Any, share: Any) -> Any:
    """Bytes over the bandwidth that kernels of their size reach (roofline; Williams, Waterman and Patterson 2009)."""
    return moved_bytes / (memory_bytes_per_s * share)


def worked_s(flop: Any, flop_per_s: Any, share: Any) -> Any:
    """Arithmetic over the peak that kernels of its size reach (roofline; Williams, Waterman and Patterson 2009)."""
    return flop / (flop_per_s * share)


def token_parts(whole: Replicas, load: Load, running: float, token_s: float) -> Any:
    """A further token as the time model has it; a plain number where it is not of a finite time."""
    if not math.isfinite(token_s):
        return token_s
    parts, c = _parts(whole, load, running), whole.speed.engine.constants
    engine, rows = whole.speed.engine, float(parts.sequences) * (1.0 + float(whole.speed.engine.drafted))
    work = pass_work(whole.arch, whole.speed.device, engine.part_bytes, whole.layout, rows, rows)
    context = load.context
    cache = cache_work(whole.arch, whole.speed.device, engine.cache_bytes, whole.layout, parts.sequences, context)
    whole_s = float(parts.decode.total(c.__getitem__) - c["floor"] * parts.decode.floor
                    - c["exchange"] * parts.decode.exchange)
    linked_s = _linked(parts.decode, c, whole_s - float(c["copies"] * parts.decode.copies))
    terms = [
        _roof(whole, "weights and activations", work.times(1.0 - float(parts.decode.away)), whole_s - linked_s,
              "flow, work, experts"),
        _from_host(whole, parts.decode, linked_s),
        _moved(whole, "reading the cache", float(cache.moved_bytes),
               float(c["reading"] * (parts.reading + parts.reading_floor)), "reading"),
        *_kernels(parts, c),
        _told("kernels too small for the device", c["floor"] * parts.decode.floor, f"{CONSTANTS}: floor; {GRID}"),
        _told("exchanges between devices", c["exchange"] * parts.decode.exchange, f"{CONSTANTS}: exchange"),
        _told("scheduling and sampling on the host",
              parts.flight * (c["step_s"] + parts.sequences * c["sequence_s"]), f"{CONSTANTS}: step_s, sequence_s"),
        _told("hops between stages", (whole.layout.pipeline - 1) * HOP_S, "steps.serve.time, the model of times"),
    ]
    return _whole("time per output token, modelled", terms, token_s,
                  "prompts of others between, launches waited for and drafted tokens, less those accepted")


def first_parts(whole: Replicas, load: Load, running: float, first_s: float) -> Any:
    """A first token as the time model has it."""
    if not math.isfinite(first_s):
        return first_s
    parts, engine = _parts(whole, load, running), whole.speed.engine
    c, own = engine.constants, max(float(load.input) * (1.0 - float(engine.prefix_hit)), 1.0)
    work = prompt_work(whole.arch, whole.speed.device, engine.part_bytes, whole.layout, own * float(parts.at_once),
                       load.input, parts.chunks)
    alone = float(parts.chunks * (parts.alone.total(c.__getitem__) - c["exchange"] * parts.alone.exchange)
                  + parts.at_once * c["prompt_attention"] * parts.prompt_attention)
    passes = float(parts.chunks)
    linked_s = passes * _linked(parts.alone, c, float(parts.alone.total(c.__getitem__) - c["floor"] * parts.alone.floor
                                                      - c["exchange"] * parts.alone.exchange
                                                      - c["copies"] * parts.alone.copies))
    launched = parts.layers * c["prompt_layer_s"] + parts.expert_layers * c["prompt_expert_layer_s"]
    launched = launched + parts.mixer_layers * c["prompt_mixer_layer_s"]
    small = parts.layers * c["layer_s"] + parts.expert_layers * c["expert_layer_s"] + c["step_s"]
    terms = [
        _roof(whole, "computing the prompt", work.times(1.0 - float(parts.alone.away)), alone - linked_s,
              "work, flow, experts, prompt_attention"),
        _from_host(whole, parts.alone, linked_s, passes),
        _told("exchanges between devices", parts.chunks * c["exchange"] * parts.alone.exchange,
              f"{CONSTANTS}: exchange"),
        _told("launching its kernels one by one", parts.chunks * launched, f"{CONSTANTS}: prompt_layer_s and the like"),
        _told("small kernels and scheduling", parts.chunks * small, f"{CONSTANTS}: layer_s, expert_layer_s, step_s"),
        _told("handling the request", c["first_s"], f"{CONSTANTS}: first_s"),
        _told("reading its text", read_s(engine, load), f"{CONSTANTS}: token_s"),
    ]
    return _whole("time to the first token, modelled", terms, first_s,
                  "waiting to be taken up, and for others, less what is not waited for")


def _linked(one: Pass, c: Any, took_s: float) -> float:
    """Of the kernels of a pass, those whose weights lie on the host: all, less what the others take."""
    away = float(one.away)
    if not away:
        return 0.0
    here = replace(one, away=0.0, floor=0.0, copies=0.0, exchange=0.0)
    return took_s - (1.0 - away) * float(here.total(c.__getitem__))


def _from_host(whole: Replicas, one: Pass, took_s: float, passes: float = 1.0) -> Quantity | None:
    """What a pass reads over the host's link, or computes meanwhile."""
    if took_s < SMALLEST_S:
        return None
    rate, linked_s = whole.speed.known[HOST_LINK], passes * float(one.link + one.expert_link)
    found: Quantity = derive(moved_s, "weights read from the host", "s", memory_bytes_per_s=rate, moved_bytes=exact(
        linked_s * rate.value, "bytes", "bytes that come over the host's link", basis="derived"),
        share=_share(linked_s / took_s, "share of the time that the link is busy", "work, expert_work"))
    return found


def _parts(whole: Replicas, load: Load, running: float) -> Parts:
    each = max(running / float(whole.layout.data), 1e-9)
    return time_parts(whole.arch, whole.speed.device, whole.speed.engine, whole.layout, load, each)


def _kernels(parts: Parts, c: Any) -> list[Quantity | None]:
    """Small kernels of layers, so many times what each takes."""
    each = exact(float(c["layer_s"]), "s", "small kernels of a layer", f"{CONSTANTS}: layer_s", basis="derived")
    count = exact(float(parts.layers), "", "layers, by how many small kernels each has",
                  "steps.serve.time_parts: latent, recurrent and selecting attention have more", basis="derived")
    found: Quantity = derive(_of_layers, "small kernels of layers", "s", layers=count, each_s=each)
    return [found, _told("routing and joining of experts", parts.expert_layers * c["expert_layer_s"],
                         f"{CONSTANTS}: expert_layer_s")]


def _of_layers(layers: Any, each_s: Any) -> Any:
    """One layer's time, for as many as there are."""
    return layers * each_s


def _roof(whole: Replicas, label: str, work: Any, took_s: float, rows: str) -> Quantity | None:
    """Reading or arithmetic, whichever takes longer at the full rates: the one that binds."""
    device = whole.speed.device
    if float(work.moved_bytes) / float(device.memory_bytes_per_s) >= float(work.peak_s):
        return _moved(whole, label, float(work.moved_bytes), took_s, rows)
    if took_s < SMALLEST_S:
        return None
    name = precision_of(whole.speed.engine.part_bytes["mlp"], device)
    peak = whole.speed.known.get(name) or exact(float(device.peaks[name]), "FLOP/s", f"peak, {name}")
    flop = float(work.peak_s) * peak.value
    found: Quantity = derive(worked_s, label, "s", flop=exact(flop, "FLOP", "arithmetic of a device, at this peak",
                                                               basis="derived"), flop_per_s=peak,
                             share=_share(flop / (peak.value * took_s), "share of the peak that is reached", rows))
    return found


def _moved(whole: Replicas, label: str, moved_bytes: float, took_s: float, rows: str) -> Quantity | None:
    if took_s < SMALLEST_S or moved_bytes <= 0.0:
        return None
    rate = whole.speed.known["memory_bytes_per_s"]
    found: Quantity = derive(moved_s, label, "s", memory_bytes_per_s=rate, moved_bytes=exact(
        moved_bytes, "bytes", "bytes a device reads and writes", basis="derived"),
        share=_share(moved_bytes / (rate.value * took_s), "share of bandwidth that is reached", rows))
    return found


def _share(value: float, label: str, rows: str) -> Quantity:
    return exact(value, "", label, f"{CONSTANTS}: {rows}; {GRID}", basis="derived")


def _told(label: str, value: Any, *sources: str) -> Quantity | None:
    return exact(float(value), "s", label, *sources, basis="derived") if float(value) >= SMALLEST_S else None


def _whole(label: str, terms: list[Quantity | None], value_s: float, rest: str) -> Quantity:
    """The parts, and what is left of the whole."""
    found = [term for term in terms if term is not None]
    left = value_s - sum(term.value for term in found)
    if abs(left) > 1e-6 * value_s:
        found.append(exact(left, "s", rest, "steps.serve.time, the model of times", basis="derived"))
    total: Quantity = add_all(label, "s", *found)
    return total
