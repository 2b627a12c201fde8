"""The command line: grammar, errors, exit codes, files; behind it a planner that answers at once."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from outlay.cli.app import GUIDE, NOT_BUILT, VERBS
from outlay.cli.shell import run
from outlay.errors import BadValue, UnknownName

SAMPLE = Path(__file__).parent / "fixtures" / "result_sample.json"
BASE = ["train", "llama-3.1-8b", "-g", "64xh100", "-n", "1T"]


# ---- from flags to the scenario


def test_every_flag_is_a_field(planner: Any) -> None:
    given = {
        "-s": ("FR", "site"), "--seq": ("4096", "pretrain.sequence_length"),
        "-p": ("fp8", "pretrain.precision"),
        "--global-batch": ("512", "pretrain.global_batch"), "--optimizer": ("muon", "pretrain.optimizer"),
        "--framework": ("fsdp", "pretrain.framework"), "--device-hours": ("5k", "pretrain.device_hours"),
        "--tp": ("2", "pretrain.layout.tensor"), "--pp": ("4", "pretrain.layout.pipeline"),
        "--dp": ("8", "pretrain.layout.data"), "--ep": ("1", "pretrain.layout.expert"),
        "--cp": ("1", "pretrain.layout.context"), "--vpp": ("2", "pretrain.layout.virtual_pipeline"),
        "--zero": ("1", "pretrain.layout.zero"), "--micro-batch": ("2", "pretrain.layout.micro_batch"),
        "--recompute": ("full", "pretrain.layout.recompute"), "--for": ("money", "goal.minimize"),
        "--deadline": ("30d", "goal.deadline"), "--budget": ("2M", "goal.budget"),
        "--top-k": ("3", "goal.top"),
        "--seed": ("7", "seed"),
    }  # fmt: skip
    arguments = [*BASE]
    for flag, (text, _) in given.items():
        arguments += [flag, text]
    assert run(arguments) == 0
    asked = planner.asked[0]
    assert (asked["model"], asked["fleet"], asked["pretrain"]["tokens"]) == ("llama-3.1-8b", "64xh100", "1T")
    for flag, (text, path) in given.items():
        value: Any = asked
        for key in path.split("."):
            value = value[key]
        assert str(value) == text, flag


def test_flags_as_other_tools_spell_them(planner: Any) -> None:
    assert run(["train", "llama-3.1-8b", "--gpu", "64xh100", "-n", "1T", "--quantization=fp8", "--json"]) == 0
    document = planner.asked[0]
    assert (document["fleet"], document["pretrain"]["precision"]) == ("64xh100", "fp8")


def test_ours_are_not_taken_for_theirs_where_a_command_lacks_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "llama-3.1-8b", "--osl", "5"]) == 2
    assert "'--osl'" in capsys.readouterr().err


def test_flag_wins_over_file_and_set_wins_over_flag(planner: Any, tmp_path: Path) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("model: llama-3.1-8b\nfleet: 8xh200\nsite: FR\npretrain: {tokens: 1T, precision: bf16}\n")
    assert (
        run(
            [
                "train",
                "-f",
                str(file),
                "-p",
                "fp8",
                "-n",
                "2T",
                "--set",
                "tokens=3T",
                "--set",
                "layout.shard=4",
            ]
        )
        == 0
    )
    assert planner.asked[0]["pretrain"] == {"tokens": "3T", "precision": "fp8", "layout": {"shard": 4}}
    assert planner.asked[0]["fleet"] in ("8xh200", {"device": "h200", "devices": 8})


def test_scenario_file_as_subject_and_result_as_scenario(planner: Any, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('model = "llama-3.1-8b"\nfleet = "8xh200"\n[pretrain]\ntokens = "1T"\n')
    assert run(["train", str(tmp_path / "s.toml")]) == 0
    (tmp_path / "r.json").write_text(
        json.dumps({"outlay": "0.1.0", "scenario": planner.asked[0], "totals": {}})
    )
    assert run(["train", str(tmp_path / "r.json")]) == 0
    assert planner.asked[0] == planner.asked[1]


def test_catalog_and_prices_reach_the_planner(planner: Any) -> None:
    assert run([*BASE, "--catalog", "mine", "--prices", "p.csv"]) == 0
    assert planner.options == [{"extra": ("mine", "p.csv")}]


def test_save_can_be_read_back(planner: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("s.yaml", "s.json"):
        path = str(tmp_path / name)
        assert run([*BASE, "--tp", "2", "--save", path]) == 0
        assert run(["train", "-f", path]) == 0
        first, again = planner.asked[-2:]
        assert again["model"] == first["model"] and again["pretrain"]["layout"] == {"tensor": 2}
    assert run([*BASE, "--save", str(tmp_path / "s.toml")]) == 2


def test_vary_marks_the_best(planner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*BASE, "--vary", "precision=bf16,fp8", "--vary", "tp=1,2"]) == 0
    assert [(a["pretrain"]["precision"], a["pretrain"]["layout"]["tensor"]) for a in planner.asked] == [
        ("bf16", 1), ("bf16", 2), ("fp8", 1), ("fp8", 2)]  # fmt: skip
    out = capsys.readouterr().out
    assert out.startswith("Least time: precision = bf16, tp = 1")
    assert sum(line.startswith("*") for line in out.splitlines()) == 1
    assert run([*BASE, "--vary", "precision=bf16,fp8", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(r["varied"], r["best"]) for r in rows] == [
        ({"precision": "bf16"}, True),
        ({"precision": "fp8"}, False),
    ]


# ---- output


def test_screen_keeps_its_order_and_width(planner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(BASE) == 0
    out, err = capsys.readouterr()
    marks = [
        "Fits: ",
        "Limit: ",
        "Memory of",
        "Time of one step",
        "Time\n",
        "Money, energy",
        "Assumed",
        "Next: ",
    ]
    places = [out.index(m) for m in marks]
    assert places == sorted(places)
    assert max(map(len, out.splitlines())) <= 100
    assert err == ""
    assert "\x1b" not in out


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_screen_fits_the_terminal(planner: Any, capsys: pytest.CaptureFixture[str],
                                  monkeypatch: pytest.MonkeyPatch, columns: int) -> None:  # fmt: skip
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(BASE) == 0
    lines = [
        x for x in capsys.readouterr().out.splitlines() if "outlay " not in x
    ]  # commands stay whole, to paste
    assert max(map(len, lines)) <= min(columns, 100) + (20 if columns == 40 else 0)


def test_printed_columns_add_up(planner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(BASE) == 0
    block = capsys.readouterr().out.split("Memory of the fullest device")[1].split("\n\n")[0]
    *parts, total = [float(x) for x in re.findall(r"  (\d+\.\d)(?: |$)", block, re.M)]
    assert len(parts) == 8 and round(sum(parts), 1) == total


def test_json_csv_markdown(planner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*BASE, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(SAMPLE.read_text())
    assert run([*BASE, "--csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(planner.answer["lines"])
    assert run([*BASE, "--md"]) == 0
    assert "| **total** |" in capsys.readouterr().out
    assert run([*BASE, "-q"]) == 0
    assert len(capsys.readouterr().out.splitlines()) <= 2
    assert run([*BASE, "--json", "--csv"]) == 2


def test_json_never_holds_nan(planner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    planner.answer["totals"]["usd"] = float("nan")
    assert run([*BASE, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["totals"]["usd"] is None


def test_output_file_by_ending(planner: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for ending, start in ((".json", "{"), (".csv", "id,"), (".md", "**Fits"), (".txt", "Fits")):
        path = tmp_path / f"plan{ending}"
        assert run([*BASE, "-o", str(path)]) == 0
        assert path.read_text().startswith(start)
    out, err = capsys.readouterr()
    assert out == "" and err.count("wrote ") == 4
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".csv", ".json", ".md", ".txt"]


def test_does_not_fit_is_a_no(planner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    phase = planner.answer["pretrain"]
    phase |= {"fits": False, "fits_probability": 0.01, "binding": "needs 12 GiB more a device"}
    phase["nearest"] = [{"change": "recompute full", "gain": "−14 GiB", "price": "+28 % time"}]
    planner.exit_code = 1
    assert run(BASE) == 1
    out = capsys.readouterr().out
    assert out.startswith("Does not fit: ") and "recompute full: −14 GiB; +28 % time" in out


def test_missed_deadline_is_a_no(planner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    limit = {"constraint": "deadline", "limit": 86400.0, "value": 172800.0, "unit": "s"}
    planner.answer["pretrain"] |= {"within_goal": False, "missed": [limit]}
    planner.exit_code = 1
    assert run(BASE) == 1
    assert "misses the deadline of 24 h by 24.0 h" in capsys.readouterr().out


# ---- errors


def test_errors_name_the_field_and_leave_with_two(planner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    planner.error = UnknownName("unknown device 'h10O'; did you mean h100?", "fleet.device")
    assert run([*BASE, "--json"]) == 2
    out, err = capsys.readouterr()
    assert err == "fleet.device: unknown device 'h10O'; did you mean h100?\n"
    assert json.loads(out)["error"] == planner.error.to_dict()
    planner.error = BadValue("pretrain.tokens: must be above 0", "pretrain.tokens")
    assert run(BASE) == 2
    assert capsys.readouterr() == ("", "pretrain.tokens: must be above 0\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["trian"], "did you mean `outlay train`"),
        (["train", "x", "--tpp", "8"], "--tpp"),
        (["train"], "name a model"),
        (["train", "x", "--set", "tokens"], "--set field=value"),
        (["train", "x", "-f", "absent.yaml"], "no such file"),
        (["train", "absent.yaml"], "absent.yaml"),
        (["train", "x", "-o", "absent/x.json"], "does not exist"),
        (["train", "x", "-o", "."], "folder"),
        (["train", "x", "y"], "unexpected extra argument"),
        (["train", "x", "-n"], "requires an argument"),
        (["check"], "name a scenario file"),
        (["batch", "absent.jsonl"], "absent.jsonl"),
    ],
)
def test_bad_command_lines(
    arguments: list[str],
    said: str,
    planner: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", NOT_BUILT)
def test_verbs_to_come_say_so(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "x", "--json"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["kind"] == "unsupported"
    assert len(err.splitlines()) == 1 and "outlay" in err.split(";")[1]
    assert run(["--help"]) == 0
    assert f"\n  {verb} " not in capsys.readouterr().out


def test_a_defect_is_no_no(planner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    planner.error = ZeroDivisionError("oops")
    assert run(BASE) == 70
    assert "defect in outlay: ZeroDivisionError: oops" in capsys.readouterr().err


def test_failed_write_leaves_the_old_file(planner: Any, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    path = tmp_path / "plan.json"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert run([*BASE, "-o", str(path)]) == 2
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


# ---- the other verbs


def test_explain_lists_and_walks(planner: Any, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["explain", "llama-3.1-8b", "-g", "64xh100", "-n", "1T"]
    assert run(asked) == 0
    assert "pretrain.device_hours" in capsys.readouterr().out
    assert run([*asked, "device_hours"]) == 0
    out = capsys.readouterr().out
    assert "Twice as many." in out and "a paper, table 2" in out and "your scenario" in out
    assert run([*asked, "device_hours", "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    assert tree["inputs"][0]["inputs"][0]["sources"] == ["a paper, table 2"]
    assert run([*asked, "device_hour"]) == 2
    assert "did you mean device_hours" in capsys.readouterr().err


def test_bare_outlay_is_a_guide(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert capsys.readouterr().out == GUIDE
    assert max(map(len, GUIDE.splitlines())) <= 100


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_helps(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert run([verb, "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    assert run(["check", str(tmp_path / "mine.yaml")]) == 2
    assert "mine.yaml: empty" in capsys.readouterr().err


def test_a_flag_is_named_as_it_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "llama-3.1-8b", "--users", "10", "--ttft", "1s", "--among=h100x"]) == 2
    assert capsys.readouterr().err.startswith("--among: no device 'h100x'")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_closed_stream_is_no_defect(closed: str) -> None:
    done = subprocess.run(["sh", "-c", f'"{sys.executable}" -m outlay serve llama-3.1-8b -g h100-sxm {closed}'],
                          capture_output=True, timeout=60)
    assert done.returncode == 0 and b"defect" not in done.stderr
