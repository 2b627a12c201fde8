"""A benchmark beside its plan, as a page: verdict, expected beside seen, what the difference points to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlay.report.blocks import Block, Bullets, Mood, Note, Table, Verdict, few_of
from outlay.report.numbers import number, one, plain

NEAR = 0.15  # of the plan: called as expected though outside a narrow interval
# Of each column the number that counts, or what stands in for it where the file has no mean
FIRST, TOKEN, WHOLE = ("ttft_s", "ttft_p50_s"), ("tpot_s", "tpot_p50_s"), ("e2e_s", "e2e_p50_s")
THROUGHPUT = ("output_tokens_per_s",)
TITLES = {FIRST: "first token", TOKEN: "per token", WHOLE: "whole request", THROUGHPUT: "output tokens"}
MEDIANS = {"ttft_p50_s": "median time to the first token", "tpot_p50_s": "median time per output token",
           "e2e_p50_s": "median whole request"}


def pages(documents: Sequence[Mapping[str, Any]], left: Sequence[str], verbose: bool = False) -> list[Block]:
    """One run as a page of its own; several as a table, and each in full with -v."""
    blocks: list[Block] = []
    if len(documents) == 1 or verbose:
        for document in documents:
            blocks += page(document, verbose)
    else:
        blocks += _together(documents)
    if left:
        blocks.append(Bullets("Not planned", tuple(left)))
    return blocks


def page(document: Mapping[str, Any], verbose: bool = False) -> list[Block]:
    """The blocks of one run."""
    blocks: list[Block] = [verdict(document), _table(document["rows"])]
    if document["hints"]:
        blocks.append(Bullets("What the difference points to", tuple(document["hints"])))
    if document["remarks"]:
        blocks.append(Bullets("About the file", tuple(document["remarks"])))
    assumed = [f"{a['what']} = {plain(a['value'])}: {a['why']}" for a in document["assumed"]]
    if assumed:
        blocks.append(few_of("Assumed, as the file does not say", assumed, verbose))
    unknown = document["unknown_fields"]
    if unknown:
        shown, more = ", ".join(unknown[:6]), " …" * (len(unknown) > 6)
        blocks.append(Note(f"{len(unknown)} field{'s' * (len(unknown) > 1)} of the file not read: {shown}{more}."))
    return blocks


def verdict(document: Mapping[str, Any]) -> Verdict:
    """How far the run is from the plan in the numbers that matter."""
    rows = [row for names in _heads([document]) if (row := _row(document, names)) is not None]
    outside = [row for row in rows if not row["inside"]]
    ran = f"{document['model']} with {document['engine']} on {document['fleet']}"
    ran += f", {_load(document)}" + (f" ({document['run']})" if document["run"] else "")
    if not rows:
        return Verdict(f"Read: {ran}; the file has no number that the plan has", "plain")
    near = all(abs(row["ratio"] - 1.0) <= NEAR for row in outside)
    mood: Mood = "good" if not outside else "doubtful" if near or len(outside) < len(rows) else "bad"
    word = "As expected" if not outside else "Partly as expected" if len(outside) < len(rows) else "Not as expected"
    said = ", ".join(f"{MEDIANS.get(row['name'], row['label'])} {_times(row['ratio'])}" for row in rows)
    return Verdict(f"{word}: {ran}", mood, (f"Seen over expected: {said}",))


def _heads(documents: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """What the runs are told by; a file without times of a token has whole requests in their place."""
    by_token = any(_row(document, TOKEN) is not None for document in documents)
    return [FIRST, TOKEN if by_token else WHOLE, THROUGHPUT]


def _row(document: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any] | None:
    rows = {row["name"]: row for row in document["rows"]}
    return next((rows[name] for name in names if name in rows), None)


def _times(ratio: float) -> str:
    return f"{ratio:.2f}×"


def _load(document: Mapping[str, Any]) -> str:
    """The load in words."""
    work = document["workload"] or {}
    lengths = f"{_count(work.get('input'))} → {_count(work.get('output'))} tokens"
    if document["load"] == "closed":
        return f"{_count(work.get('concurrency'))} at once, {lengths}"
    if document["load"] == "open":
        return f"{number(work.get('rate')) or 0.0:.3g} requests/s, {lengths}"
    return f"all there from the start, {lengths}"


def _count(value: Any) -> str:
    size = number(value)
    return "?" if size is None else f"{size:,.0f}"


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    cells = tuple((row["label"], _value(row, row["expected"]), _value(row, row["seen"]), _times(row["ratio"]),
                   "inside" if row["inside"] else "outside") for row in rows)
    return Table("Expected beside seen", ("", "expected", "seen", "seen/expected", "80 % interval"), cells)


def _value(row: Mapping[str, Any], value: Any) -> str:
    """Times in the unit of the expected one, rates a second."""
    if row["unit"] == "/s":
        plain = {**value, "unit": ""} if isinstance(value, Mapping) else value
        return one(plain) + "/s"
    return one(value, row["unit"])


def _together(documents: Sequence[Mapping[str, Any]]) -> list[Block]:
    """Several runs: a row each."""
    first = documents[0]
    heads = _heads(documents)
    seen = [row for d in documents for names in heads if (row := _row(d, names)) is not None]
    inside, every = sum(row["inside"] for row in seen), len(seen)
    text = f"{inside} of {every} numbers inside the plan's 80 % interval: {first['model']} with {first['engine']} on " \
           f"{first['fleet']}, {len(documents)} runs of {first['file']}"
    mood: Mood = "good" if inside >= 0.7 * every else "doubtful" if inside >= 0.4 * every else "bad"
    cells = [(_load(document), *(_cell(_row(document, names)) for names in heads)) for document in documents]
    head = ("", *(TITLES[names] for names in heads))
    hints = list(dict.fromkeys(hint for d in documents for hint in (*d["hints"], *d["remarks"])))
    table = Table("Seen, and over expected (* outside the interval)", head, tuple(cells))
    blocks: list[Block] = [Verdict(text, mood), table]
    if hints:
        blocks.append(Bullets("What the differences point to", tuple(hints[:6])))
    blocks.append(Note("Each run in full with -v."))
    return blocks


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "–"
    median = " (median)" if row["name"] in MEDIANS else ""
    return f"{_value(row, row['seen'])}{median} {_times(row['ratio'])}{' ' if row['inside'] else '*'}"
