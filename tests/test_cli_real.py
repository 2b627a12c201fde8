"""The command line over the real planner: what one command writes another reads; all numbers explain."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

import outlay
from outlay.cli.shell import run

ASK = ["llama-3.1-8b", "-g", "8xh100-sxm", "-s", "FR", "-n", "10B"]
LAYOUT = ["--tp", "2", "--dp", "4", "--pp", "1", "--cp", "1", "--zero", "1", "--micro-batch", "1"]


def answer(arguments: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    assert run(arguments) == code, capsys.readouterr().err
    out: str = capsys.readouterr().out
    return out


@pytest.fixture(scope="module")
def result() -> outlay.Result:
    layout = {"tensor": 2, "data": 4, "pipeline": 1, "context": 1, "zero": 1, "micro_batch": 1}
    scenario = {"model": "llama-3.1-8b", "fleet": "8xh100-sxm", "site": "FR"}
    return outlay.plan({**scenario, "pretrain": {"tokens": "10B", "layout": layout}})


def test_what_is_written_can_be_read(
    result: outlay.Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, kept = str(tmp_path / "s.yaml"), str(tmp_path / "r.json")
    whole = json.loads(answer(["train", *ASK, *LAYOUT, "--json", "--save", saved], capsys))
    assert whole == result.to_dict()
    Path(kept).write_text(json.dumps(whole))
    for again in (["train", "-f", saved], ["train", kept]):
        assert json.loads(answer([*again, "--json"], capsys))["totals"] == whole["totals"]
    resolved = str(tmp_path / "resolved.yaml")
    answer(["check", saved, "-o", resolved], capsys)
    assert json.loads(answer(["train", resolved, "--json"], capsys))["totals"] == whole["totals"]


def test_check_finds_what_planning_would(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", *ASK, "--tp", "3"]) == 2
    assert "pretrain.layout.tensor" in capsys.readouterr().err


def test_every_number_can_be_asked(result: outlay.Result) -> None:
    from outlay.report.lineage import listing, text, tree

    names = result.names()
    assert len(names) > 40
    for name in names:
        lines = text(result.explain(name), 3).splitlines()
        assert max(len(line) for line in lines if "/" not in line) <= 100  # addresses stay whole
    json.dumps(tree(result.explain("totals.co2e_kg")))
    assert len(listing([(n, result.explain(n)) for n in names]).splitlines()) == len(names)


def test_explained_time_reaches_facts_and_papers(result: outlay.Result) -> None:
    from outlay.report.lineage import text

    whole = text(result.explain("elapsed_s"), 50)
    assert "peak_bf16_flop_per_s" in whole and "arXiv:" in whole


def test_screen_columns_add_up(result: outlay.Result) -> None:
    from outlay.report import parts

    document = result.to_dict()
    for table in (
        parts.memory(document["pretrain"]),
        parts.step_time(document["pretrain"]),
        parts.takes(document),
    ):
        assert table is not None
        for column in range(1, len(table.total)):
            cells = [row[column] for row in table.rows]
            if not table.total[column] or any("%" in c for c in cells):
                continue
            total = sum(float(c.replace(",", "")) for c in cells if c != "–")
            assert total == pytest.approx(float(table.total[column].replace(",", "")), abs=1e-9), table.title


def test_batch_equals_plan(result: outlay.Result, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = tmp_path / "in.jsonl"
    lines.write_text(json.dumps(result.scenario) + "\n" + '{"model": "nope"}\n')
    first, second = (json.loads(x) for x in answer(["batch", str(lines)], capsys).splitlines())
    assert first["totals"] == result.to_dict()["totals"]
    assert second["error"]["kind"] == "unknown_name" and second["error"]["field"] == "model"


def test_yes_no_and_bad(capsys: pytest.CaptureFixture[str]) -> None:
    settled = [*ASK, *LAYOUT, "-q"]
    assert answer(["train", *settled], capsys).startswith("Fits: ")
    assert "misses the deadline of 60 s" in answer(["train", *settled, "--deadline", "60s"], capsys, 1)
    assert "misses the budget of $1" in answer(["train", *settled, "--budget", "1"], capsys, 1)
    assert answer(["train", "llama-3.1-8b", "-g", "1xrtx-4090", "-q"], capsys, 1).startswith("Does not fit")


BAD: list[tuple[list[str], str]] = [
    (["-g", "8xh1000"], "fleet.device"),
    (["-s", "Atlantis"], "site"),
    (["-n", "-5"], "pretrain.tokens"),
    (["-n", "5GB"], "pretrain.tokens"),
    (["-p", "bf17"], "pretrain.precision"),
    (["--tp", "3"], "pretrain.layout.tensor"),
    (["--dp", "7"], "pretrain.layout"),
    (["--set", "pretrain.tokns=3"], "pretrain.tokns"),
    (["--for", "speed"], "goal.minimize"),
    (["--budget", "cheap"], "goal.budget"),
    (["--deadline", "soon"], "goal.deadline"),
    (["--seed", "x"], "seed"),
]


@pytest.mark.parametrize(("wrong", "field"), BAD, ids=[" ".join(w) for w, _ in BAD])
def test_bad_fields_are_named(wrong: list[str], field: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", *ASK, *wrong]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(field) and "Traceback" not in err


def test_varying_a_place_keeps_the_draws(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(
        answer(["train", *ASK, *LAYOUT, "--vary", "site=FR,IN", "--for", "carbon", "--json"], capsys)
    )
    assert [r["best"] for r in rows] == [True, False]
    times = [r["pretrain"]["elapsed_s"] for r in rows]
    assert times[0] == times[1]


@pytest.mark.parametrize("columns", [80, 100])
def test_demo_has_its_five_parts(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    before = time.process_time()
    out = answer(["demo"], capsys)
    assert time.process_time() - before < 4  # of one core; about 1.5 s on one that does nothing else
    parts = ("Compute\n", "Money\n", "Energy and environment\n", "Deployment: ", "Access: ")
    places = [out.index(f"\n{part}") for part in parts]
    assert places == sorted(places)
    assert max(map(len, out.splitlines())) <= columns
    assert "unknown" not in out and "does not fit" not in out


def test_other_places_in_the_demo_are_what_a_plan_there_says(capsys: pytest.CaptureFixture[str]) -> None:
    from outlay.cli.demo import OTHERS, SCENARIO
    from outlay.scenario_io import set_path

    found = json.loads(answer(["demo", "--json"], capsys))["others"]
    for name, path, value in OTHERS[:2]:
        planned = outlay.plan(set_path(SCENARIO, path, value)).to_dict()["totals"]
        for key in ("usd", "energy_j", "co2e_kg", "water_l"):
            assert found[name]["totals"][key]["value"] == pytest.approx(planned[key]["value"], rel=1e-9), (name, key)


def test_demo_json_holds_the_plans(capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = json.loads(answer(["demo", "--json"], capsys))
    assert found["base"]["pretrain"]["fits"] and len(found["others"]) == 4
    assert len(found["served"]) == 3 and all(0.3 < way["load"]["value"] < 0.8 for way in found["served"])
    prices = [way["usd_per_million_output_tokens"]["value"] for way in found["served"]]
    assert prices == sorted(prices, reverse=True)  # from the largest model to the smallest, on cards for homes
    tuned = {(way["model"], way["method"]): way for way in found["tuned"]}
    assert tuned["llama-3.1-8b", "lora"]["verdict"] == "fits" and len(tuned) == 4
    assert all(way["usd"]["value"] > 0 and way["elapsed_s"]["value"] > 0 for way in tuned.values())
