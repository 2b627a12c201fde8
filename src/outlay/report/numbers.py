"""Numbers as people read them: one unit a column, few digits, an interval in brackets, parts that add up."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from msgspec import Struct


class Scale(Struct, frozen=True):
    """A unit to print in: values are divided by `factor`; `before` and `after` stand beside the number."""

    factor: float
    after: str = ""
    before: str = ""


_SECONDS = (
    Scale(1e-3, " ms"),
    Scale(1.0, " s"),
    Scale(60.0, " min"),
    Scale(3600.0, " h"),
    Scale(86400.0, " days"),
    Scale(31557600.0, " years"),
)
_SECOND_LIMITS = (1.0, 120.0, 7200.0, 172800.0, 8.64e7)
_JOULES = tuple(
    Scale(3.6e6 * f, f" {p}Wh") for f, p in ((1e-3, ""), (1.0, "k"), (1e3, "M"), (1e6, "G"), (1e9, "T"))
)
_KG = (Scale(1e-3, " g"), Scale(1.0, " kg"), Scale(1e3, " t"), Scale(1e6, " kt"), Scale(1e9, " Mt"))
_LITRES = (Scale(1.0, " L"), Scale(1e3, " m³"), Scale(1e6, "k m³"), Scale(1e9, "M m³"))
_USD = (Scale(1.0, "", "$"), Scale(1e3, "k", "$"), Scale(1e6, "M", "$"), Scale(1e9, "B", "$"))
_PLAIN = (
    Scale(1.0),
    Scale(1e3, "k"),
    Scale(1e6, "M"),
    Scale(1e9, "G"),
    Scale(1e12, "T"),
    Scale(1e15, "P"),
    Scale(1e18, "E"),
    Scale(1e21, "Z"),
    Scale(1e24, "Y"),
)
_WATTS = (Scale(1.0, " W"), Scale(1e3, " kW"), Scale(1e6, " MW"), Scale(1e9, " GW"))
_DISK = (Scale(1e6, " MB"), Scale(1e9, " GB"), Scale(1e12, " TB"), Scale(1e15, " PB"))
_LADDERS: dict[str, tuple[Scale, ...]] = {
    "J": _JOULES,
    "kgCO2e": _KG,
    "kg": _KG,
    "L": _LITRES,
    "l": _LITRES,
    "USD": _USD,
    "usd": _USD,
    "W": _WATTS,
}
IMPACTS = {"J", "kgCO2e", "kg", "L", "l"}  # printed with two significant figures


class _Money(Struct, frozen=True):
    """The currency that money is printed in, and its units for one dollar."""

    code: str
    per_usd: float


_SHOWN_IN: ContextVar[_Money | None] = ContextVar("_SHOWN_IN", default=None)


@contextmanager
def money_in(currency: Mapping[str, object] | None) -> Iterator[None]:
    """Inside, every dollar is printed in this currency: a mapping with `code` and `per_usd`, or None for dollars.

    >>> with money_in({"code": "EUR", "per_usd": 0.9}):
    ...     one(2e6, "USD"), one(2.0, "USD/h")
    ('EUR 1.80M', '1.80 EUR/h')
    """
    rate = number((currency or {}).get("per_usd"))
    shown = _Money(str((currency or {}).get("code")), rate) if rate else None
    token = _SHOWN_IN.set(shown)
    try:
        yield
    finally:
        _SHOWN_IN.reset(token)


def _in_currency(size: float, unit: str, money: _Money) -> Scale:
    """The scale of an amount of money in the currency asked for; dollars per something likewise."""
    per = unit[3:]
    if not per:
        rung = _rung(size * money.per_usd, _USD)
        return Scale(rung.factor / money.per_usd, rung.after, f"{money.code} ")
    size *= money.per_usd
    rung = Scale(1.0) if size < 1e4 else _rung(size, _PLAIN)
    return Scale(rung.factor / money.per_usd, f"{rung.after} {money.code}{per}")


def number(value: object) -> float | None:
    """The nominal value of a Q mapping or of a plain number; None for anything that is no finite number."""
    if isinstance(value, Mapping):
        value = value.get("value")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def unit_of(value: object, default: str = "") -> str:
    unit = value.get("unit") if isinstance(value, Mapping) else None
    return unit if isinstance(unit, str) and unit else default


def scale_for(size: float, unit: str, memory: bool = False) -> Scale:
    """The unit a person would use for a size of this kind.

    >>> scale_for(7.2e9, "J").after, scale_for(4e5, "s").after, scale_for(2e6, "USD")
    (' MWh', ' days', Scale(factor=1000000.0, after='M', before='$'))
    """
    size = abs(size)
    money = _SHOWN_IN.get()
    if money is not None and unit[:3].upper() == "USD":
        return _in_currency(size, unit, money)
    if unit == "s" and size == 0:
        return _SECONDS[1]
    if unit in ("B", "bytes", "byte"):
        return Scale(2.0**30, " GiB") if memory else _rung(size, _DISK)
    if unit == "s":
        return next((s for s, limit in zip(_SECONDS, _SECOND_LIMITS) if size < limit), _SECONDS[-1])
    if unit in ("", "1", "fraction", "ratio"):
        return Scale(1.0) if size < 1e4 else _rung(size, _PLAIN)
    if unit in _LADDERS:
        return _rung(size, _LADDERS[unit])
    rung = Scale(1.0) if size < 1e4 else _rung(size, _PLAIN)
    return Scale(rung.factor, f"{rung.after} {unit}", rung.before)


def _rung(size: float, ladder: Sequence[Scale]) -> Scale:
    """The largest rung that leaves at least one, as rounding would print it."""
    fitting = [s for s in ladder if size >= 0.9995 * s.factor]
    return fitting[-1] if fitting else ladder[0]


def decimals_for(size: float, digits: int) -> int:
    """Decimals that show `digits` significant figures of a scaled size; never more than three.

    >>> decimals_for(12.34, 3), decimals_for(1234.5, 2), decimals_for(0.0123, 2)
    (1, 0, 3)
    """
    if size == 0 or not math.isfinite(size):
        return 0
    return min(3, max(0, digits - 1 - math.floor(math.log10(abs(size)) + 1e-9)))


def fixed(value: float, decimals: int, digits: int = 0) -> str:
    """A number with fixed decimals; with `digits`, longer whole numbers are rounded too."""
    if digits and value and decimals == 0:
        step = 10.0 ** max(0, math.floor(math.log10(abs(value))) - digits + 1)
        value = round(value / step) * step
    text = f"{value:,.{decimals}f}"
    return text.removeprefix("-") if float(text.replace(",", "")) == 0 else text


def one(
    value: object, unit: str = "", *, memory: bool = False, digits: int = 0, interval: bool = True
) -> str:
    """One number with its unit and interval.

    >>> one({"value": 2.0e6, "low": 1.7e6, "high": 2.4e6, "unit": "s"})
    '23.1 days [19.7–27.8]'
    >>> one({"value": 1234567.0, "low": 1234567.0, "high": 1234567.0, "unit": "USD"})
    '$1.23M'
    >>> one({"value": 3.6e12, "low": 3.2e12, "high": 4.1e12, "unit": "J"})
    '1.0 GWh [0.9–1.1]'
    >>> one(None)
    'unknown'
    """
    nominal = number(value)
    if nominal is None:
        return "unknown"
    unit = unit_of(value, unit)
    digits = digits or (2 if unit in IMPACTS else 3)
    scale = scale_for(nominal, unit, memory)
    if nominal and abs(nominal / scale.factor) < 0.01:
        return f"{scale.before}{nominal / scale.factor:.{digits}g}{scale.after}"
    decimals = 1 if memory else decimals_for(nominal / scale.factor, digits)
    text = f"{scale.before}{fixed(nominal / scale.factor, decimals, digits)}{scale.after}"
    return text + (span(value, scale, decimals, digits) if interval else "")


def plain(value: Any) -> str:
    """An assumed value on a page: a quantity with its unit, a count with its thousands, else as it is."""
    if isinstance(value, Mapping):
        return one(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def short(value: object, unit: str = "") -> str:
    """A number a person gave, without zeros nobody asked for.

    >>> short(86400.0 * 30, "s"), short(2e6, "USD"), short(5400.0, "s")
    ('30 days', '$2M', '90 min')
    """
    nominal = number(value)
    if nominal is None:
        return "unknown"
    scale = scale_for(nominal, unit_of(value, unit))
    return f"{scale.before}{nominal / scale.factor:.4g}{scale.after}"


def span(value: object, scale: Scale, decimals: int, digits: int = 0) -> str:
    """The interval in brackets, in the same unit; nothing when the number is certain."""
    if not isinstance(value, Mapping):
        return ""
    low, high = number(value.get("low")), number(value.get("high"))
    if low is None or high is None or low == high:
        return ""
    shown = [fixed(v / scale.factor, decimals, digits) for v in (low, high)]
    return "" if shown[0] == shown[1] else f" [{shown[0]}–{shown[1]}]"


def share(part: float, whole: float) -> str:
    """A percentage as people write it.

    >>> share(1, 3), share(0.001, 1), share(0, 1)
    ('33 %', '<1 %', '0 %')
    """
    if whole == 0 or part == 0:
        return "0 %"
    percent = 100 * part / whole
    return "<1 %" if 0 < percent < 0.5 else f"{percent:.0f} %"


def adding_up(parts: Sequence[float], decimals: int) -> list[float]:
    """Round parts so that they add up to their rounded sum (largest remainder).

    >>> adding_up([1.25, 1.25, 1.25], 1)
    [1.3, 1.3, 1.2]
    >>> sum(adding_up([0.4, 0.4, 0.4], 0))
    1.0
    """
    scale = 10.0**decimals
    floors = [math.floor(p * scale) for p in parts]
    missing = round(float(f"{sum(parts):.{decimals}f}") * scale) - sum(floors)
    order = sorted(range(len(parts)), key=lambda i: floors[i] - parts[i] * scale)
    for i in order[: max(0, missing)]:
        floors[i] += 1
    return [f / scale for f in floors]


def column(
    parts: Sequence[float | None], unit: str, *, memory: bool = False, digits: int = 0
) -> tuple[list[str], str, Scale, int]:
    """A column whose printed parts add up to its printed total: (parts, total, unit, decimals).

    >>> column([1.0e6, 0.25e6, 0.25e6, None], "USD")[:2]
    (['1.00', '0.25', '0.25', '?'], '1.50')
    """
    known = [p for p in parts if p is not None]
    total = sum(known)
    whole_dollars = unit == "USD" and abs(total) < 1e4  # a small sum reads better whole than as thousandths of 1,000
    scale = scale_for(min(abs(total), 1.0) if whole_dollars else total, unit, memory)
    digits = digits or (2 if unit in IMPACTS else 3)
    decimals = 1 if memory else decimals_for(total / scale.factor, digits)
    rounded = iter(adding_up([p / scale.factor for p in known], decimals))
    cells = [
        "?" if p is None else fixed(next(rounded), decimals) if p else _zero(next(rounded)) for p in parts
    ]
    return cells, fixed(round(total / scale.factor, decimals), decimals), scale, decimals


def _zero(_: float) -> str:
    return "–"
