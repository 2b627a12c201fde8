"""Documentation says what the program does: made pages are fresh, outputs real, links lead somewhere."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from outlay.cli.app import GUIDE, VERBS

ROOT = Path(__file__).parent.parent
UNFAKED = ("explain", "fit", "pay", "data", "life", "afford", "compare", "report", "reconcile")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FRESHEN = "run `make docs`"


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["commands.md", "scenario.md", "formulas.md"])
def test_made_pages_are_fresh(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    build = tool("build_docs")
    text = "\n".join(line.rstrip() for line in build.PAGES[name]().rstrip().splitlines()) + "\n"
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, FRESHEN


def test_schema_is_fresh_and_takes_the_contract() -> None:
    made = tool("scenario_schema")
    assert (ROOT / "docs" / "scenario.schema.json").read_text(encoding="utf-8") == made.text(), FRESHEN
    schema = made.schema()
    assert schema["additionalProperties"] is False and "tokens" in schema["$defs"]["Pretrain"]["properties"]
    lines = (ROOT / "tests" / "contract" / "fields.jsonl").read_text(encoding="utf-8").splitlines()
    for path in (json.loads(line)["field"] for line in lines):
        assert leads_somewhere(schema, path), path


def leads_somewhere(schema: dict[str, Any], path: str) -> bool:
    """Whether a dotted field exists in the schema."""
    here = [schema]
    for key in path.split("."):
        found = []
        for node in here:
            for option in [node, *node.get("anyOf", [])]:
                target = schema["$defs"][option["$ref"].rpartition("/")[2]] if "$ref" in option else option
                if key in target.get("properties", {}):
                    found.append(target["properties"][key])
                elif isinstance(target.get("additionalProperties"), dict):
                    found.append(target["additionalProperties"])
        here = found
    return bool(here)


@pytest.mark.parametrize("page", [p for p in PAGES if "```console" in p.read_text()], ids=lambda p: p.name)
def test_shown_outputs_are_real(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert tool("docs_console").refreshed(text) == text, FRESHEN


def test_each_of_the_five_costs_has_its_command_and_screen() -> None:
    page = (ROOT / "docs" / "five-costs.md").read_text(encoding="utf-8")
    parts = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    titles = [part.splitlines()[0] for part in parts]
    assert titles == ["Compute", "Money", "Energy and environment", "Deployment", "Access"]
    for part in parts:
        shown = tool("docs_console").commands_of(part)
        assert shown and all(command.split()[1] in VERBS for command in shown), part.splitlines()[0]


def test_python_in_the_readme_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} points to {target}"


def test_every_command_is_documented() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for verb in VERBS:
        assert f"### outlay {verb}\n" in text
    assert set(re.findall(r"\boutlay ([a-z]+)", GUIDE)) <= set(VERBS)


def test_every_command_in_the_pages_exists() -> None:
    for page in PAGES:
        for line in re.findall(r"^(?:\$ )?outlay ([a-z]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert line in VERBS, f"{page.name} shows outlay {line}"


@pytest.mark.parametrize(
    "scenario",
    [
        {
            "pretrain": {
                "tokens": "1T",
                "layout": {"tensor": 1, "data": 8, "zero": 3, "micro_batch": 1, "recompute": "full"},
            },
            "goal": {"deadline": "9d"},
        },
        {"pretrain": {"device_hours": 20000}, "site": "FR"},
        {"finetune": {"method": "qlora", "examples": "50k"}},
        {"serve": {"max_model_len": 8192}},
        {"data": {"tokens": "1T"}, "site": "FR"},
        {"maintain": {"migrate": {}}, "site": "FR"},
        {"maintain": {}, "life": {}, "site": "FR"},
    ],
    ids=["pretrain", "device_hours", "finetune", "serve", "data", "maintain", "life"],
)
def test_every_key_of_a_result_is_documented(scenario: dict[str, Any]) -> None:
    import outlay

    page = set(re.findall(r"`([\w-]+)`", (ROOT / "docs" / "result.md").read_text(encoding="utf-8")))
    result = outlay.plan({"model": "llama-3.1-8b", "fleet": "8xh100-sxm", **scenario}).to_dict()
    phase = next(result[p] for p in ("life", "pretrain", "finetune", "serve", "data", "maintain") if p in result)
    nested = ("memory_parts", "time_parts", "elapsed_parts", "layout", "room", "one_stream", "binding")
    keys = {*result, *result["model"], *phase, *result["totals"], *(result["lines"] or [{}])[0]}
    keys |= {key for name in ("months", "by_item", "sensitivity", "choices", "budgets") for row in phase.get(name) or ()
             for key in row}
    keys |= {key for name in nested for key in phase.get(name) or {}}
    assert keys <= page, sorted(keys - page)


def test_commands_of_the_how_to_run(
    tmp_path: Path, planner: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every scenario is read and resolved in earnest; only what `train` and `tune` then plan is faked."""
    import outlay.api
    from outlay.catalog import load
    from outlay.cli.shell import run
    from outlay.planner.run import run_plan
    from outlay.scenario_io import scenario_from

    def resolved(scenario: Any, **options: Any) -> Any:
        if {"serve", "data", "life", "pay"} & set(scenario):
            return run_plan(scenario_from(scenario), load(), tables=bool(options.get("tables")))
        outlay.api.check(scenario, **options)
        return planner(scenario, **options)

    monkeypatch.setattr("outlay.api.plan", resolved)
    fixtures = ROOT / "tests" / "fixtures"
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "examples").symlink_to(ROOT / "docs" / "examples")
    for name, held in (
        ("axolotl.yaml", "trainers/axolotl_qlora.yaml"),
        ("serve.sh", "launch/vllm_variables.sh"),
        ("ds_z3.json", "trainers/ds_z3_offload.json"),
        ("pretrain_175b.sh", "trainers/megatron_175b.sh"),
        ("requests.csv", "requests.csv"),
        *((f"c{n}.json", "bench/vllm_c32.json") for n in (16, 32, 64)),
    ):
        (tmp_path / name).write_bytes((fixtures / held).read_bytes())
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / "how-to.md").read_text("utf-8"), re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines() if line]
    assert len(lines) > 20
    for words in lines:
        assert words[0] == "outlay"
        if words[1] in UNFAKED:  # what they answer is not in the faked result; held by their own tests
            continue
        assert run(words[1:]) in (0, 1), f"{words}\n{capsys.readouterr().err}"
