"""`outlay validate`: predictions beside published measurements."""

from __future__ import annotations

from typing import Any

import click

from outlay.cli.options import Shared


@click.command(cls=Shared, name="validate", short_help="Predictions beside published measurements.")
@click.option("--quick", is_flag=True, help="A tenth of the largest source, for a quick look.")
@click.option("--json", "opt_json", is_flag=True, help="The scores as JSON; every case too with -v.")
@click.option("--csv", "opt_csv", is_flag=True, help="One score a row; one case a row with -v.")
@click.option("--md", "opt_md", is_flag=True, help="The scoreboard as Markdown.")
@click.option("-o", "--output", "opt_output", metavar="FILE", help="Write there, whole or not at all.")
@click.option("-q", "--quiet", "opt_quiet", is_flag=True, help="Only the verdict.")
@click.option("-v", "--verbose", "opt_verbose", is_flag=True, help="Every case, not only every source.")
def command(quick: bool, **flags: Any) -> int:
    """Score the planner on published training times, memory, power and impacts.

    What was fitted is never what is scored: each model or device is left out of the fit that predicts it.
    """
    from outlay.cli.answer import check_outputs
    from outlay.cli.scores import show

    check_outputs(flags)
    return show(flags, quick)
