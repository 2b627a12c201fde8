"""The option that a search names, held against what a plan of it says: replayed where a percentile is promised.

A search judges thousands of loads by a quick answer. The best option is planned as a plan of it would be, its requests
replayed one by one; where that breaks a promise it gets more replicas, and is weighed again by what those cost.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from outlay.derive import quantile
from outlay.planner.capacity.option import Option, rank, ranked
from outlay.planner.serve.speed import promises

TRIED = 12  # plans made until one keeps its promises
SURE = 0.8  # chance with which a deployment is said to keep them
SURER_TRIED = 4  # plans made until one is so likely to


def verify(options: Sequence[Option], aim: str, most_devices: int) -> tuple[Option, ...]:
    """The options, those tried with what became of them, the best that keeps its promises first.

    The cheapest left is always the next tried; then those that would be cheaper with a replica less than the quick
    answer gave them. Options that are not tried keep that answer, and say so (verified None).
    """
    left = [(rank(option, aim), place, option) for place, option in enumerate(options) if option.meets]
    heapq.heapify(left)
    kept = list(options)
    for place in range(TRIED):
        if not left:
            break
        _, _, option = heapq.heappop(left)
        tried = held(option)
        if tried.verified:
            return _cheaper(_put(kept, option, tried), tried, aim, most_devices, TRIED - place)
        more = option.grown(broken(tried), most_devices)
        kept = _put(kept, option, tried if more is None or not more.meets else more)
        if more is not None and more.meets:
            heapq.heappush(left, (rank(more, aim), len(options) + place, more))
    return ranked(kept, aim)


def _cheaper(kept: list[Option], best: Option, aim: str, most_devices: int, tries: int) -> tuple[Option, ...]:
    """The best and the others, after those were tried that a replica less would make better than it."""
    if best.phase.asked.percentile is None:  # means: the quick answer is the plan's own
        return (best, *ranked([o for o in kept if o is not best], aim))
    fewer = [(rank(small, aim), place, option, small) for place, option in enumerate(kept)
             if option.meets and option.least(aim) < best.numbers[aim] for small in option.fewer(most_devices)]
    for _, _, option, small in sorted(fewer, key=lambda row: (row[0][1:], row[1]))[:tries]:
        if not small.numbers[aim] < best.numbers[aim] * (1.0 - 1e-9):
            break
        tried = held(small)
        if tried.verified:
            kept, best = _put(kept, option, tried), tried
            break
    return (best, *ranked([o for o in kept if o is not best], aim))


def _put(kept: list[Option], old: Option, new: Option) -> list[Option]:
    return [new if option is old else option for option in kept]


def surer(options: tuple[Option, ...], aim: str, most_devices: int) -> tuple[tuple[Option, ...], Option | None]:
    """The options, and the best by the aim that is likely to keep its promises where the first of them is not.

    Those are tried whose times would leave the room that the first one's spread asks for; None where a few tries find
    none. One that is as good by the aim as the first takes its place.
    """
    first = options[0]
    if not first.verified or first.likely is None or first.likely >= SURE:
        return options, None
    more = first.grown(first.phase.asked.slo, most_devices)
    others = [*options[1:], *([] if more is None else [more])]
    for option in ranked([o for o in others if o.meets and _roomy(o, first.above)], aim)[:SURER_TRIED]:
        tried = held(option)
        if tried.verified and tried.likely is not None and tried.likely >= SURE:
            if tried.numbers[aim] > first.numbers[aim] * (1.0 + 1e-9):
                return options, tried
            return (tried, *(other for other in options if other is not option)), None
    return options, None


def _roomy(option: Option, above: Mapping[str, float]) -> bool:
    """Whether its times stay within the promises when they turn out so much longer."""
    return all(option.numbers[f"{name}_s"] * above.get(name, 1.0) <= limit
               for name, limit in option.phase.asked.slo.items())


def held(option: Option) -> Option:
    """The option with the times its own plan has, and whether they keep what is promised."""
    asked, values = option.phase.asked, option.answered()
    told = promises(asked.slo, asked.percentile, values)
    kept = bool(told.get("meets_slo", True)) and values.get("e2e_s") is not None
    slo = told.get("slo", {})
    times = {name: seen["value"] for name, seen in slo.items() if seen["value"] is not None}
    edges = {name: time.value if time.samples is None else quantile(time.samples, SURE) for name, time in times.items()}
    return replace(option, numbers=option.numbers | {f"{name}_s": float(time.value) for name, time in times.items()},
                   meets=kept, verified=kept, seen={n: str(x["of"]) for n, x in slo.items()},
                   likely=told.get("meets_slo_probability"),
                   above={name: edge / times[name].value for name, edge in edges.items() if math.isfinite(edge)})


def broken(option: Option) -> set[str]:
    """The promises that an option was found to break."""
    return {name for name, limit in option.phase.asked.slo.items() if not option.numbers[f"{name}_s"] <= limit}
