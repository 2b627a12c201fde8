"""Options with prompts and answers on devices of their own: each pool as large as its promise needs.

Both pools are sized apart, one from the first token and one from the further ones; what neither size nor speed speaks
for is left out there. Layouts of both that are left are then taken together by the model of two pools.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.derive import value_of
from outlay.planner.capacity.option import Option, an_hour, an_hour_of_many, is_replayed, more_of
from outlay.planner.capacity.rate import tails
from outlay.planner.layouts.pareto import front
from outlay.planner.replay.own_load import replayed_pools
from outlay.planner.replay.spread import spread_pools
from outlay.planner.serve.extras import with_extras
from outlay.planner.serve.pool_hours import most_of, standing_of_pools
from outlay.planner.serve.pool_needs import Answers, Needs, Prompts, answers_of, needed_per_s, prompts_of
from outlay.planner.serve.pool_times import Pools, load_of_pools, pooled_times, pools_power_w
from outlay.planner.serve.replicas import Replicas
from outlay.planner.serve.speed import alone, held_to_one_stream, held_tokens
from outlay.resolve.power import serve_power_facts
from outlay.resolve.record import Resolved
from outlay.resolve.serve.phase import ServePhase
from outlay.resolve.workload import Asked
from outlay.scenario import Disaggregated, Pool, Serve
from outlay.steps.serve.inputs import ServeLayout
from outlay.steps.serve.memory import ServeMemory
from outlay.steps.serve.pools import Side

BEST = 3  # layouts of each pool that are taken together
AROUND = ((1.0, -1), (1.0, 0), (1.0, 1), (1.25, 1))  # replicas tried: times, and more, of those that a pool needs
FEWEST = 2.0  # tokens of an answer, from which a second pool has something to do


class Pooled(Option, frozen=True, eq=False, kw_only=True):
    """Two pools; `most` is what both together take."""

    pools: Pools  # as the plan of it has them
    needs: Needs  # of one replica of each
    given: Disaggregated | None  # as the scenario has them: replicas that are there are not changed

    @property
    def counts(self) -> tuple[int, int]:
        return int(value_of(self.pools.first.replicas)), int(value_of(self.pools.second.replicas))

    @property
    def devices(self) -> int:
        return int(sum(self.pools.devices))

    @property
    def holds_per_s(self) -> float:
        return self.most.rate_per_s

    @property
    def largest(self) -> int:
        return max(int(side.layout.devices) for side in (self.pools.first, self.pools.second))

    def degrees(self) -> dict[str, Any]:
        return self._degrees(*self.counts)

    def _degrees(self, prefill: int, decode: int) -> dict[str, Any]:
        sides = zip(("prefill", "decode"), (self.pools.first, self.pools.second), (prefill, decode), strict=True)
        each = {name: {"tensor": int(side.layout.tensor), "data": int(side.layout.data),
                       "expert": int(side.layout.expert), "replicas": count,
                       "devices_per_replica": int(side.layout.devices)} for name, side, count in sides}
        return {"tensor": None, "data": None, "expert": None, "replicas": 1, "pools": each}

    def laid_out(self, serve: Serve) -> Serve:
        both = {}
        for name, side in zip(("prefill", "decode"), (self.pools.first, self.pools.second), strict=True):
            own = getattr(self.given, name) if self.given is not None else Pool()
            layout = side.layout
            both[name] = replace(
                own, tensor=int(layout.tensor), pipeline=layout.pipeline, data=int(layout.data),
                expert=int(layout.expert), replicas=int(value_of(side.replicas)))
        link = None if self.given is None else self.given.kv_transfer_bytes_per_s
        return replace(serve, disaggregated=Disaggregated(**both, kv_transfer_bytes_per_s=link))

    def answered(self) -> dict[str, Any]:
        asked = self.phase.asked
        values, _ = pooled_times(asked, self.pools)
        if asked.own_times:
            values |= replayed_pools(asked, self.phase, self.pools, values, self.resolved.seed).values
        elif is_replayed(asked, values):
            values |= spread_pools(asked, self.phase, self.pools, values, self.resolved.seed)
        return values

    def grown(self, broken: Collection[str], most_devices: int) -> Option | None:
        prefill, decode = self.counts
        whole = not broken or "e2e" in broken
        return self._resized(more_of(prefill) if whole or "ttft" in broken else prefill,
                             more_of(decode) if whole or "tpot" in broken else decode, most_devices)

    def fewer(self, most_devices: int) -> list[Option]:
        prefill, decode = self.counts
        tried = ((prefill - 1, decode), (prefill, decode - 1))
        return [found for pair in tried if min(pair) > 0 and (found := self._resized(*pair, most_devices)) is not None]

    def for_rate(self, rate_per_s: float) -> tuple[int, float, dict[str, Any]] | None:
        needed = [float(count) for count in self.needs.replicas(rate_per_s)]
        if not all(map(math.isfinite, needed)):
            return None
        prefill, decode = (max(int(count), now) for count, now in zip(needed, self.counts, strict=True))
        devices = prefill * int(self.pools.first.layout.devices) + decode * int(self.pools.second.layout.devices)
        return devices, min(self.needs.holds_per_s(prefill, decode)), self._degrees(prefill, decode)

    def _resized(self, prefill: int, decode: int, most_devices: int) -> Option | None:
        for name, count, now in (("prefill", prefill, self.counts[0]), ("decode", decode, self.counts[1])):
            if count != now and self.given is not None and getattr(self.given, name).replicas is not None:
                return None
        pools = replace(self.pools, first=replace(self.pools.first, replicas=float(prefill)),
                        second=replace(self.pools.second, replicas=float(decode)))
        return option_of_pools(self.resolved, self.phase, self.device, pools, self.needs, self.given, most_devices)


def no_pools(phase: ServePhase) -> str:
    """Why a load has no use for two pools, or an engine none of them; empty where neither is so."""
    asked = phase.asked
    if not phase.engine.number("pools"):
        return f"{phase.engine.name} does not run prompts and answers on devices of their own"
    if asked.kind not in ("open", "closed"):
        return "pools are searched for a rate, users, a concurrency or a trace; give one of them"
    return "" if asked.output >= FEWEST else "answers of one token leave a second pool nothing to do"


def pooled(
    resolved: Resolved, phase: ServePhase, arch: Architecture, device: str,
    fitting: Sequence[tuple[ServeLayout, ServeMemory]], given: Disaggregated | None,
    fixed: tuple[ServeLayout | None, ServeLayout | None], most_devices: int, beside: bool,
) -> Iterator[Pooled]:
    """Options of two pools on one kind of device.

    fitting: layouts of a replica that fit, with their memory. fixed: the layout of a pool that has its degrees.
    beside: there are other options; else pools that break a promise are shown, as large as the load alone needs.
    """
    asked = phase.asked
    phase = replace(phase, speed=phase.speed.as_pools())
    assert resolved.hardware is not None
    link = given.kv_transfer_bytes_per_s if given is not None else None
    link = value_of(resolved.hardware.slow_bytes_per_s) if link is None else link
    cache = [held_tokens(arch, phase, layout, max(value_of(m.kv_cache_tokens), 0.0)) for layout, m in fitting]
    layouts = [layout for layout, _ in fitting]
    moved = value_of(fitting[0][1].kv_bytes_per_token) * asked.input
    firsts, seconds = ([i for i, layout in enumerate(layouts) if own is None or layout == own] for own in fixed)
    if not firsts or not seconds:
        return
    for own, second in _alike(phase, arch, layouts, seconds):
        both = Pools(arch, own.speed, _side(arch, own, layouts, cache, firsts, "prefill", given),
                     _side(arch, own, layouts, cache, second, "decode", given), moved, link)
        found = list(_of_layouts(resolved, own, device, both, asked, given, most_devices))
        if not found and not beside:
            found = list(_of_layouts(resolved, own, device, both, replace(asked, slo={}), given, most_devices))
        yield from found


def _side(
    arch: Architecture, phase: ServePhase, layouts: Sequence[ServeLayout], cache: Sequence[float],
    places: Sequence[int], name: str, given: Disaggregated | None,
) -> Side:
    """One pool in each of some layouts."""
    engine, least = phase.speed.engine, phase.asked.input + phase.asked.output
    pool: Pool | None = None if given is None else getattr(given, name)
    if pool is not None and pool.max_num_seqs is not None:
        engine = replace(engine, max_num_seqs=float(pool.max_num_seqs))
    tokens = np.array([max(cache[i], least) for i in places])
    slower = np.array([_slower(arch, phase, layouts[i], float(held), name) for i, held in zip(places, tokens,
                                                                                           strict=True)])
    return Side(_stacked([layouts[i] for i in places]), 1.0, engine, tokens, slower)


def _slower(arch: Architecture, phase: ServePhase, layout: ServeLayout, tokens: float, name: str) -> float:
    """Than the time model in what a pool does, where an engine or a device is held to its one stream."""
    if phase.speed.fitted:
        return 1.0
    one = held_to_one_stream(Replicas(arch, phase.speed, layout, 1, tokens, single=alone(arch, phase, layout)), phase)
    return float(value_of(one.slower_first if name == "prefill" else one.slower))


def _alike(
    phase: ServePhase, arch: Architecture, layouts: Sequence[ServeLayout], places: Sequence[int]
) -> Iterator[tuple[ServePhase, list[int]]]:
    """Layouts whose engine has the same constants, which adapters and images make differ."""
    groups: list[tuple[ServePhase, list[int]]] = []
    for place in places:
        own = with_extras(phase, arch, layouts[place])
        if groups and own is groups[-1][0]:
            groups[-1][1].append(place)
        else:
            groups.append((own, [place]))
    yield from groups


def _stacked(layouts: Sequence[ServeLayout]) -> ServeLayout:
    degrees = {name: np.array([float(getattr(one, name)) for one in layouts])
               for name in ("tensor", "expert", "data", "context")}
    return ServeLayout(pipeline=layouts[0].pipeline, **degrees)


def _row(side: Side, place: int, replicas: float) -> Side:
    """One layout of many, whole degrees again."""
    layout = side.layout
    own = ServeLayout(int(layout.tensor[place]), layout.pipeline, int(layout.expert[place]), int(layout.data[place]),
                      int(layout.context[place]))
    return Side(own, replicas, side.engine, float(side.cache_tokens[place]), float(side.slower[place]))


def _of_layouts(
    resolved: Resolved, phase: ServePhase, device: str, both: Pools, asked: Asked, given: Disaggregated | None,
    most_devices: int,
) -> Iterator[Pooled]:
    """The few layouts of both pools that are worth taking together, each with the replicas it needs."""
    prompts = prompts_of(both.arch, both.speed.device, both.first, asked)
    answers = answers_of(both.arch, both.speed.device, both.second, asked, both.moved_bytes, both.link_bytes_per_s,
                         float(np.min(prompts.alone_s)))
    rate = _rate(asked, prompts, answers)
    if not math.isfinite(rate):
        return
    second = _whole(rate / answers.each_per_s)
    later = _worth(second * both.second.layout.devices, answers.token_s)
    if not later:
        return
    soonest = answers.at(min(later, key=lambda j: answers.begun_alone_s[j]))  # a pool of prompts has no more time
    first = _whole(needed_per_s(rate, Needs(asked, prompts, soonest).wait_s(0.0)) / prompts.each_per_s)
    pairs = [(i, j) for i in _worth(first * both.first.layout.devices, prompts.alone_s) for j in later]
    if not pairs:
        return
    tried = [(i, j, p, d) for i, j in pairs
             for p in _counts(first[i], None if given is None else given.prefill.replicas)
             for d in _counts(second[j], None if given is None else given.decode.replicas)]
    found, kept = _together(both, asked, tried, prompts, answers)
    cost = np.array([p * both.first.layout.devices[i] + d * both.second.layout.devices[j] for i, j, p, d in tried])
    best = []
    for pair in pairs:
        rows = [place for place, row in enumerate(tried) if row[:2] == pair and kept[place]]
        if rows:
            best.append(min(rows, key=lambda place: (cost[place], tried[place][3])))
    points = np.array([[cost[place], found["ttft_s"][place], found["tpot_s"][place]] for place in best]).reshape(-1, 3)
    best = [best[row] for row in front(points)]
    if not best:
        return
    places = np.array(best, dtype=int)
    found = {name: np.broadcast_to(value, len(tried))[places] for name, value in found.items()}
    watts = pools_power_w(resolved.power, _wide(both, [tried[place] for place in best]), asked, found)
    for at, (i, j, p, d) in enumerate(tried[place] for place in best):
        pools = replace(both, first=_row(both.first, i, p), second=_row(both.second, j, d))
        needs = Needs(phase.asked, prompts.at(i), answers.at(j))
        made = option_of_pools(resolved, phase, device, pools, needs, given, most_devices,
                               {name: value[at] for name, value in found.items()},
                               None if watts is None else float(watts[at]))
        if made is not None:
            yield made


def _rate(asked: Asked, prompts: Prompts, answers: Answers) -> float:
    """Requests a second to size both pools for; of a loop, what it comes to on the fastest of them."""
    if asked.kind == "open":
        return asked.rate
    kept = answers.stay_s[np.isfinite(answers.stay_s)]
    return float(asked.concurrency / (prompts.alone_s.min() + kept.min())) if len(kept) else math.nan


def _whole(needed: Any) -> Any:
    return np.maximum(np.ceil(needed * (1.0 - 1e-9)), 1.0)


def _worth(devices: Any, slow: Any) -> list[int]:
    """Places of a few that no other beats in both devices and time, the fewest devices and the fastest with them."""
    order = [i for i in np.lexsort((slow, devices)) if math.isfinite(devices[i])]
    kept: list[int] = []
    for i in order:
        if not kept or slow[i] < slow[kept[-1]] * (1.0 - 1e-9):
            kept.append(int(i))
    return kept if len(kept) <= BEST else [*kept[: BEST - 1], kept[-1]]


def _counts(needed: float, given: int | None) -> list[float]:
    if given:
        return [float(given)]
    return sorted({max(float(math.ceil(needed * times)) + more, 1.0) for times, more in AROUND})


def _together(
    both: Pools, asked: Asked, tried: Sequence[tuple[int, int, float, float]], prompts: Prompts, answers: Answers
) -> tuple[Mapping[str, Any], Any]:
    """Each pair of layouts and counts by the model of two pools, and whether it keeps what is promised."""
    found = _wide(both, tried).at(load_of_pools(asked))
    i, j = ([row[column] for row in tried] for column in (0, 1))
    quick = {"ttft_s": prompts.alone_s[i] + answers.begun_alone_s[j], "tpot_s": answers.alone_s[j]}
    seen = tails(asked, found, quick)
    kept = np.asarray(found["load"]) < 1.0 if asked.kind == "open" else np.ones(len(tried), dtype=bool)
    for name, limit in asked.slo.items():
        kept = kept & np.less_equal(seen[name], limit)
    return found, np.broadcast_to(kept, len(tried))


def _wide(both: Pools, tried: Sequence[tuple[int, int, float, float]]) -> Pools:
    """Pairs of layouts and counts as one of arrays."""
    i, j = (np.array([row[column] for row in tried], dtype=int) for column in (0, 1))
    p, d = (np.array([row[column] for row in tried]) for column in (2, 3))
    return replace(both, first=_many(both.first, i, p), second=_many(both.second, j, d))


def _many(side: Side, places: Any, replicas: Any) -> Side:
    own = side.layout
    layout = ServeLayout(own.tensor[places], own.pipeline, own.expert[places], own.data[places], own.context[places])
    return Side(layout, replicas, side.engine, side.cache_tokens[places], side.slower[places])


def option_of_pools(
    resolved: Resolved, phase: ServePhase, device: str, pools: Pools, needs: Needs, given: Disaggregated | None,
    most_devices: int, found: Mapping[str, Any] | None = None,
    power_w: float | None = None,
) -> Pooled | None:
    """Both pools as they stand, and the times, money and energy of them; None where they cannot carry the load.

    found, power_w: as `Pools.at` and `pools_power_w` give them, where they are known.
    """
    asked, devices = phase.asked, int(sum(pools.devices))
    if found is None:
        found = pools.at(load_of_pools(asked))
        drawn = pools_power_w(resolved.power, pools, asked, found)
        power_w = None if drawn is None else float(drawn)
    if devices > most_devices or (asked.kind == "open" and float(found["load"]) >= 1.0):
        return None
    seen = tails(asked, found, {"ttft_s": needs.prompts.alone_s + needs.answers.begun_alone_s,
                                "tpot_s": needs.answers.alone_s})
    told = {f"{name}_s": float(value) for name, value in seen.items()}
    tokens = float(found["output_tokens_per_s"])
    numbers = told | {
        "output_tokens_per_s": tokens,
        "load": float(found["load"]) if asked.kind == "open" else 1.0,
    } | _hours(resolved, phase, pools, needs, power_w, tokens)
    return Pooled(
        device=device, engine=phase.engine.id, precision=phase.recipe.precision, layout=pools.second.layout,
        replicas=int(value_of(pools.second.replicas)), most=most_of(asked, pools, needs),
        numbers=numbers, meets=all(told[f"{name}_s"] <= limit for name, limit in asked.slo.items()),
        resolved=resolved, phase=phase, pools=pools, needs=needs, given=given)


def _hours(
    resolved: Resolved, phase: ServePhase, pools: Pools, needs: Needs, power_w: float | None, tokens_per_s: float
) -> dict[str, float]:
    """An hour of all devices; where the load is known by the hour, the mean of the hours."""
    if phase.asked.hourly is None:
        return an_hour(resolved, power_w, float(sum(pools.devices)), tokens_per_s)
    facts = None if resolved.power is None else serve_power_facts(resolved.power)
    standing = standing_of_pools(phase.asked, pools, facts, needs if needs.kept else None)
    return an_hour_of_many(resolved, phase, standing)
