"""The set-up script on machines that lack something: it names the lack and one cure, and leaves nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("sh", "dirname", "rm", "touch")


def machine(folder: Path, **programs: str) -> dict[str, str]:
    """An environment whose PATH holds only the basic tools and the programs given as shell scripts."""
    path = folder / "bin"
    path.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (path / tool).symlink_to(found)
    for name, body in programs.items():
        (path / name).write_text(f"#!/bin/sh\n{body}\n")
        (path / name).chmod(0o755)
    return {"PATH": str(path)}


def set_up(folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    place = folder / "clone"
    (place / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "setup.sh", place / "tools")
    done = subprocess.run(
        ["sh", "tools/setup.sh", "base"], cwd=place, env=env, capture_output=True, text=True, check=False
    )
    assert not (place / ".venv").exists()
    assert done.stdout == "" and done.stderr.startswith("setup: looking for Python")
    return done


@pytest.mark.skipif(os.name == "nt", reason="POSIX shell")
def test_no_python(tmp_path: Path) -> None:
    done = set_up(tmp_path, machine(tmp_path))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("setup: cure: install Python 3.11 or newer")


def test_old_python(tmp_path: Path) -> None:
    done = set_up(tmp_path, machine(tmp_path, python3="exit 1"))
    assert done.returncode == 1 and "no Python 3.11 or newer found" in done.stderr


def test_python_without_venv(tmp_path: Path) -> None:
    fake = 'case "$2" in *version_info[*) echo 3.11;; *ensurepip*) exit 1;; esac'
    done = set_up(tmp_path, machine(tmp_path, python3=fake))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "setup: cure: sudo apt install python3.11-venv"


def test_venv_that_fails_is_removed(tmp_path: Path) -> None:
    fake = 'case "$*" in *version_info[*) echo 3.11;; *"-m venv"*) exit 1;; esac'
    done = set_up(tmp_path, machine(tmp_path, python3=fake))
    assert done.returncode == 1 and "could not make .venv" in done.stderr
