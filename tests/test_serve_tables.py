"""`outlay serve --requests-file --steps-file`: the tables of the replay that the printed times come from."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from outlay import plan
from outlay.cli.batch import command as batch
from outlay.cli.serve import command
from outlay.errors import OutlayError
from outlay.simulate import tables

TRACE = Path(__file__).parent / "fixtures" / "requests.csv"
MODEL = ("llama-3.1-8b", "-g", "2xh100-sxm", "--tp", "1", "--max-model-len", "8k")
POOLS = {"prefill": {"tensor": 1, "replicas": 2}, "decode": {"tensor": 1, "replicas": 1}}
LOADS: dict[str, dict[str, Any]] = {
    "trace": {"workload": {"trace": str(TRACE)}},
    "rate": {"workload": {"rate": 12, "input": {"mean": 700, "cv": 0.6}, "output": 120}},
    "loop": {"workload": {"concurrency": 24, "input": 700, "output": {"min": 20, "max": 200}}},
    "batch": {"workload": {"batch": 12, "input": 700, "output": 50}},
    "queue": {"workload": {"rate": "inf", "requests": 300, "input": 700, "output": 50}},
    "pools": {"workload": {"rate": 12, "input": 700, "output": 120}, "disaggregated": POOLS},
    "pools-trace": {"workload": {"trace": str(TRACE)}, "disaggregated": POOLS},
}


def serve(*words: str) -> Result:
    return CliRunner().invoke(command, list(words), standalone_mode=False)


def planned(load: dict[str, Any], **more: Any) -> Any:
    fleet = "3xh100-sxm" if "disaggregated" in load else "2xh100-sxm"
    tensor = {} if "disaggregated" in load else {"tensor": 1}
    section = {**tensor, "max_model_len": 8192, "replay": True, **load, **more}
    return plan({"model": "llama-3.1-8b", "fleet": fleet, "serve": section}, tables=True)


@pytest.mark.parametrize("name", LOADS)
def test_the_table_is_what_is_printed(name: str) -> None:
    """Means to the last digit, percentiles within the half percent that distributions are kept in."""
    result = planned(LOADS[name], slo={"ttft": "300ms", "percentile": 95})
    serve, table = result.to_dict()["serve"], result.replay.table("requests")
    assert sorted(table["request"]) == list(range(len(table["request"])))  # every request, once
    for time in ("ttft", "tpot", "e2e"):
        seen = table[f"{time}_s"]
        assert serve[f"{time}_s"]["value"] == pytest.approx(np.nanmean(seen), rel=1e-9)
        for percent in (50, 90, 95, 99):
            told = serve.get(f"{time}_p{percent}_s")
            assert told["value"] == pytest.approx(np.nanpercentile(seen, percent, method="inverted_cdf"), rel=0.006)
    assert serve["replay"]["requests"] == len(table["request"])
    assert serve["replay"]["goodput_share"] == pytest.approx(table["good"].mean())
    assert (table["good"] == (table["ttft_s"] <= 0.3)).all()
    steps = result.replay.table("steps")
    assert int(steps["prompt_tokens"].sum()) == int(table["input_tokens"].sum() - table["cached_tokens"].sum())


def test_tables_are_not_in_the_way() -> None:
    """Only who asks for tables gets them, and the printed result is the same."""
    document = {"model": "llama-3.1-8b", "fleet": "2xh100-sxm",
                "serve": {"tensor": 1, "workload": {"trace": str(TRACE)}}}
    assert plan(document).replay is None
    assert plan(document).to_dict() == plan(document, tables=True).to_dict()


def test_csv_and_parquet_hold_the_same(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    for table in ("requests", "steps"):
        files = [tmp_path / f"{table}.{form}" for form in tables.FORMS]
        for file in files:
            assert serve(*MODEL, "--trace", str(TRACE), f"--{table}-file", str(file), "-q").return_value == 0
        rows = list(csv.DictReader(files[0].read_text().splitlines()))
        columns = parquet.read_table(files[1]).to_pydict()
        assert list(rows[0]) == list(columns)
        for name, values in columns.items():
            assert [float(row[name]) if row[name] else None for row in rows] == values, name


def test_a_batch_leaves_the_tables_of_its_lines(tmp_path: Path) -> None:
    """Named by the line's number among the results; a line without a replay of its own, or with a mistake, has none."""
    base = {"model": "llama-3.1-8b", "fleet": "h100-sxm"}
    rate, trace = {"workload": {"rate": 3, "input": 400, "output": 40}}, {"workload": {"trace": str(TRACE)}}
    lines = [base | {"serve": rate}, base | {"serve": trace}, {"modle": 1}, base | {"serve": rate | {"replay": True}}]
    asked, folder = tmp_path / "asked.jsonl", tmp_path / "tables"
    asked.write_text("\n\n".join(json.dumps(line) for line in lines))
    answer = CliRunner().invoke(batch, [str(asked), "--tables", str(folder)], standalone_mode=False)
    assert sorted(path.name for path in folder.iterdir()) == [
        "2.requests.csv", "2.steps.csv", "4.requests.csv", "4.steps.csv"]
    found = [json.loads(line) for line in answer.stdout.splitlines()]
    assert "error" in found[2] and "replay" not in found[0]
    seen = [float(row["ttft_s"]) for row in csv.DictReader((folder / "4.requests.csv").read_text().splitlines())]
    assert found[3]["serve"]["ttft_s"]["value"] == pytest.approx(np.mean(seen))
    again = CliRunner().invoke(batch, [str(asked)], standalone_mode=False)
    assert again.stdout == answer.stdout


