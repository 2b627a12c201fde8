"""Rules of the house: who imports whom, how long files are, what stays out, what starting costs."""

from __future__ import annotations

import ast
import re
import resource
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import outlay

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "outlay"
FILES = sorted(SOURCE.rglob("*.py"))
WRITTEN = sorted(
    p
    for folder in ("src", "tests", "tools", "docs", "benchmarks")
    for p in (ROOT / folder).rglob("*")
    if p.suffix in (".py", ".md", ".sh", ".toml", ".yaml") and "__pycache__" not in p.parts
) + sorted(p for p in ROOT.glob("*") if p.suffix in (".md", ".toml") or p.name == "Makefile")

# Low to high. A room imports rooms of its own line or of lines above it here, never below.
ROOMS = (
    ("_version", "units", "errors"),
    ("physics", "valuation"),
    ("architecture", "scenario_kinds", "scenario_life", "scenario_pay", "scenario_serve", "scenario", "scenario_io",
     "derive", "usage", "result", "model_size"),
    ("catalog", "readers"),
    ("resolve", "account_rates"),
    ("account",),
    ("steps",),
    ("simulate",),
    ("planner",),
    ("api", "subject", "workers"),
    ("ledger", "advise", "validate"),
    ("charts", "report"),
    ("web", "cli"),
)
RANK = {room: rank for rank, line in enumerate(ROOMS) for room in line}
# Files at another height than their folder: the records steps are given, the front door's engine.
PLACED = {
    "steps.inputs": "architecture",
    "steps.power_inputs": "architecture",
    "steps.serve.inputs": "architecture",
    "steps.serve.time_inputs": "architecture",
    "steps.tune.trained": "architecture",
    "steps.efficiency": "architecture",
    "planner.run": "api",
    "planner.fit": "api",
    "planner.capacity.search": "api",
}
NEVER = {
    ("steps", "catalog"),
    ("steps", "resolve"),
    ("physics", "valuation"),
    ("valuation", "physics"),
    ("account", "readers"),
}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """Modules of ours that a file names anywhere, functions included, without the leading "outlay."."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {node.module} if node.module != "outlay" else {f"outlay.{a.name}" for a in node.names}
    return {n.removeprefix("outlay.") for n in names if n.startswith("outlay.")}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_nobody_imports_upwards(path: Path) -> None:
    module = module_of(path)
    if module in ("__init__", "__main__", "cli.__init__"):
        return
    room = PLACED.get(module, module.partition(".")[0])
    assert room in RANK, f"{module}: say in tests/test_house.py where this room stands"
    for other in imported(path):
        there = PLACED.get(other, other.partition(".")[0])
        assert there in RANK, f"{module} imports {other}, which has no place in tests/test_house.py"
        assert RANK[there] <= RANK[room], f"{module} imports {other}: upwards"
        assert (room, there) not in NEVER, f"{module} imports {other}: not allowed to look things up"


def test_no_circles_of_imports() -> None:
    """No two files need each other, whether at the top or inside a function."""
    modules = {module_of(path): path for path in FILES}
    needs: dict[str, set[str]] = {}
    for module, path in modules.items():
        needs[module] = {name for name in files_imported(path) if name in modules and name != module}
    while ends := {m for m, others in needs.items() if not others} | set(needs) - set().union(*needs.values()):
        needs = {m: others - ends for m, others in needs.items() if m not in ends}
    assert not needs


def files_imported(path: Path) -> set[str]:
    """Modules that a file names, one level deeper than `imported`: also what it takes from a room by name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("outlay"):
            room = node.module.removeprefix("outlay").removeprefix(".")
            inner = {f"{room}.{a.name}".removeprefix(".") for a in node.names}
            names |= {name if (SOURCE / (name.replace(".", "/") + ".py")).exists() else room for name in inner}
    return names


@pytest.mark.parametrize(
    "path", [p for p in WRITTEN if p.suffix == ".py"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_files_stay_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400, "split it by topic"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_functions_fit_a_screen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1 - _docstring_lines(node)
            assert lines <= 60, f"{node.name} has {lines} lines"


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        return (first.end_lineno or first.lineno) - first.lineno + 1
    return 0


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_records_are_structs(path: Path) -> None:
    """A dataclass costs 50 times as much to import (docs/adr/0009)."""
    assert "dataclasses" not in path.read_text(), "msgspec.Struct, msgspec.structs.replace"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_only_the_edge_writes_to_the_terminal(path: Path) -> None:
    tree = ast.parse(path.read_text())
    calls = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    assert "print" not in calls
    if module_of(path).partition(".")[0] not in ("cli", "report", "__main__"):
        assert not re.search(r"\bsys\.(stdout|stderr)\b", path.read_text())


# Places of one machine, and unfinished business. Put together here so that this file does not match itself.
_PIECES = (
    ("/wo", "rk/"),
    ("/ho", "me/[a-z]"),
    ("/Us", "ers/[A-Za-z]"),
    ("TO", "DO"),
    ("FIX", "ME"),
    ("XX", "X"),
)
UNWANTED = re.compile("|".join(a + b for a, b in _PIECES))


@pytest.mark.parametrize("path", WRITTEN, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_of_one_machine_and_nothing_unfinished(path: Path) -> None:
    found = UNWANTED.search(path.read_text(encoding="utf-8"))
    assert found is None, f"{path.name}: {found and found.group(0)}"


def test_public_names() -> None:
    assert outlay.__all__ == ["OutlayError", "Quantity", "Result", "Scenario", "__version__", "plan"]
    for name in outlay.__all__:
        assert getattr(outlay, name) is not None


def test_library_has_no_import_side_effects() -> None:
    """Importing the package loads nothing heavy."""
    code = (
        "import sys, outlay; print(*sorted({'numpy', 'rich', 'msgspec', 'yaml', 'click'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "\n"
    )


def cpu_ms(*arguments: str, runs: int = 7) -> float:
    """Least CPU time of a few runs: what the program costs, not what the machine was busy with."""
    least = float("inf")
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        least = min(least, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return 1000 * least


@cache
def machine_factor() -> float:
    """How much slower this machine starts Python than the one the budgets were set on (10 ms); at least 1."""
    return max(1.0, cpu_ms(sys.executable, "-I", "-S", "-c", "pass") / 10.0)


def test_import_budget() -> None:
    bare = cpu_ms(sys.executable, "-c", "pass")
    assert cpu_ms(sys.executable, "-c", "import outlay") - bare < 60 * machine_factor()


def test_version_budget() -> None:
    assert cpu_ms(sys.executable, "-m", "outlay", "--version") < 150 * machine_factor()


def test_guide_budget() -> None:
    """Bare `outlay` and help stay quick too: no planner behind them."""
    assert cpu_ms(sys.executable, "-m", "outlay", "train", "--help") < 250 * machine_factor()
