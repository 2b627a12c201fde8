"""How the scoreboard is shown."""

from __future__ import annotations

from typing import Any

from outlay.cli.answer import form_of, to_json, write, write_blocks


def show(scoreboard: Any, flags: dict[str, Any]) -> int:
    """Score, then write as screen, JSON, CSV or Markdown."""
    from outlay.cli.progress import waiting

    with waiting("scoring", quiet=bool(flags.get("opt_quiet"))):
        rows = scoreboard.score()
    if form_of(flags) == "json":
        write(to_json(rows) + "\n", flags)
    elif form_of(flags) == "csv":
        from outlay.report.rows import rows_csv

        write(rows_csv(rows), flags)
    else:
        from outlay.report.blocks import Table

        head = tuple(rows[0]) if rows else ()
        table = Table(
            "Predicted against published", head, tuple(tuple(str(v) for v in row.values()) for row in rows)
        )
        write_blocks([table], flags)
    return 0
