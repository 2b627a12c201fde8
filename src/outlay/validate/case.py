"""A published measurement beside the scenario that should predict it, and how a set of them is scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

BASELINE_UTILIZATION = 0.35  # 6ND at 35 % of dense peak
BASELINE_BYTES_PER_PARAMETER = 16.0


class Case(Struct, frozen=True):
    """One measured value. `number` is the dotted name in a result; `group` is what is left out when it is scored."""

    source: str
    id: str
    scenario: dict[str, Any]
    number: str
    measured: float
    unit: str
    group: str
    evidence: str = ""
    note: str = ""
    half: float = 0.0  # of the last digit it was printed with, where that is coarse beside the prediction


class Outcome(Struct, frozen=True):
    """What was predicted for a case: nominal, interval, and what the baseline says. `error` when it failed."""

    case: Case
    value: float
    low: float
    high: float
    baseline: float | None = None
    error: str = ""

    @property
    def ratio(self) -> float:
        return self.value / self.case.measured

    @property
    def inside(self) -> bool:
        """Whether the interval holds what was measured, or what would be printed like it."""
        return self.low - self.case.half <= self.case.measured <= self.high + self.case.half


class Score(Struct, frozen=True):
    """How well a set of outcomes matches. Errors are |predicted/measured - 1|."""

    name: str
    n: int
    failed: int
    median: float
    mean: float
    p90: float
    bias: float
    inside: float
    width: float
    baseline: float | None
    worst: tuple[Outcome, ...] = ()


def quantile(values: Sequence[float], q: float) -> float:
    """Linear quantile of a small sample.

    >>> quantile([1.0, 2.0, 4.0], 0.5), quantile([1.0, 2.0, 4.0], 0.75)
    (2.0, 3.0)
    """
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    place = q * (len(ordered) - 1)
    index = int(place)
    after = ordered[min(index + 1, len(ordered) - 1)]
    return ordered[index] + (place - index) * (after - ordered[index])


def score(name: str, outcomes: Sequence[Outcome]) -> Score:
    """The scoreboard's row for one source or class; failed cases are counted, never dropped in silence."""
    good = [o for o in outcomes if not o.error]
    errors = [abs(o.ratio - 1) for o in good]
    baselines = [abs(o.baseline / o.case.measured - 1) for o in good if o.baseline is not None]
    return Score(
        name=name, n=len(good), failed=len(outcomes) - len(good), median=quantile(errors, 0.5),
        mean=sum(errors) / len(errors) if errors else float("nan"), p90=quantile(errors, 0.9),
        bias=quantile([o.ratio - 1 for o in good], 0.5),
        inside=sum(o.inside for o in good) / len(good) if good else float("nan"),
        width=quantile([o.high / o.low for o in good if o.low > 0], 0.5),
        baseline=quantile(baselines, 0.5) if baselines else None,
        worst=tuple(sorted(good, key=lambda o: -abs(o.ratio - 1))[:3]))
