"""What the columns of a trace are called, and how its times are read: one at a time, or a block of them at once."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from outlay.errors import UnknownField, suggestion

FIELD = "serve.workload.trace"
# What people call the columns of traces of their own, without case and signs; the first is the name to write.
OWN: dict[str, tuple[str, ...]] = {
    "arrival_s": ("arrival", "arrivaltime", "arrivaltimes", "arrivedat", "time", "times", "timestamp", "timestamps",
                  "starttime", "requesttime", "senttime", "second", "seconds"),
    "input_tokens": ("input", "inputs", "inputlen", "inputlength", "inputtoks", "numinputtokens", "isl", "prompt",
                     "prompttokens", "promptlen", "promptlength", "numprompttokens", "numprefilltokens",
                     "prefilltokens", "contexttokens", "requesttokens"),
    "output_tokens": ("output", "outputs", "outputlen", "outputlength", "outputtoks", "numoutputtokens", "osl",
                      "completion", "completiontokens", "completionlength", "generatedtokens", "numdecodetokens",
                      "decodetokens", "responsetokens", "responselength"),
}
UNITS_S = {"ms": 1e-3, "us": 1e-6, "ns": 1e-9}  # at the end of a time's name; seconds else
EPOCH_MS = 1e11  # a count of seconds as large is of the year 5138, of milliseconds of 1973
LONGEST_DATE = 40  # characters, in a block
_NUMBER = re.compile(r"[-+.eE\d]+")
_ZONE = re.compile(rb"(Z|[+-]\d\d:?\d\d)$")
_SINCE_S = 946684800  # from 1970 to 2000, which dates are counted from


class Times:
    """Times of a trace to seconds: numbers of so many seconds each, or dates and times.

    >>> Times(1e-3)("1500"), Times()("2000-01-01 00:00:01.5"), Times()("2000-01-01T01:00:00+01:00")
    (1.5, 1.5, 0.0)
    """

    def __init__(self, each_s: float = 1.0) -> None:
        self.each_s = each_s
        self.minute, self.start_s = "", 0.0  # the date part is parsed once a minute of trace
        self.zones: dict[str, float] = {}

    def __call__(self, text: Any) -> float:
        try:
            number = float(text)
        except (ValueError, TypeError):
            return self._date(str(text))
        if self.each_s == 1.0 and abs(number) > EPOCH_MS:  # since 1970, in ms, us or ns
            return number * 1e-3 ** (1 + (abs(number) > 1e3 * EPOCH_MS) + (abs(number) > 1e6 * EPOCH_MS))
        return number * self.each_s

    def of_numbers(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same of many numbers.

        >>> Times().of_numbers(np.array([1.5, 1.7e12, 1.7e18])).tolist()
        [1.5, 1700000000.0, 1700000000.0]
        """
        if self.each_s != 1.0:
            return found * self.each_s
        size = np.abs(found)
        if not (size > EPOCH_MS).any():
            return found
        times: NDArray[np.float64] = found * 1e-3 ** np.select(
            [size > 1e6 * EPOCH_MS, size > 1e3 * EPOCH_MS, size > EPOCH_MS], [3.0, 2.0, 1.0])
        return times

    def of_dates(self, found: NDArray[np.bytes_]) -> NDArray[np.float64] | None:
        """The same of many dates that are written alike; None where they are not.

        >>> Times().of_dates(np.array([b"2000-01-01 00:00:01.5", b"2000-01-01 00:01:00"], dtype="S40")).tolist()
        [1.5, 60.0]
        """
        zone = _ZONE.search(bytes(found[0]))
        ahead = 0.0
        if zone is not None:
            mark = zone.group()
            if not np.char.endswith(found, mark).all():
                return None
            found = np.char.replace(found, mark, b"")
            ahead = 0.0 if mark == b"Z" else self._ahead_s(mark.decode())
        letters = np.ascontiguousarray(found).view(np.uint8).reshape(len(found), -1)
        clock = letters[:, 11:]
        plain = (clock == 0) | (clock == ord(".")) | ((clock >= ord("0")) & (clock <= ord(":")))
        if letters.shape[1] < 19 or not ((letters[:, 18] > 0) & np.isin(letters[:, 0], (49, 50)) & plain.all(1)).all():
            return None  # to the second, of this millennium or the last, no other zone: no words, no short forms
        try:
            times = found.astype("M8[ns]").view(np.int64)
        except ValueError:
            return None
        seconds: NDArray[np.float64] = (times - _SINCE_S * 10**9) / 1e9 - ahead
        return seconds

    def _date(self, text: str) -> float:
        minute, rest = text[:16].replace("T", " "), text[16:]
        if minute != self.minute:
            self.start_s = (datetime.fromisoformat(minute) - datetime(2000, 1, 1)).total_seconds()
            self.minute = minute
        seconds, sign, zone = rest.removeprefix(":").partition("-" if "-" in rest else "+")
        seconds = seconds.strip().removesuffix("Z")
        ahead = self._ahead_s(sign + zone) if sign else 0.0
        return self.start_s - ahead + (float(seconds) if seconds else 0.0)

    def _ahead_s(self, zone: str) -> float:
        """Seconds that a zone is ahead of Greenwich, whose time is meant where none is named."""
        if zone not in self.zones:
            self.zones[zone] = datetime.fromisoformat("2000-01-01 00:00:00" + zone).utcoffset().total_seconds()  # type: ignore[union-attr]
        return self.zones[zone]


