"""What is asked of a sum of money, with every default in it; and what an answer shows of a plan."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from outlay.advise.afford_fleets import Answer
from outlay.catalog import Catalog

DAY_S = 86400.0


class Ask(Struct, frozen=True):
    """The question: money, and what narrows it."""

    budget_usd: float
    fleet: str | None = None
    site: str | None = None
    deadline_s: float | None = None
    tune_tokens: float | None = None
    continue_tokens: float | None = None
    tokens_per_parameter: float | None = None
    input_tokens: float | None = None
    output_tokens: float | None = None
    model: str | None = None


class Settings(Struct, frozen=True):
    """The question with every default in it."""

    ask: Ask
    deadline_s: float
    tune_tokens: float
    continue_tokens: float
    overtrained: float
    input_tokens: float
    output_tokens: float
    assumed: tuple[dict[str, Any], ...]


def settings(ask: Ask, catalog: Catalog) -> Settings:
    """Defaults from the catalogue where the question says nothing; each is told."""
    assumed: list[dict[str, Any]] = []

    def value(given: float | None, name: str, scale: float = 1.0) -> float:
        if given is not None:
            return given
        fact = catalog.find("default", f"afford.{name}").fact("value")
        assumed.append({"what": name, "value": fact.value, "why": fact.note, "source": fact.source})
        return float(fact.value) * scale

    return Settings(
        ask, value(ask.deadline_s, "longest_days", DAY_S), value(ask.tune_tokens, "tune_tokens"),
        value(ask.continue_tokens, "continue_tokens"),
        value(ask.tokens_per_parameter, "overtrained_tokens_per_parameter"),
        value(ask.input_tokens, "request_input_tokens"), value(ask.output_tokens, "request_output_tokens"),
        tuple(assumed))


def taken(found: Answer) -> dict[str, Any]:
    """What a plan takes, as a rung shows it."""
    sums = found.result.totals
    return {"fleet": found.fleet, "usd": found.usd, "elapsed_s": found.elapsed_s, "energy_j": sums["energy_j"],
            "co2e_kg": sums["co2e_kg"], "device_hours": sums["device_hours"]}
