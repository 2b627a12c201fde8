"""Numbers that know their interval and where they came from.

A `Quantity` carries its nominal value and, where anything behind it is uncertain, the values it takes on a
fixed set of draws. Draws are aligned: draw i of every input belongs to the same imagined world, so correlation
survives every formula and no interval arithmetic is ever done. `derive` calls one formula on nominal values and
once more on the draws; without a Quantity among its inputs it is a plain call, so that a search over arrays and
an explained plan run the same lines.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from outlay.errors import BadValue

if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy as np
    from numpy.typing import NDArray

    Num: TypeAlias = "float | int | NDArray[np.float64] | Quantity"
else:
    Num = Any

USUAL_DRAWS, LEAST_DRAWS, MOST_DRAWS = 400, 50, 20_000


def _draws_asked(text: str | None) -> int:
    """Draws behind every interval: 400, or as many as the environment asks for.

    >>> _draws_asked(None), _draws_asked("1000")
    (400, 1000)
    """
    if not text:
        return USUAL_DRAWS
    if not text.isdecimal() or not LEAST_DRAWS <= int(text) <= MOST_DRAWS:
        raise BadValue(f"OUTLAY_DRAWS: {text[:20]!r} is not a whole number from {LEAST_DRAWS} to {MOST_DRAWS}",
                       "OUTLAY_DRAWS")
    return int(text)


# how a sum names its terms that are plain numbers
COUNTED = "what is counted exactly"
COUNTED_FROM = "the model's shape, the layout and the framework's types, no constant behind it"
DRAWS = _draws_asked(os.environ.get("OUTLAY_DRAWS"))
COVERAGE = 0.80
Z_EDGE = 1.2815515655446004  # standard normal at the 90th percentile


def quantile(samples: Any, q: float) -> float:
    """np.quantile's linear rule, at a fifth of its cost.

    >>> quantile([3.0, 1.0, 2.0, 5.0], 0.5)
    2.5
    """
    return quantiles(samples, q)[0]


def quantiles(samples: Any, *shares: float) -> list[float]:
    """Several, sorted once.

    >>> quantiles([3.0, 1.0, 2.0, 5.0], 0.5, 1.0)
    [2.5, 5.0]
    """
    import numpy as np

    ordered = np.sort(samples)
    found = []
    for q in shares:
        at = q * (len(ordered) - 1)
        below = min(int(at), len(ordered) - 2)
        under, over, part = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)]), at - below
        # also where both are infinite
        found.append(under if part == 0 or under == over else under + part * (over - under))
    return found


class Quantity(Struct, frozen=True, eq=False):
    """A value with a unit, an 80 % interval and a lineage.

    `samples` holds the value on each draw, or None when it is certain. `sources` are short citations or
    catalogue row ids; `inputs` the quantities a formula was called with.
    """

    value: float
    unit: str = ""
    label: str = ""
    formula: str = ""
    inputs: tuple[Quantity, ...] = ()
    sources: tuple[str, ...] = ()
    samples: NDArray[np.float64] | None = None
    basis: str = "derived"

    def __repr__(self) -> str:
        return f"Quantity({self.value!r}, {self.unit!r}, {self.label!r}, low={self.low!r}, high={self.high!r})"

    @property
    def low(self) -> float:
        return self.interval[0]

    @property
    def high(self) -> float:
        return self.interval[1]

    @property
    def interval(self) -> tuple[float, float]:
        """Both edges, which hold the value between them."""
        if self.samples is None:
            return self.value, self.value
        low, high = quantiles(self.samples, (1 - COVERAGE) / 2, (1 + COVERAGE) / 2)
        return min(low, self.value), max(high, self.value)

    def to_dict(self) -> dict[str, Any]:
        low, high = self.interval
        return {"value": self.value, "low": low, "high": high, "unit": self.unit}

    def named(self, label: str, unit: str | None = None) -> Quantity:
        return Quantity(self.value, self.unit if unit is None else unit, label, self.formula, self.inputs,
                        self.sources, self.samples, self.basis)

    def __add__(self, other: Quantity | float) -> Quantity:
        total: Quantity = add_all(self.label, self.unit, self, other)
        return total

    __radd__ = __add__

    def __float__(self) -> float:
        return float(self.value)


def exact(value: float, unit: str = "", label: str = "", *sources: str, basis: str = "published") -> Quantity:
    """A certain input.

    >>> exact(80, "GB", "memory").low
    80
    """
    return Quantity(value, unit, label, sources=tuple(sources), basis=basis)


@lru_cache(maxsize=4)
def _normal_quantiles(n: int) -> NDArray[np.float64]:
    from statistics import NormalDist

    import numpy as np

    inverse = NormalDist().inv_cdf
    return np.array([inverse((i + 0.5) / n) for i in range(n)])


@lru_cache(maxsize=512)
def normal_draws(seed: int, key: str, n: int = DRAWS) -> NDArray[np.float64]:
    """Standard normal draws that depend on (seed, key) alone: a stratified sample in a hashed order.

    >>> bool((normal_draws(0, "pue") == normal_draws(0, "pue")).all())
    True
    """
    import numpy as np

    digest = hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=8).digest()
    order = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little"))).permutation(n)
    values: NDArray[np.float64] = _normal_quantiles(n)[order]
    values.flags.writeable = False
    return values


def any_of(value: float, options: Sequence[Num], unit: str, label: str, *sources: str, seed: int = 0,
           key: str = "") -> Quantity:
    """A number that is one of several, each with its own draws, and nobody says which; `value` is the nominal one.

    The interval is that of all their draws together.

    >>> one = any_of(2.0, (1.0, 2.0, 4.0), "USD", "one of three prices")
    >>> round(one.low, 1), one.value, round(one.high, 1)
    (1.0, 2.0, 4.0)
    """
    import numpy as np

    draws = [o.samples if isinstance(o, Quantity) and o.samples is not None else np.full(DRAWS, value_of(o))
             for o in options]
    low, high = (float(edge) for edge in np.quantile(np.concatenate(draws), (0.1, 0.9)))
    return uncertain(value, min(low, value), max(high, value), unit, label, *sources, seed=seed, key=key)


def uncertain(value: float, low: float, high: float, unit: str, label: str, *sources: str, seed: int = 0,
              key: str = "", basis: str = "published") -> Quantity:
    """An input known to an 80 % interval [low, high]; two-sided log-normal, or normal where an edge is not positive.

    An interval that starts at nothing holds no draws below it: a share of time or a price is never negative.
    Draws with the same (seed, key) are the same draws, so two plans compared share them.

    >>> q = uncertain(1.2, 1.1, 1.4, "", "pue", key="pue")
    >>> round(q.low, 2), round(q.high, 2)
    (1.1, 1.4)
    >>> float(uncertain(0.01, 0.0, 0.03, "", "share", key="share").samples.min())
    0.0
    """
    import numpy as np

    if not low <= value <= high:
        raise ValueError(f"{label}: {low} <= {value} <= {high} does not hold")
    if low == high:
        return exact(value, unit, label, *sources, basis=basis)
    z = normal_draws(seed, key or label)
    if low > 0:
        down, up = math.log(value / low) / Z_EDGE, math.log(high / value) / Z_EDGE
        samples = value * np.exp(np.where(z < 0, z * down, z * up))
    else:
        down, up = (value - low) / Z_EDGE, (high - value) / Z_EDGE
        samples = value + np.where(z < 0, z * down, z * up)
        if low == 0:
            samples = np.maximum(samples, 0.0)
    samples.flags.writeable = False
    return Quantity(value, unit, label, sources=tuple(sources), samples=samples, basis=basis)


def value_of(number: Any) -> float:
    """The nominal value of a Quantity, or a plain number as it is.

    >>> value_of(exact(80, "GB")), value_of(2)
    (80.0, 2.0)
    """
    return float(getattr(number, "value", number))


def derive(fn: Callable[..., Any], label: str, unit: str, /, **inputs: Any) -> Any:
    """Call `fn(**inputs)` and keep the lineage when any input is a Quantity.

    Inputs that are no Quantity (floats, strings, arrays, tuples) are passed on as they are.

    >>> derive(lambda a, b: a * b, "product", "", a=2.0, b=3.0)
    6.0
    >>> q = derive(lambda a, b: a * b, "work", "J", a=exact(2.0, "N", "force"), b=3.0)
    >>> q.value, q.unit, [i.label for i in q.inputs]
    (6.0, 'J', ['force', 'b'])
    """
    for value in inputs.values():  # a loop, because a search comes here without a Quantity very often
        if isinstance(value, Quantity):
            break
    else:
        return fn(**inputs)
    plain: dict[str, Any] = {}
    kept: list[Quantity] = []
    drawn = False
    basis = "derived"
    for name, value in inputs.items():
        if isinstance(value, Quantity):
            plain[name] = value.value
            kept.append(value)
            drawn = drawn or value.samples is not None
            basis = "assumed" if value.basis == "assumed" else basis
        else:
            plain[name] = value
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                kept.append(Quantity(float(value), "", name, basis="given"))
    nominal = fn(**plain)
    samples = _full(fn(**{name: drawn_of(value) for name, value in inputs.items()})) if drawn else None
    return Quantity(float(nominal), unit, label, formula_of(fn), tuple(kept), samples=samples, basis=basis)


def drawn_of(value: Any) -> Any:
    """A number's value on each draw; the number itself where it is certain."""
    if not isinstance(value, Quantity):
        return value
    return value.value if value.samples is None else value.samples