class Format(Struct, frozen=True):
    """Names of a format's columns, and how its time is read into seconds."""

    name: str
    time: str
    input: str
    output: str
    seconds: Times
    prefix: str = ""


def mooncake() -> Format:
    """Keys of a line of JSON."""
    return Format("mooncake", "timestamp", "input_length", "output_length", Times(1e-3), "hash_ids")


def format_of(names: list[str], file: str) -> Format:
    """The format whose columns are all there. Raises UnknownField that says which are missing."""
    for one in _formats():
        if {one.time, one.input, one.output} <= set(names):
            return one
    if own := own_format(names):
        return own
    if {"num_prefill_tokens", "num_decode_tokens"} <= set(names):
        raise UnknownField(f"{FIELD}: {file} holds lengths without times; a trace has a time for each request", FIELD)
    if all(_NUMBER.fullmatch(name) for name in names):
        raise UnknownField(f"{FIELD}: {file} begins with numbers; its first line is to name the columns: "
                           f"{','.join(OWN)}", FIELD)
    columns, _ = _own_columns(names)
    missing = [name for name in OWN if name not in columns]
    raise UnknownField(
        f"{FIELD}: {file} has no column {' and no '.join(missing)}; its columns are {', '.join(names)[:200]}; a trace "
        f"has arrival_s, input_tokens, output_tokens (or timestamp, prompt_tokens, completion_tokens and the like), or "
        f"the columns of Azure, BurstGPT or Mooncake{suggestion(missing[0], names)}", FIELD)


def own_format(names: list[str]) -> Format | None:
    """A trace of one's own, by what its columns are called; None where one is missing."""
    found, each_s = _own_columns(names)
    if len(found) < len(OWN):
        return None
    time, inputs, outputs = found.values()
    return Format("own", time, inputs, outputs, Times(each_s), "prefix_ids")


def _formats() -> tuple[Format, ...]:
    return (
        Format("azure", "TIMESTAMP", "ContextTokens", "GeneratedTokens", Times()),
        Format("apex", "StartTimeOffset_ns", "ContextTokens", "GeneratedTokens", Times(1e-9)),
        Format("burstgpt", "Timestamp", "Request tokens", "Response tokens", Times()),
        Format("engine log", "queued_ts", "input_toks", "output_toks", Times()),
        Format("own", "arrival_s", "input_tokens", "output_tokens", Times(), "prefix_ids"),
    )


def _own_columns(names: list[str]) -> tuple[dict[str, str], float]:
    """What of `OWN` a trace's columns are, in any case; and seconds of one step of its time."""
    plain = {"".join(c for c in name.lower() if c.isalnum()): name for name in reversed(names)}
    each_s, found = 1.0, {}
    for name, others in OWN.items():
        known = dict.fromkeys(("".join(c for c in name if c.isalnum()), *others), 1.0)
        if name == "arrival_s":
            known |= {spelling + unit: size for unit, size in UNITS_S.items() for spelling in others}
        hit = next((spelling for spelling in known if spelling in plain), None)
        if hit is not None:
            found[name] = plain[hit]
            each_s = known[hit] if name == "arrival_s" else each_s
    return found, each_s