@pytest.mark.parametrize(("words", "field"), [
    (("--tables", "DIR/file"), "--tables"), (("--tables", "DIR", "--tables-as", "json"), "--tables-as"),
    (("--tables", "DIR", "--cluster", "ray://host:1"), "--tables")])
def test_a_batch_that_cannot_write_tables_says_so(tmp_path: Path, words: tuple[str, ...], field: str) -> None:
    (tmp_path / "file").write_text("{}")
    told = [word.replace("DIR", str(tmp_path)) for word in words]
    answer = CliRunner().invoke(batch, [str(tmp_path / "file"), *told], standalone_mode=False)
    assert isinstance(answer.exception, OutlayError) and answer.exception.field == field


def test_refused_requests_have_no_times(tmp_path: Path) -> None:
    trace, file = tmp_path / "trace.csv", tmp_path / "requests.csv"
    trace.write_text("arrival_s,input_tokens,output_tokens\n0,100,10\n1,9000,10\n2,100,10\n")
    serve(*MODEL, "--trace", str(trace), "--requests-file", str(file))
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [row["dropped"] for row in rows] == ["0", "1", "0"]
    assert rows[1]["ttft_s"] == rows[1]["e2e_s"] == "" and float(rows[2]["ttft_s"]) > 0


def test_the_scenario_of_a_table_plans_to_the_same(tmp_path: Path) -> None:
    file, saved = tmp_path / "requests.csv", tmp_path / "saved.yaml"
    words = ("--rate", "5", "--in", "500", "--out", "50")
    first = serve(*MODEL, *words, "--requests-file", str(file), "--save", str(saved), "--json")
    document = json.loads(first.stdout)
    assert document["scenario"]["serve"]["replay"] is True
    told = {entry["what"]: entry for entry in document["assumptions"]}
    assert told["serve.replay"]["value"] == "1,000 requests, seed 0"
    assert json.loads(serve("-f", str(saved), "--json").stdout)["serve"]["ttft_s"] == document["serve"]["ttft_s"]
    again = serve(*MODEL, *words, "--requests-file", str(file), "--seed", "3", "--json")
    assert json.loads(again.stdout)["serve"]["ttft_s"] != document["serve"]["ttft_s"]


