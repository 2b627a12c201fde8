"""Plans beside each other: what changed, how far each change moves the total, on the same draws."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from outlay import plan
from outlay.advise.changes import changes_of
from outlay.advise.compare import compare
from outlay.cli.shell import run

A: dict[str, Any] = {"model": "llama-3.1-8b", "fleet": "8xh100-sxm5-80gb", "site": "FR",
                     "pretrain": {"device_hours": 1000}}


def differing(**more: Any) -> dict[str, Any]:
    found: dict[str, Any] = compare([("a", A), ("b", {**A, **more})], plan)["differences"][0]
    return found


def test_a_plan_against_itself_differs_in_nothing() -> None:
    found = differing()
    assert found["inputs"] == [] and found["lines"] == []
    assert all(entry["difference"].value == 0 and entry["difference"].low == entry["difference"].high == 0
               for entry in found["measures"].values())


def test_what_is_shared_cancels_in_the_difference() -> None:
    """One per cent more hours: its price is as uncertain as the whole, and so is one per cent of it."""
    found = differing(pretrain={"device_hours": 1010})["measures"]["usd"]
    one = found["before"]
    assert found["difference"].value == pytest.approx(0.01 * one.value, rel=1e-6)
    assert found["difference"].high == pytest.approx(0.01 * one.high, rel=1e-6)
    assert found["less_probability"] == 0.0


def test_another_seed_does_not_tell_them_apart() -> None:
    found = differing(seed=7)["measures"]["usd"]
    assert found["difference"].low == found["difference"].high == 0


def test_signs_of_inputs() -> None:
    b = {**A, "fleet": {"device": "h100-sxm5-80gb", "devices": 16, "commitment": "1y"}, "site": None}
    found = {c["path"]: c["sign"] for c in compare([("a", A), ("b", b)], plan)["differences"][0]["inputs"]}
    assert found["fleet.devices"] == "~" and found["fleet.commitment"] == "~"  # from its default
    assert found["site.location"] == "-"


def test_a_default_written_out_is_no_change() -> None:
    b = {**A, "fleet": {"device": "h100-sxm5-80gb", "devices": 8, "commitment": "on_demand", "tenure": "rent"}}
    assert differing(fleet=b["fleet"])["inputs"] == []


def test_amount_and_price_add_up_to_the_difference_of_a_line() -> None:
    found = differing(pretrain={"device_hours": 1500},
                      fleet={"device": "h100-sxm5-80gb", "devices": 8, "commitment": "1y"})
    rows = {r["item"]: r for r in found["lines"]}
    row = next(r for r in rows.values() if r["why"])
    parts = sum(w["usd_by_amount"] + w["usd_by_price"] for w in row["why"])
    assert parts == pytest.approx(row["usd"]["difference"].value)


def test_what_changes_do_alone_and_together_adds_up() -> None:
    found = differing(pretrain={"device_hours": 1500}, site="SE",
                      fleet={"device": "h100-sxm5-80gb", "devices": 8, "commitment": "1y"})
    for name in ("usd", "energy_j", "co2e_kg"):
        total = found["measures"][name]["difference"].value
        assert sum(row[name] for row in found["why"]) == pytest.approx(total)
    alone = {row["change"]["path"]: row for row in found["why"] if row["change"]}
    assert alone["site.location"]["usd"] == 0 and alone["site.location"]["co2e_kg"] < 0
    assert alone["pretrain.device_hours"]["usd"] > 0 > alone["fleet.commitment"]["usd"]


def test_a_line_of_one_plan_alone_has_its_sign() -> None:
    a = {"model": "llama-3.1-8b", "fleet": "8xh100-sxm5-80gb", "pretrain": {"tokens": 1e10}}
    b = {**a, "pretrain": {"tokens": 1e10, "experiments": 2}}
    found = compare([("a", a), ("b", b), ("c", a)], plan)["differences"]
    assert [r["sign"] for r in found[0]["lines"] if r["item"] == "experiments"] == ["+"]
    assert found[1]["lines"] == []


def test_the_screen_and_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, hours in (("before", 1000), ("after", 1500)):
        (tmp_path / f"{name}.json").write_text(json.dumps({**A, "pretrain": {"device_hours": hours}}))
    ask = ["compare", str(tmp_path / "before.json"), str(tmp_path / "after.json")]
    assert run(ask) == 0
    out = capsys.readouterr().out
    assert out.startswith("after takes $") and "more money than before (+50 %)" in out
    assert "~ pretrain.device_hours: 1,000 → 1,500" in out and "device time +50 %" in out
    assert run([*ask, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"][0]["measures"]["usd"]["ratio"] == pytest.approx(1.5)
    assert run([*ask, "--csv"]) == 0
    assert {row["change"] for row in csv.DictReader(io.StringIO(capsys.readouterr().out))} == {"~"}
    assert run([*ask, "--md", "--currency", "EUR", "--exchange-rate", "0.9", "--exchange-date", "2026-11-01"]) == 0
    assert "EUR" in capsys.readouterr().out


def test_a_flag_goes_to_the_phase_that_the_subject_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tune = tmp_path / "tune.yaml"
    tune.write_text("model: llama-3.1-8b\nfleet: 1xh100-sxm5-80gb\nfinetune: {method: lora, examples: 1000}\n")
    assert run(["compare", str(tune), str(tune), "--seq", "1024", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"][0]["inputs"] == []


def test_too_little_to_compare_and_a_plan_that_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "llama-3.1-8b"]) == 2
    assert run(["compare", "llama-3.1-8b", "no-such-model", "-g", "8xh100-sxm", "-n", "1B"]) == 2
    assert run(["compare", "llama-3.1-8b", "llama-3.1-405b", "-g", "8xh100-sxm", "-n", "1B"]) == 1
    assert "Does not fit" in capsys.readouterr().out


def test_changes_are_seen_in_either_spelling() -> None:
    a, b = {**A, "fleet": "8xh100-sxm5-80gb"}, {**A, "fleet": {"device": "h100-sxm5-80gb", "devices": 8}}
    assert changes_of(a, b, plan(a).scenario, plan(b).scenario) == ([], [])


def test_of_serving_what_users_see_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    load = [part for field in ("rate=5", "input=512", "output=64") for part in ("--set", f"serve.workload.{field}")]
    ask = ["compare", "llama-3.1-8b", "llama-3.2-1b", "-g", "1xh100-sxm", "-s", "FR", *load]
    assert run(ask) == 0
    out = capsys.readouterr().out
    assert out.startswith("llama-3.2-1b takes ") and "less each token" in out.splitlines()[0]
    assert all(name in out for name in ("first token", "tokens/s", "money/M", "energy/token"))
    assert run([*ask, "--json"]) == 0
    measures = json.loads(capsys.readouterr().out)["differences"][0]["measures"]
    assert measures["tpot_s"]["difference"]["value"] < 0.0 and measures["tpot_s"]["less_probability"] == 1.0


def test_a_flag_of_another_verb_says_how_to_give_it_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "llama-3.1-8b", "qwen3-8b", "--rate", "5"]) == 2
    assert "--set serve.workload.rate=R" in capsys.readouterr().err
