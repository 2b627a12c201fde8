"""The pages of one part of a life: the data, or keeping a model up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlay.report import books, parts, screen
from outlay.report.blocks import Block, Bullets, Commands, Table, Verdict
from outlay.report.numbers import number, one, share

STAGES = {
    "raw": "web archive",
    "extracted": "extracted",
    "deduplicated": "deduplicated",
    "filtered": "filtered",
    "classified": "classified",
    "text": "text kept",
    "tokenised": "tokenised",
}


def data_page(result: Mapping[str, Any], verbose: bool = False, following: Sequence[str] = ()) -> list[Block]:
    """The blocks of a data plan: how much, from where, what it takes."""
    data = result["data"]
    return _page(result, verbose, following, [data_verdict(result), stages(data), sources(data)])


def maintain_page(result: Mapping[str, Any], verbose: bool = False, following: Sequence[str] = ()) -> list[Block]:
    """The blocks of maintenance alone: how often what, and what it takes."""
    return _page(result, verbose, following, [maintain_verdict(result), cadences(result["maintain"])])


def phase_page(result: Mapping[str, Any], phase: str, verbose: bool = False) -> list[Block]:
    """The blocks of any phase of a life alone."""
    cost = one((result.get("totals") or {}).get("usd"), "USD")
    return _page(result, verbose, (), [Verdict(f"{screen.subject(result)}, {phase} alone: {cost}")])


def _page(result: Mapping[str, Any], verbose: bool, following: Sequence[str], first: list[Block | None]) -> list[Block]:
    from outlay.report.life import unpriced

    blocks = [
        *first,
        unpriced(result),
        parts.takes(result, verbose, money_digits=4),
        *books.blocks(result),
        screen.warnings(result),
        screen.assumptions(result, verbose),
        screen.brackets(),
    ]
    if following:
        blocks.append(Commands(tuple(following)))
    return [b for b in blocks if b is not None]


def data_verdict(result: Mapping[str, Any]) -> Verdict:
    """Tokens, bytes and money in a line."""
    data, totals = result["data"], result.get("totals") or {}
    usd = totals.get("usd")
    cost = one(usd, "USD") if number(usd) is not None else "money unknown"
    text = f"Data: {_count(data['tokens'])} tokens, {one(data['corpus_bytes'], 'bytes', interval=False)} kept, {cost}"
    mood, text = screen.over_budget(result, "plain", text)
    details = [f"Gathered in {one(data['elapsed_s'], 's')}, kept for {one(data['retention_s'], 's')}"]
    if number(data.get("usd_per_million_tokens")):
        details.append(f"A million tokens: {one(data['usd_per_million_tokens'], 'USD')}")
    work = [
        f"{one(data[key], '')} {name}"
        for key, name in (
            ("core_hours", "core-hours"),
            ("device_hours", "device-hours"),
            ("person_hours", "hours of people"),
        )
        if number(data.get(key))
    ]
    details += ["Work: " + ", ".join(w.replace(" h ", " ") for w in work)] if work else []
    return Verdict(text, mood, tuple(details))


def _count(value: Any) -> str:
    return screen._short(number(value) or 0.0)


def stages(data: Mapping[str, Any]) -> Table | None:
    """Tokens and bytes after each stage, and what part of the tokens it kept."""
    found = data["stages"]
    if (number(found["text"].get("tokens")) or 0.0) == 0:
        return None
    rows, before = [], None
    for name, stage in found.items():
        tokens = number(stage.get("tokens"))
        kept = share(tokens, before) if tokens and before and name not in ("text", "tokenised") else ""
        rows.append(
            (
                STAGES[name],
                _count(stage["tokens"]) if tokens else "",
                _range(stage.get("tokens")),
                one(stage["bytes"], "bytes"),
                kept,
            )
        )
        before = tokens or before
    return Table("Stage by stage", ("", "tokens", "", "bytes", "kept"), tuple(rows), text_columns=frozenset({0}))


def _range(value: Any) -> str:
    low, high = ((value or {}).get(k) for k in ("low", "high"))
    return "" if low is None or low == high else f"[{_count(low)}–{_count(high)}]"


def sources(data: Mapping[str, Any]) -> Table | None:
    """Known corpora, what they give and on what terms."""
    rows = [
        (s["name"], _count(s["tokens"]), one(s["bytes"], "bytes", interval=False), s["licence"])
        for s in data["sources"]
    ]
    if rows and number(data["cleaned_tokens"]):
        rows.append(("cleaned from the web", _count(data["cleaned_tokens"]), "", ""))
    return (
        Table("Sources", ("", "tokens", "bytes", "licence"), tuple(rows), text_columns=frozenset({0, 3}))
        if rows
        else None
    )


def maintain_verdict(result: Mapping[str, Any]) -> Verdict:
    """How long, how much, how many people."""
    kept, usd = result["maintain"], (result.get("totals") or {}).get("usd")
    cost = one(usd, "USD") if number(usd) is not None else "money unknown"
    name = (result.get("scenario") or {}).get("name") or screen.subject(result)
    mood, text = screen.over_budget(result, "plain", f"Keeping up {name} for {one(kept['elapsed_s'], 's')}: {cost}")
    details = []
    if number(kept.get("usd_per_year")) is not None:
        details.append(
            f"A year: {one(kept['usd_per_year'], 'USD')}; {one(kept['people'])} people in full time beside what "
            "comes back"
        )
    return Verdict(text, mood, tuple(details))


def cadences(kept: Mapping[str, Any]) -> Bullets | None:
    """What comes back, how often."""
    said = []
    for item, row in kept["cadences"].items():
        by_itself = (number(kept["elapsed_s"]) or 0.0) / (number(row["every_s"]) or 1.0)
        also = " and after every change" if (number(row["times"]) or 0.0) > 1.001 * by_itself else ""
        said.append(f"{item}: every {one(row['every_s'], 's')}{also}, {one(row['times'])} times")
    return Bullets("What comes back", tuple(said)) if said else None
