"""`outlay validate`: predictions beside published measurements."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from outlay.cli.options import Shared


@click.command(cls=Shared, name="validate", short_help="Predictions beside published measurements.")
@click.option("--json", "opt_json", is_flag=True, help="The whole scoreboard as JSON.")
@click.option("--csv", "opt_csv", is_flag=True, help="The scoreboard, one source a row.")
@click.option("--md", "opt_md", is_flag=True, help="The scoreboard as Markdown.")
@click.option("-o", "--output", "opt_output", metavar="FILE", help="Write there, whole or not at all.")
@click.option("-q", "--quiet", "opt_quiet", is_flag=True, help="Only the verdict.")
@click.option("-v", "--verbose", "opt_verbose", is_flag=True, help="Every case, not only every source.")
def command(**flags: Any) -> int:
    """Score the planner on published training times, memory, power and impacts.

    What was fitted is never what is scored: each model or device is left out of the fit that predicts it.
    """
    from outlay.cli.answer import check_outputs
    from outlay.errors import Unsupported

    check_outputs(flags)
    try:
        scoreboard = import_module("outlay.validate.scoreboard")
    except ModuleNotFoundError:
        raise Unsupported("the scoreboard is not built in this version", "validate") from None
    from outlay.cli.scores import show

    return show(scoreboard, flags)
