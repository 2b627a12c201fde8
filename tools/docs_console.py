"""Console blocks of README and docs: run what they show, so that the output shown is the program's own.

A block is fenced as `console`; a line `$ outlay …` is a command, the lines up to the next one its output. A
command may end in `| head -N` or `| sed -n A,Bp`, as a reader would cut it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
CUT = re.compile(r"\s*\|\s*(?:head -(?:n ?)?(?P<head>\d+)|sed -n (?P<first>\d+),(?P<last>\d+)p)\s*$")


def output_of(command: str) -> str:
    """What an outlay command prints on standard output, at 100 columns and without colour."""
    cut = CUT.search(command)
    words = shlex.split(CUT.sub("", command))
    if words[0] != "outlay":
        raise ValueError(f"only outlay is run in console blocks: {command}")
    env = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    arguments = [sys.executable, "-m", "outlay", *words[1:]]
    done = subprocess.run(
        arguments,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=env,
        check=False,
        timeout=60,
        cwd=Path(__file__).resolve().parent.parent,
    )
    if done.returncode not in (0, 1):
        raise ValueError(f"{command}: {done.stderr.strip()}")
    lines = done.stdout.splitlines()
    if cut is None:
        return "\n".join(lines)
    first = int(cut.group("first") or 1)
    return "\n".join(lines[first - 1 : int(cut.group("head") or cut.group("last"))])


def commands_of(text: str) -> list[str]:
    """The commands a page shows with their output."""
    return [line[2:] for block in BLOCK.findall(text) for line in block.splitlines() if line.startswith("$ ")]


def refreshed(text: str) -> str:
    """A page with every console block run again."""

    def again(block: re.Match[str]) -> str:
        shown = commands_of(block.group(0))
        body = "\n\n".join(f"$ {c}\n{output_of(c)}".rstrip() for c in shown)
        return f"```console\n{body}\n```"

    return BLOCK.sub(again, text)


def pages(root: Path) -> list[Path]:
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]
