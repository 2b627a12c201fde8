"""`outlay catalog list token`: what providers ask for tokens, each with the day it was last checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outlay.catalog.prices import STALE_DAYS
from outlay.catalog.token_prices import TokenPrice, shipped
from outlay.report.blocks import Block, Note, Table

MOST_SHOWN = 60


def tokens(words: Sequence[str]) -> list[dict[str, Any]]:
    """Prices whose provider, model or catalogued model hold all words; one row a price."""
    return [_row(p) for p in shipped() if all(w.lower() in f"{p.name} {p.serves} {p.mode}".lower() for w in words)]


def _row(price: TokenPrice) -> dict[str, Any]:
    first = price.rungs[0]
    return {"provider": price.provider, "model": price.model, "serves": price.serves, "mode": price.mode,
            "input_usd_per_mtok": first.input, "cached_usd_per_mtok": first.cached,
            "cache_write_usd_per_mtok": first.cache_write, "output_usd_per_mtok": first.output,
            "usd_per_request": price.usd_per_request, "dearer_above_tokens": [r.above for r in price.rungs[1:]],
            "hours_utc": list(price.hours_utc) if price.hours_utc else None, "valid_from": price.valid_from,
            "checked": price.checked, "deprecated": price.deprecated, "source": price.source}


def token_list(rows: Sequence[dict[str, Any]]) -> list[Block]:
    if not rows:
        return [Note("no token price holds these words; `outlay catalog list token` shows all")]
    body = tuple(
        (_name(r), r["mode"], f"{r['input_usd_per_mtok']:g}", "" if r["cached_usd_per_mtok"] is None else
         f"{r['cached_usd_per_mtok']:g}", f"{r['output_usd_per_mtok']:g}", r["valid_from"], r["checked"] or "unknown")
        for r in rows[:MOST_SHOWN])
    blocks: list[Block] = [Table(
        "Token prices, USD a million", ("provider and model", "mode", "in", "cached", "out", "from", "checked"), body,
        text_columns=frozenset({0, 1, 5, 6}))]
    if len(rows) > MOST_SHOWN:
        blocks.append(Note(f"{len(rows) - MOST_SHOWN} more; add words, or --json for all"))
    blocks.append(Note(f"`outlay pay` tells which of its prices were checked more than {STALE_DAYS} days ago"))
    return blocks


def _name(row: dict[str, Any]) -> str:
    dear = f", dearer above {row['dearer_above_tokens'][0]:,.0f}" if row["dearer_above_tokens"] else ""
    return f"{row['provider']}/{row['model']}{dear}"