@pytest.mark.parametrize(("words", "field", "said"), [
    (("--requests-file", "DIR/a.txt"), "--requests-file", ".csv or .parquet"),
    (("--steps-file", "DIR/none/a.csv"), "--steps-file", "does not exist"),
    (("--steps-file", "DIR"), "--steps-file", ".csv or .parquet"),
    (("--requests-file", "DIR/a.csv", "--steps-file", "DIR/a.csv"), "--steps-file", "another file"),
    (("--requests-file", "DIR/a.csv", "-o", "DIR/a.csv"), "--requests-file", "another file"),
    (("--requests-file", "DIR/a.csv", "--vary", "tensor=1,2"), "--vary", "one replay"),
    (("--requests-file", "DIR/full.csv"), "--requests-file", "No space left"),
])
def test_what_cannot_be_written_is_said(tmp_path: Path, words: tuple[str, ...], field: str, said: str) -> None:
    (tmp_path / "full.csv").symlink_to("/dev/full")
    answer = serve(*MODEL, "--trace", str(TRACE), *(word.replace("DIR", str(tmp_path)) for word in words))
    assert isinstance(answer.exception, OutlayError)
    assert answer.exception.field == field and said in str(answer.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["full.csv"]  # nothing half written


def test_parquet_without_pyarrow_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    answer = serve(*MODEL, "--trace", str(TRACE), "--requests-file", str(tmp_path / "a.parquet"))
    assert isinstance(answer.exception, OutlayError) and "outlay[parquet]" in str(answer.exception)


@pytest.mark.parametrize(("changes", "field"), [
    ({"replay": True}, "serve.replay"),
    ({"replay": True, "workload": {"rate": "inf"}}, "serve.replay"),
    ({"replay": False, "workload": {"trace": str(TRACE)}}, "serve.replay"),
    ({"replay": False, "router": "prefix", "workload": {"rate": 3}}, "serve.replay"),
    ({"router": "prefix"}, "serve.router"),
    ({"router": "fastest", "workload": {"rate": 3}}, "serve.router"),
])
def test_what_cannot_be_replayed_is_refused(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(OutlayError) as caught:
        plan({"model": "llama-3.1-8b", "fleet": "h100-sxm", "serve": changes})
    assert caught.value.field == field


def test_a_queue_without_end_gets_a_table_and_no_times() -> None:
    result = planned({"workload": {"rate": 500, "input": 700, "output": 120}})
    assert result.phases["serve"]["ttft_s"] is None and result.exit_code == 1
    assert len(result.replay.requests["request"]) == 1000
    assert any("say nothing of the next" in text for text in result.warnings)


def test_what_does_not_fit_has_no_table(tmp_path: Path) -> None:
    file = tmp_path / "requests.csv"
    answer = serve("qwen3-32b", "-g", "rtx-4090", "--rate", "3", "--requests-file", str(file))
    assert answer.return_value == 1 and not file.exists()
    assert "answers no request" in answer.stderr


def test_cached_prompts_are_cached_in_a_replay() -> None:
    """A share of prompts said to be cached holds where no prefixes are known, and is refused where they are."""
    without, cached = (planned(LOADS["trace"], prefix_cache_hit=share).to_dict()["serve"] for share in (0.0, 0.8))
    assert cached["replay"]["cached_share"] == pytest.approx(0.8, abs=0.02)
    assert cached["ttft_s"]["value"] < 0.9 * without["ttft_s"]["value"]


@pytest.mark.parametrize("output, told", [(200, True), ({"mean": 200, "cv": 0.3}, False)])
def test_a_loop_of_one_length_says_that_it_moves_in_groups(output: Any, told: bool) -> None:
    serve = {"replay": True, "workload": {"concurrency": 8, "input": 500, "output": output, "requests": 64}}
    found = plan({"model": "llama-3.1-8b", "fleet": "1xh100-sxm", "serve": serve})
    assert any("end together" in warning for warning in found.warnings) is told
