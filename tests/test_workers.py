"""The seam for many plans: order, killed workers, Ray, and answers that do not depend on how many work."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from outlay import OutlayError
from outlay.cli.batch import answer_text
from outlay.workers import RayExecutor, Serial, how_many, run_all

LINES = [json.dumps({"model": "llama-3.1-8b", "seed": seed}) for seed in range(12)]


def square(number: int) -> int:
    return number * number


def dies_once(item: tuple[str, int]) -> int:
    """Kills its own worker the first time it is asked."""
    marker, number = Path(item[0]), item[1]
    if number == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return square(number)


def dies(number: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return number


def fails(number: int) -> int:
    if number == 2:
        raise ValueError("two")
    return number


@pytest.mark.parametrize("where", [None, "local:1", "local:2", "local:3"])
def test_answers_come_in_order_whatever_works(where: str | None) -> None:
    assert list(run_all(square, range(40), where)) == [n * n for n in range(40)]


def test_a_killed_worker_costs_no_answer(tmp_path: Path) -> None:
    items = [(str(tmp_path / "died"), n) for n in range(10)]
    assert list(run_all(dies_once, items, "local:2")) == [n * n for n in range(10)]
    assert (tmp_path / "died").exists()


def test_what_kills_every_worker_ends() -> None:
    with pytest.raises(BrokenProcessPool):
        list(run_all(dies, range(3), "local:2"))


def test_an_exception_comes_in_its_turn() -> None:
    found = run_all(fails, range(5), "local:2")
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(found)
    assert Serial().submit(fails, 2).exception() is not None


@pytest.mark.parametrize("where", ["local:0", "local:x", "cloud", "local:99999"])
def test_a_wrong_place_is_named(where: str) -> None:
    with pytest.raises(OutlayError) as caught:
        how_many(where)
    assert (caught.value.field, "--cluster" in caught.value.message) == ("--cluster", True)


@pytest.mark.filterwarnings("ignore")
def test_a_real_cluster(tmp_path: Path) -> None:
    """Ray in processes of its own: the same answers, and a killed worker's task again."""
    items: list[Any] = [(str(tmp_path / "died"), n) for n in range(8)]
    found = list(run_all(partial(dies_once), items, "auto", num_cpus=2))
    assert found == [n * n for n in range(8)]
    assert (tmp_path / "died").exists()


@pytest.mark.parametrize("address", ["ray://localhost", "ray://nowhere"])
def test_no_cluster_answers(address: str) -> None:
    with pytest.raises(OutlayError) as caught:
        RayExecutor(address)
    assert caught.value.field == "--cluster"


def test_a_cluster_that_the_environment_names_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray itself asks for minutes before it gives up."""
    def nobody(*_: Any, **__: Any) -> None:
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr("socket.create_connection", nobody)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(OutlayError, match="no Ray cluster answers") as caught:
        RayExecutor("auto")
    assert caught.value.field == "--cluster"


def test_batch_lines_do_not_depend_on_the_workers() -> None:
    alone = [answer_text(line) for line in LINES]
    assert list(run_all(answer_text, LINES, "local:2")) == alone
