"""A log explained, as a page: verdict, expected beside seen, what differs most, what was assumed, what was not read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlay.report.blocks import Block, Bullets, Mood, Note, Table, Verdict, few_of
from outlay.report.numbers import number, plain

GIB = 2.0**30
SAME = 0.02  # of the bytes a token takes in the cache: rounding of what is printed
NEAR, FAR = 0.05, 0.15  # of what was seen: the cache as expected, and not so


def page(document: Mapping[str, Any], verbose: bool = False) -> list[Block]:
    """The blocks of a comparison, as `outlay explain LOG` writes it."""
    rows = document["rows"]
    blocks: list[Block] = [verdict(document), _table(rows)]
    said = _differs(document)
    if said:
        blocks.append(Bullets("Differs most", said))
    assumed = [f"{a['what']} = {plain(a['value'])}: {a['why']}" for a in document["assumed"]]
    if assumed:
        blocks.append(few_of("Assumed, as the log does not say", assumed, verbose))
    strange = document["not_understood"]
    if strange:
        lines = strange if verbose else strange[:3]
        more = "" if len(lines) == document["lines_not_understood"] else f", {len(lines)} shown"
        title = f"Lines about memory that were not understood: {document['lines_not_understood']}{more}"
        blocks.append(Bullets(title, tuple(f"{entry['line']}: {entry['text'][:160]}" for entry in lines)))
    blocks += [Note(f"{remark}.") for remark in document["remarks"]]
    blocks.append(Note(f"{document['lines_understood']} of {document['lines']} lines understood."))
    return blocks


def verdict(document: Mapping[str, Any]) -> Verdict:
    """The cache, expected and seen, or why the engine did not start."""
    ran = f"{document['model']} with {document['engine']} {document['version'] or '(version not said)'}".strip()
    ran += f" on {document['fleet']}"
    pool = next((row for row in document["rows"] if row["name"] == "kv_cache"), None)
    details = [f"Did not start: {document['failed']}"] if document["failed"] else []
    if pool is None:
        return Verdict(f"Read: {ran}; the log does not say how large the cache is", "plain", tuple(details))
    off = pool["off"] or 0.0
    near = abs(off) <= NEAR
    mood: Mood = "good" if near else "doubtful" if abs(off) <= FAR else "bad"
    word = "As expected" if near else "Less cache than expected" if off > 0 else "More cache than expected"
    shown = f"{_size(pool, pool['seen'])} seen, {_size(pool, pool['expected'])} expected ({_percent(off)})"
    return Verdict(f"{word}: {ran}", mood, (f"KV cache of a device: {shown}", *details))


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    cells = []
    for row in rows:
        cells.append((row["label"], _size(row, row["expected"]), _size(row, row["seen"]),
                      "given" if row["given"] else _percent(row["off"]), str(row["line"])))
    return Table("Expected beside seen", ("", "expected", "seen", "plan is off by", "line"), tuple(cells))


def _differs(document: Mapping[str, Any]) -> tuple[str, ...]:
    most = next((row for row in document["rows"] if row["name"] == document["differs_most"]), None)
    if most is None:
        return ()
    expected, seen = number(most["expected"]) or 0.0, most["seen"]
    said = f"{most['label']}: {_size(most, expected)} expected, {_size(most, seen)} seen on line {most['line']}"
    part, rest = most["moves_cache_bytes"], document["unexplained_bytes"]
    if part is not None and rest is not None and abs(part) >= 0.005 * GIB:
        said += f"; it makes the cache planned {_more(part)}"
    items = [said]
    if part is not None and rest is not None and abs(rest) > max(abs(part), 0.05 * GIB):
        items.append(f"The cache planned is {_more(rest)} for reasons the log does not print: look at what is assumed")
    a_token = next((row for row in document["rows"] if row["name"] == "a_token"), None)
    if a_token is not None and abs(a_token["off"]) > SAME:
        items.append(
            "A token takes other bytes in the cache than planned: another model, another precision of the cache, "
            "or another split over the devices"
        )
    return tuple(items)


def _more(size_bytes: float) -> str:
    return f"{abs(size_bytes) / GIB:.2f} GiB {'larger' if size_bytes > 0 else 'smaller'}"


def _percent(off: float | None) -> str:
    if off is None:
        return "–"
    return "0.0 %" if abs(off) < 0.0005 else f"{100 * off:+.1f} %"


def _size(row: Mapping[str, Any], value: Any) -> str:
    amount = number(value) or 0.0
    if row["unit"] == "B":
        return f"{amount / GIB:,.2f} GiB"
    if row["name"] in ("memory_utilization", "max_concurrency"):
        return f"{amount:,.2f}"
    return f"{amount:,.0f}" + (" bytes" if row["unit"] == "bytes" else "")
