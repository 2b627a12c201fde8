"""No test reaches the network; tests of the command line get a planner that answers at once."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, field

from outlay.derive import Quantity, derive, exact, uncertain
from outlay.errors import UnknownName, suggestion

SAMPLE = Path(__file__).parent / "fixtures" / "result_sample.json"


def sample() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(SAMPLE.read_text(encoding="utf-8"))
    return document


def double(hours: Any) -> Any:
    """Twice as many."""
    return 2 * hours


class FakeResult(Struct):
    document: dict[str, Any]
    exit_code: int = 0
    assumptions: tuple[dict[str, Any], ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return self.document

    def names(self) -> list[str]:
        return ["pretrain.device_hours", "totals.usd", "lines.devices.usd"]

    def explain(self, name: str) -> Quantity:
        if name not in (*self.names(), "device_hours"):
            raise UnknownName(
                f"no number called {name!r}{suggestion(name, ['device_hours', 'usd'])}", "number"
            )
        fact = uncertain(10.0, 9.0, 12.0, "h", "hours", "a paper, table 2", key="hours", basis="published")
        given = exact(3.0, "h", "spare", "your scenario", basis="given")
        return derive(double, "device-hours", "h", hours=fact + given)


class FakePlanner(Struct):
    """Remembers what it was asked and answers with the sample, or with what a test set."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    options: list[dict[str, Any]] = field(default_factory=list)
    answer: dict[str, Any] = field(default_factory=sample)
    exit_code: int = 0
    error: Exception | None = None

    def __call__(self, scenario: dict[str, Any], **options: Any) -> FakeResult:
        self.asked.append(scenario)
        self.options.append(options)
        if self.error is not None:
            raise self.error
        return FakeResult(self.answer, self.exit_code)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def refuse(self: socket.socket, address: Any) -> None:
        raise AssertionError(f"a test tried to reach {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield


@pytest.fixture(autouse=True)
def one_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Screens are as wide as the widest, whatever terminal the tests are started from."""
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def planner(monkeypatch: pytest.MonkeyPatch) -> FakePlanner:
    fake = FakePlanner()
    monkeypatch.setattr("outlay.api.plan", fake)
    return fake
