"""Human units in and out. Inside, every number is SI; the unit is in the name.

Reading is strict: a number with a unit of another kind is an error that says what is allowed.
"""

from __future__ import annotations

import math
import re

from outlay.errors import BadUnit, BadValue

_SI = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12, "P": 1e15, "E": 1e18, "Z": 1e21}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}
_TIME = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "sec": 1.0, "second": 1.0, "seconds": 1.0,
         "min": 60.0, "m": 60.0, "minute": 60.0, "minutes": 60.0, "mo": 2629800.0,
         "h": 3600.0, "hour": 3600.0, "hours": 3600.0, "d": 86400.0, "day": 86400.0, "days": 86400.0,
         "w": 604800.0, "week": 604800.0, "weeks": 604800.0, "month": 2629800.0, "months": 2629800.0,
         "y": 31557600.0, "year": 31557600.0, "years": 31557600.0}
_MONTH_S = _TIME["month"]
_COUNT_WORDS = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}

# kind → unit (without SI prefix) → factor to SI
_PLAIN = {
    "power_w": {"W": 1.0, "w": 1.0},
    "energy_j": {"J": 1.0, "j": 1.0, "Wh": 3600.0, "wh": 3600.0},
    "rate_per_s": {
        "/s": 1.0,
        "/min": 1 / 60,
        "/h": 1 / 3600,
        "/hour": 1 / 3600,
        "/day": 1 / 86400,
        "/month": 1 / 2629800,
        "/year": 1 / 31557600,
    },
    "flop_per_s": {"flop/s": 1.0, "FLOP/s": 1.0, "FLOPS": 1.0, "flops": 1.0, "OPS": 1.0},
}
_NUMBER = re.compile(r"^\s*([-+]?(?:\d[\d_,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*$")

EXAMPLES = {
    "count": "15T, 8k, 1.5e12",
    "bytes": "80GB, 24GiB, 1.5e9",
    "bytes_per_s": "450GB/s, 400Gbit/s, 5e10",
    "seconds": "500ms, 2h, 30d",
    "power_w": "700W, 0.7kW",
    "energy_j": "1.2MWh, 3.6e6",
    "fraction": "0.9, 90%",
    "usd": "5000, $5k",
    "usd_per_hour": "2.50, $2.50/h",
    "usd_per_kwh": "0.08, $0.08/kWh",
    "rate_per_s": "10, 3/min, inf",
    "per_month": "3M, 3M/month, 100k/day, 2/s",
    "flop_per_s": "989e12, 989TFLOP/s",
    "percentile": "99, p99",
}


def parse(value: object, kind: str, field: str) -> float:
    """A number in SI from what a person wrote, for one kind of quantity.

    Raises BadUnit when the text has a unit of another kind, BadValue when it is no finite number.

    >>> parse("15T", "count", "tokens")
    15000000000000.0
    >>> parse("24GiB", "bytes", "memory"), parse("80GB", "bytes", "memory")
    (25769803776.0, 80000000000.0)
    >>> parse("500ms", "seconds", "ttft"), parse("400Gbit/s", "bytes_per_s", "link")
    (0.5, 50000000000.0)
    >>> parse("$2.50/h", "usd_per_hour", "price"), parse("90%", "fraction", "utilisation")
    (2.5, 0.9)
    """
    if isinstance(value, bool):
        raise BadValue(f"{field}: {value} is not a number; write for example {EXAMPLES[kind]}", field)
    if isinstance(value, (int, float)):
        try:
            number = float(value)
        except OverflowError:
            raise BadValue(f"{field}: the number is too large", field) from None
        if math.isnan(number) or (math.isinf(number) and kind != "rate_per_s"):
            raise BadValue(f"{field}: {value} is not a finite number", field)
        return number
    if not isinstance(value, str):
        raise BadValue(f"{field}: expected a number such as {EXAMPLES[kind]}, got {type(value).__name__}", field)
    text = value.strip()
    if kind == "rate_per_s" and text.lower() in ("inf", "infinity"):
        return math.inf
    if kind == "percentile":
        text = text.removeprefix("p").removeprefix("P").removesuffix("%")
    money = kind.startswith("usd")
    if money:
        text = text.removeprefix("US$").removeprefix("$").removeprefix("USD").strip()
    match = _NUMBER.match(text)
    if not match:
        raise BadValue(f"{field}: {_shown(value)} is not a number; write for example {EXAMPLES[kind]}", field)
    try:
        number = float(match.group(1).replace(",", "").replace("_", ""))
    except ValueError:
        raise BadValue(f"{field}: {_shown(value)} is not a number", field) from None
    factor = _factor(match.group(2), kind)
    if factor is None:
        raise BadUnit(f"{field}: cannot read the unit {_shown(match.group(2))} in {_shown(value)}; "
                      f"write for example {EXAMPLES[kind]}", field)
    if not math.isfinite(number * factor):
        raise BadValue(f"{field}: {_shown(value)} is not a finite number", field)
    return number * factor


