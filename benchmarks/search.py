"""How fast the layout search is, from a cold start and sustained, beside Calculon's own search in the same run.

    python benchmarks/search.py [--calculon DIR] [--calculon-python PYTHON] [--seconds 10] [--write]

Every measurement is a process of its own. DIR is a checkout of calculon-ai/calculon; without it that line says
"not measured". --write puts the table into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CASES: dict[str, dict[str, Any]] = {
    "Llama-3.1-405B on 16,384 H100": {
        "model": "llama-3.1-405b", "fleet": "16384xh100-sxm5-80gb",
        "pretrain": {"sequence_length": 8192, "global_batch": 2048}},
    "DeepSeek-V3 on 2,048 H800": {
        "model": "deepseek-v3", "fleet": "2048xh800-sxm5-80gb",
        "pretrain": {"sequence_length": 4096, "global_batch": 15360}},
}
GPT3 = {"model": {"layers": 96, "hidden": 12288, "heads": 96, "kv_heads": 96, "head_dim": 128, "ffn": 49152,
                  "gated": False, "vocab": 51200, "tied_embeddings": True, "positions": "learned",
                  "max_positions": 2048},
        "fleet": "512xa100-sxm4-80gb", "pretrain": {"sequence_length": 2048, "global_batch": 512}}


def measured(script: str, argument: Any, python: str = sys.executable, cwd: Path | None = None,
             limit_s: float = 600) -> dict[str, Any]:
    """Run one child; its JSON answer with wall seconds, CPU seconds and peak resident bytes from the outside."""
    started = time.perf_counter()
    child = subprocess.Popen([python, str(HERE / script), json.dumps(argument)], stdout=subprocess.PIPE, cwd=cwd,
                             env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert child.stdout is not None
    answer = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall_s = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{script} failed on {argument}")
    found: dict[str, Any] = json.loads(answer.splitlines()[-1])
    scale = 1 if sys.platform == "darwin" else 1024
    return found | {"wall_s": wall_s, "cpu_s": usage.ru_utime + usage.ru_stime, "rss_bytes": usage.ru_maxrss * scale}


def cold_rows() -> list[tuple[str, ...]]:
    rows = []
    for name, scenario in CASES.items():
        for mode, words in (("search", "search, memory first"), ("every", "memory and time of every one")):
            runs = [measured("search_child.py", {"scenario": scenario, "mode": mode}) for _ in range(3)]
            best = min(runs, key=lambda run: run["wall_s"])
            rows.append((name, words, f"{best['legal']:,}", f"{best['wall_s']:.2f} s", f"{best['cpu_s']:.2f} s",
                         f"{best['rss_bytes'] / 1e6:.0f} MB"))
    return rows


def rates(calculon: Path | None, python: str, seconds: float) -> list[tuple[str, ...]]:
    """Layouts a second; the ratio is of CPU time, which other work on the machine disturbs least."""
    rows: list[tuple[str, ...]] = []
    for name, scenario in (*CASES.items(), ("GPT-3 175B on 512 A100", GPT3)):
        run = measured("search_child.py", {"scenario": scenario, "mode": "sustained", "seconds": seconds})
        rows.append((f"outlay, {name}", f"{run['per_cpu_s']:,.0f}", f"{run['per_s']:,.0f}", ""))
    ours = run["per_cpu_s"]
    if calculon is None:
        rows.append(("Calculon, GPT-3 175B on 512 A100", "not measured", "no checkout given", ""))
        return rows
    theirs = measured("calculon_child.py", {"checkout": str(calculon), "seconds": seconds}, python, calculon)
    for logging, words in (("on", "as it is"), ("off", "its logging switched off")):
        rate = theirs[logging]
        rows.append((f"Calculon, GPT-3 175B on 512 A100, {words}", f"{rate['per_cpu_s']:,.0f}",
                     f"{rate['per_s']:,.0f}", f"{ours / rate['per_cpu_s']:,.0f} ×"))
    return rows


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calculon", type=Path, help="a checkout of calculon-ai/calculon")
    parser.add_argument("--calculon-python", default=sys.executable, help="a Python that has what it imports")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each sustained measurement")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    given = parser.parse_args()

    checkout = given.calculon.resolve() if given.calculon else None
    cold = table(("case", "what is evaluated", "legal layouts", "wall", "CPU", "peak memory"), cold_rows())
    sustained = table(("tool and case", "layouts per CPU second", "per wall second", "outlay over it"),
                      rates(checkout, given.calculon_python, given.seconds))
    check = measured("search_child.py", {"scenario": CASES["DeepSeek-V3 on 2,048 H800"], "mode": "equal"})
    equal = (f"{check['rows']:,} random layouts evaluated one by one as well: largest relative difference "
             f"{check['largest']:.1e}.")
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    machine = (f"{platform.machine()}, {os.cpu_count()} cores, load {load} while measuring, Python "
               f"{platform.python_version()}, {time.strftime('%Y-%m-%d')}")
    report = f"{machine}\n\n### Cold start\n\n{cold}\n\n### Sustained\n\n{sustained}\n\n{equal}\n"
    print(report)
    if given.write:
        page = HERE.parent / "docs" / "benchmarks.md"
        before, mark, _ = page.read_text(encoding="utf-8").partition("## Measured\n")
        page.write_text(f"{before}{mark}\n{report}", encoding="utf-8")


if __name__ == "__main__":
    main()
