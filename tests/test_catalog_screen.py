"""`outlay catalog`: what a person and a program see."""

from __future__ import annotations

import json

import pytest

from outlay.cli.shell import run


def out(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert run(["catalog", *arguments]) == code
    return capsys.readouterr().out


def test_bare_shows_counts_date_and_holes(capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys)
    assert "Catalogue of 2026-11-23" in text
    assert "Apple M5 Pro" in text and "device" in text
    whole = json.loads(out(capsys, "--json"))
    assert whole["catalog"] == "2026-11-23" and whole["holes"]
    assert {"device", "model", "site", "price"} <= {row["kind"] for row in whole["kinds"]}


def test_show_prints_value_unit_source_date_and_how(capsys: pytest.CaptureFixture[str]) -> None:
    text = out(capsys, "show", "h100-sxm5-80gb")
    for told in ("450 GB/s", "2026-11-23", "published", "Epoch AI", "USD per device and hour"):
        assert told in text
    assert max(map(len, text.splitlines())) <= 100
    fact = json.loads(out(capsys, "show", "h100-sxm5-80gb", "--json"))["facts"]["link_bytes_per_s"]
    assert fact["value"] == 450e9 and fact["how"] == "vendor" and fact["source"] and fact["unit"] == "byte/s"


def test_a_region_shows_what_it_inherits(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Ember" in out(capsys, "show", "gcp:europe-west3")


@pytest.mark.parametrize("kind", ["device", "models", "sites", "prices", "default", "storage", "framework"])
def test_list_fits_the_screen(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    text = out(capsys, "list", kind)
    assert len(text.splitlines()) > 8
    assert max(map(len, text.splitlines())) <= 100


def test_list_takes_words_and_gives_csv(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(out(capsys, "list", "price", "h100-sxm", "spot", "--json"))
    assert rows and all(r["kind"] == "spot" and r["device"] == "h100-sxm5-80gb" for r in rows)
    assert out(capsys, "list", "device", "h200", "--csv").startswith("id,name,memory_bytes")


def test_search_finds_and_says_when_it_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert "se3" in out(capsys, "search", "sweden")
    assert "nothing holds" in out(capsys, "search", "qqqqq", code=1)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("show", "h100"), "can be any of"),
        (("show", "h2oo"), "nothing called"),
        (("list", "devcie"), "did you mean device"),
        (("h100",), "outlay catalog show h100"),
    ],
)
def test_wrong_input_names_the_cure(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: str
) -> None:
    assert run(["catalog", *arguments]) == 2
    assert told in capsys.readouterr().err