def _shown(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _factor(unit: str, kind: str) -> float | None:
    if unit == "":
        return 1.0
    if kind == "count":
        return _SI.get(unit.removesuffix("tokens").strip(), _SI.get(unit.upper()[:1] if len(unit) == 1 else unit,
                       _COUNT_WORDS.get(unit.lower())))
    if kind == "per_month":
        return _in_a_month(unit)
    if kind == "rate_per_s":
        unit = re.sub(r"^(.*?)\s*(?:rps|qps)$", r"\1/s", re.sub(r"\s*(?:requests?|reqs?)/", "/", unit), flags=re.I)
    if kind == "seconds":
        return _TIME.get(unit, _TIME.get(unit.lower()))
    if kind == "bytes":
        return _bytes(unit)
    if kind == "bytes_per_s":
        if not unit.endswith(("/s", "ps")):
            return None
        stem = unit[:-2]
        for suffix in ("bit", "bits", "b"):
            if stem.endswith(suffix) and (suffix != "b" or unit.endswith("ps")):
                prefix = _SI.get(stem.removesuffix(suffix))
                return prefix / 8 if prefix is not None else None
        return _bytes(stem)
    if kind == "fraction":
        return 0.01 if unit == "%" else None
    if kind.startswith("usd"):
        return _money(unit, kind)
    for name, factor in _PLAIN.get(kind, {}).items():
        if unit.endswith(name):
            prefix = _SI.get(unit.removesuffix(name).strip())
            if prefix is not None:
                return factor * prefix
    return None


def _in_a_month(unit: str) -> float | None:
    """So many in some time, or in a month where no time is told.

    >>> _in_a_month("k/day"), _in_a_month("M"), _in_a_month("/parsec")
    (30437.5, 1000000.0, None)
    """
    many, slash, time = unit.partition("/")
    count = _factor(many.strip(), "count")
    time = re.sub(r"^(a|per)\s+", "", time.strip().lower())
    each = _TIME.get(time) if slash else _MONTH_S
    return None if count is None or each is None else count * _MONTH_S / each


def _bytes(unit: str) -> float | None:
    stem = unit.removesuffix("ytes").removesuffix("yte") if unit.endswith(("Bytes", "bytes", "Byte")) else unit
    if stem in ("B", "b"):
        return 1.0
    if not stem.endswith("B"):
        stem += "B"
    prefix = stem[:-1]
    return _BINARY.get(prefix, _SI.get(prefix, _SI.get(prefix.upper())))


def _money(unit: str, kind: str) -> float | None:
    scale, _, per = unit.partition("/")
    factor = _SI.get(scale.strip().removesuffix("USD").removesuffix("usd").strip())
    allowed = {"usd": {"": 1.0}, "usd_per_hour": {"": 1.0, "h": 1.0, "hour": 1.0, "hr": 1.0, "GPU-h": 1.0},
               "usd_per_kwh": {"": 1.0, "kWh": 1.0, "kwh": 1.0, "MWh": 1e-3}}
    divisor = allowed.get(kind, {"": 1.0}).get(per.strip())
    return None if factor is None or divisor is None else factor * divisor


def split_fleet(text: str) -> tuple[int, str]:
    """"64xh100-sxm5-80gb" → (64, "h100-sxm5-80gb"); a bare device name is one device.

    >>> split_fleet("64xh100-sxm5-80gb"), split_fleet("8 x NVIDIA H200"), split_fleet("rtx-4090")
    ((64, 'h100-sxm5-80gb'), (8, 'NVIDIA H200'), (1, 'rtx-4090'))
    >>> split_fleet("H100:8"), split_fleet("l40s x2")  # the count behind, as schedulers write it
    ((8, 'H100'), (2, 'l40s'))
    """
    match = re.match(r"^\s*(\d[\d_,]{0,11})\s*[x×*]\s*(\S.*?)\s*$", text)
    if match:
        return int(match.group(1).replace(",", "").replace("_", "")), match.group(2)
    match = re.match(r"^\s*([A-Za-z].*\d.*?)(?:\s*:\s*|\s+[x×*]\s*|(?<=\w)[x×*])(\d{1,8})\s*$", text)
    if match:
        return int(match.group(2)), match.group(1).strip()
    return 1, text.strip()


def si(value: float, unit: str, digits: int = 3) -> str:
    """A number with an SI prefix, for people.

    >>> si(15e12, "tokens"), si(0.0042, "s"), si(1234, "W")
    ('15 Ttokens', '4.2 ms', '1.23 kW')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    for factor, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""),
                           (1e-3, "m"), (1e-6, "µ"), (1e-9, "n")):
        if abs(value) >= factor * 0.9995:
            return f"{value / factor:.{digits}g} {prefix}{unit}"
    return f"{value:.{digits}g} {unit}"


def duration(seconds: float) -> str:
    """A span of time in the unit a person would use.

    >>> duration(0.25), duration(90), duration(7200), duration(86400 * 40)
    ('250 ms', '90 s', '2 h', '40 days')
    """
    if not math.isfinite(seconds):
        return "never"
    for limit, factor, unit in ((1e-3, 1e-6, "µs"), (1.0, 1e-3, "ms"), (120.0, 1.0, "s"), (7200.0, 60.0, "min"),
                                (172800.0, 3600.0, "h"), (3.15576e8, 86400.0, "days")):
        if abs(seconds) < limit:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds / 31557600.0:.3g} years"


def gib(size_bytes: float) -> str:
    """Device memory, in GiB.

    >>> gib(80 * 2**30)
    '80.0 GiB'
    """
    return f"{size_bytes / 2**30:.1f} GiB"
