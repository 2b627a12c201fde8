"""Numbers as printed: columns add up, intervals surround their values, colour only where asked."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlay.report.numbers import adding_up, column, number, one
from outlay.report.terminal import colourful, render

AMOUNTS = st.lists(st.floats(0, 1e12, allow_nan=False), min_size=1, max_size=12)
UNITS = st.sampled_from(["s", "USD", "J", "kgCO2e", "L", "B", "W", ""])


@given(AMOUNTS, st.integers(0, 3))
def test_rounded_parts_add_up_and_stay_close(parts: list[float], decimals: int) -> None:
    scaled = [p / 1e9 for p in parts]
    rounded = adding_up(scaled, decimals)
    assert sum(rounded) == pytest.approx(sum(scaled), abs=0.51 * 10.0**-decimals)
    assert all(abs(r - p) <= 10.0**-decimals * 1.001 for r, p in zip(rounded, scaled, strict=True))


@given(AMOUNTS, UNITS)
def test_printed_columns_add_up_to_their_printed_total(parts: list[float], unit: str) -> None:
    cells, total, _, decimals = column(list(parts), unit)
    printed = sum(float(c.replace(",", "")) for c in cells if c != "–")
    assert printed == pytest.approx(float(total.replace(",", "")), abs=1e-6 + 1e-9 * abs(printed))
    assert decimals <= 3


@given(st.floats(1e-6, 1e15), st.floats(0, 0.9), st.floats(0, 5), UNITS)
def test_interval_surrounds_the_value(value: float, down: float, up: float, unit: str) -> None:
    text = one({"value": value, "low": value * (1 - down), "high": value * (1 + up), "unit": unit})
    found = [float(x.replace(",", "")) for x in re.findall(r"\d[\d,]*\.?\d*(?:e[-+]\d+)?", text)]
    if "[" in text:
        nominal, low, high = found[0], found[-2], found[-1]
        assert low <= nominal * 1.1 and nominal <= high * 1.1


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), "x", True, {}, {"value": None}])
def test_what_is_no_number_is_unknown(value: Any) -> None:
    assert number(value) is None
    assert one(value) == "unknown"


def test_colour_only_where_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    assert not colourful()  # pytest's stdout is no terminal
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert colourful()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colourful()


def test_colour_changes_nothing_else() -> None:
    from outlay.report.blocks import Bullets, Note, Table, Verdict

    blocks = [
        Verdict("Fits", "good", ("a detail",)),
        Table("Title", ("", "GiB"), (("weights", "1.0"),), ("peak", "1.0"), mark=0),
        Bullets("List", ("[not markup]", ":smile:")),
        Note("quiet"),
    ]
    plain, coloured = render(blocks, 80), render(blocks, 80, colour=True)
    stripped = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert [line.rstrip() for line in stripped.splitlines()] == plain.splitlines()
    assert "[not markup]" in plain and ":smile:" in plain