def _full(drawn: Any) -> NDArray[np.float64]:
    """One value a draw."""
    import numpy as np

    if isinstance(drawn, np.ndarray) and drawn.shape == (DRAWS,) and drawn.dtype == np.float64:
        return drawn
    return np.broadcast_to(np.asarray(drawn, dtype=float), (DRAWS,))


@lru_cache(maxsize=512)
def formula_of(fn: Callable[..., Any]) -> str:
    """Where a reader finds the formula: its module, name and first docstring line."""
    doc = (fn.__doc__ or "").strip().splitlines()
    name = f"{fn.__module__.removeprefix('outlay.')}.{fn.__name__}"
    return f"{name}: {doc[0]}" if doc else name


def _sum(*terms: Any) -> Any:
    return sum(terms[1:], start=terms[0]) if terms else 0.0


def add_all(label: str, unit: str, *terms: Any) -> Any:
    """Sum terms, keeping lineage and draws.

    >>> add_all("total", "s", exact(1.0, "s", "a"), 2.0).value, add_all("of nothing", "s")
    (3.0, 0.0)
    """
    for term in terms:
        if isinstance(term, Quantity):
            break
    else:
        return _sum(*terms)
    nominal: Any = 0
    rest: Any = 0
    kept: list[Quantity] = []
    drawn = False
    basis = "derived"
    for term in terms:
        if isinstance(term, Quantity):
            nominal = nominal + term.value
            kept.append(term)
            drawn = drawn or term.samples is not None
            basis = "assumed" if term.basis == "assumed" else basis
        else:
            nominal, rest = nominal + term, rest + term
    samples = _full(sum(drawn_of(term) for term in terms)) if drawn else None
    if float(rest):
        kept.append(Quantity(float(rest), unit, COUNTED, sources=(COUNTED_FROM,), basis="derived"))
    return Quantity(float(nominal), unit, label, "sum", tuple(kept), samples=samples, basis=basis)
