"""A person's own runs of a model on a device with an engine: catalogue rows → factors on what is planned of them.

A row of kind `calibration` is measured over planned of one number at one load; `outlay calibrate` writes them. Its id
is `key_of`, its parameter the number and the load (`parameter_of`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from outlay.catalog import Catalog, Entry
from outlay.errors import BadValue
from outlay.physics.calibration import Factor, Spreads, load_point, posterior
from outlay.resolve.notes import Notes

KIND = "calibration"
SHARES = "shares"  # the row of how the residual's spread divides
POWER = "power_w_per_device"
NUMBERS = ("ttft_s", "tpot_s", "output_tokens_per_s", POWER)
LOAD = ("in_flight", "input", "output", "devices", "weight_bytes")
MOST = 100  # loads that a factor is made of, the nearest first
Z_EDGE = 1.2815515655446004  # standard normal at the 90th percentile
Point = tuple[float, ...]


class OwnRuns(Struct, frozen=True, eq=False):
    """Measured over planned, and where each run's load lies, by number; with how the spread of errors divides."""

    key: str
    ratios: Mapping[str, Sequence[float]]
    points: Mapping[str, Sequence[Point]]
    shares: Mapping[str, float]
    sources: Sequence[str] = ()
    _kept: dict[Any, float] = field(default_factory=dict)  # factors asked for before

    def factor(self, number: str, prior: tuple[float, float, float], at: Point | None) -> Factor | None:
        """The factor on a number at a load; None where no run measured it. prior: its 10th, 50th, 90th percentile."""
        if number not in self.ratios:
            return None
        low, middle, high = prior
        wide = math.log(high / low) / (2.0 * Z_EDGE)
        spreads = Spreads(wide * self.shares["group"], wide * self.shares["load"], wide * self.shares["run"],
                          self.shares["alike"], self.shares["freedom"])
        ratios, points, counts = _of_load(self.ratios[number], self.points[number])
        if at is not None and len(points) > MOST:  # the rest lies farther off and would say next to nothing more
            nearest = sorted(range(len(points)), key=lambda i: math.dist(points[i], at))[:MOST]
            ratios, points, counts = ([ratios[i] for i in nearest], [points[i] for i in nearest],
                                      [counts[i] for i in nearest])
        return posterior(ratios[:MOST], points[:MOST], at, middle, spreads, counts[:MOST])

    def by_load(self, number: str, prior: tuple[float, float, float], in_flight: Any, prompt: Any, output: Any,
                devices: float, weight_bytes: float) -> Any:
        """The factor's middle by requests in flight: between those of every doubling, in logarithms."""
        import numpy as np

        inside = np.log2(np.maximum(np.asarray(in_flight, dtype=float), 2.0**-6))
        steps = np.arange(np.floor(inside.min()), np.ceil(inside.max()) + 1.0)
        lengths = (float(np.mean(prompt)), float(np.mean(output)))
        found = []
        for step in steps:
            at = load_point(2.0**step, *lengths, devices, weight_bytes)
            if (number, prior, at) not in self._kept:
                factor = self.factor(number, prior, at)
                self._kept[number, prior, at] = 1.0 if factor is None else factor.value
            found.append(math.log(self._kept[number, prior, at]))
        middle = np.exp(np.interp(inside, steps, found))
        return middle if middle.ndim else float(middle)

    def told(self, number: str) -> str:
        count = len(self.ratios[number])
        return f"{KIND} {self.key}: {count} run{'s' * (count > 1)} of one's own, {', '.join(self.sources)}"


def _of_load(ratios: Sequence[float], points: Sequence[Point]) -> tuple[list[float], list[Point], list[float]]:
    """Runs of one load as their geometric mean, and how many they were."""
    found: dict[Point, list[float]] = {}
    for ratio, point in zip(ratios, points, strict=True):
        found.setdefault(point, []).append(math.log(ratio))
    return ([math.exp(sum(logs) / len(logs)) for logs in found.values()], list(found),
            [float(len(logs)) for logs in found.values()])


def key_of(model: str, device: str, engine: str) -> str:
    """The id of a calibration's rows."""
    return f"{model} on {device} with {engine}"


def parameter_of(number: str, load: Mapping[str, float], run: int = 1) -> str:
    """A row's parameter: the number, the load it was measured at, and which of several runs of one load it is.

    >>> parameter_of("tpot_s", {"in_flight": 32, "input": 1024, "output": 256, "devices": 1, "weight_bytes": 2})
    'tpot_s in_flight=32 input=1024 output=256 devices=1 weight_bytes=2'
    """
    words = [number, *(f"{name}={load[name]:.6g}" for name in LOAD)]
    return " ".join(words + ([f"run={run}"] if run > 1 else []))


def own_runs(model: str, device: str, engine: str, catalog: Catalog, notes: Notes) -> OwnRuns | None:
    """What a person measured of this model on this device with this engine; None where nothing was.

    Raises BadValue with field `catalog` for rows that are not as `outlay calibrate` writes them.
    """
    key = key_of(model, device, engine)
    table = catalog.table(KIND)
    if key not in table.rows:
        others = [known.rpartition(" with ")[2] for known in table.rows if known.startswith(key_of(model, device, ""))]
        if others:
            notes.warn(f"catalog: runs of {model} on {device} are with {', '.join(others)}, and this plan is with "
                       f"{engine}: they are not used")
        return None
    entry, shares = table.entry(key), table.entry(SHARES)
    ratios: dict[str, list[float]] = {}
    points: dict[str, list[Point]] = {}
    for fact in entry:
        if fact.parameter == "planned_with":
            continue
        number, point = _read(entry, fact.parameter)
        if isinstance(fact.value, str) or not 1e-3 < fact.value < 1e3:
            raise BadValue(f"catalog: {KIND} {key}: {fact.parameter} is {fact.value!r}; measured over planned is a "
                           "number from 0.001 to 1000", "catalog")
        ratios.setdefault(number, []).append(float(fact.value))
        points.setdefault(number, []).append(point)
    sources = tuple(dict.fromkeys(fact.source for fact in entry))
    found = OwnRuns(key, ratios, points, {name: float(shares.value(name)) for name in shares.facts}, sources)
    for number in ratios:
        middle = math.exp(sum(map(math.log, ratios[number])) / len(ratios[number]))
        notes.assume(f"serve: {number}", round(middle, 3),
                     "measured over planned in runs of one's own; the plan follows them as far as they tell",
                     found.told(number))
    planned_with = str(entry.value("planned_with", ""))
    if planned_with and planned_with != catalog.date:
        notes.warn(f"catalog: the runs of {key} were set against the catalogue of {planned_with}, and this is that of "
                   f"{catalog.date}: run `outlay calibrate` again")
    return found


def _read(entry: Entry, parameter: str) -> tuple[str, Point]:
    """A parameter's number and load."""
    number, *words = parameter.split()
    pairs = dict(word.split("=", 1) for word in words if "=" in word)
    known = number in NUMBERS
    try:
        values = [float(pairs[name]) for name in LOAD]
    except (KeyError, ValueError):
        known, values = False, []
    if not known or not all(0.0 < value < 1e12 for value in values):
        raise BadValue(f"catalog: {KIND} {entry.id}: parameter {parameter[:100]!r} is not one of {', '.join(NUMBERS)} "
                       f"followed by {' '.join(name + '=…' for name in LOAD)}", "catalog")
    return number, load_point(*values)
