"""`outlay report`: a plan in the form another program or person reads."""

from __future__ import annotations

from typing import Any

import click

from outlay.cli.options import Shared, shared_flags

FORMS = ("focus", "lines", "json", "md")
LEFT_OUT = ("--vary", "--json", "--csv", "--md", "--save", "-v")


@click.command(cls=Shared, name="report", short_help="A plan as a FOCUS file, lines, JSON or a page.")
@click.argument("subject", required=False)
@click.option("--as", "form", type=click.Choice(FORMS), default="md", show_default=True,
              help="focus: FOCUS 1.2 CSV; lines: one line a row; json; md: the page.")
@click.option("--start", metavar="DATE", help="When the plan begins, for the months of a FOCUS file.")
@shared_flags(*LEFT_OUT)
def command(subject: str | None, form: str, start: str | None, **flags: Any) -> int:
    """Plan every phase of a scenario and write the result in one form.

    A FOCUS file has one row for each line and calendar month. A plan is no invoice, so BilledCost is 0 and the
    planned cost stands in EffectiveCost. Lines without a known price are left out and named on standard error.

    \b
    outlay report plan.yaml --as focus --start 2027-01-01 -o plan.csv
    outlay report llama-3.1-8b -g 64xh100-sxm -n 1T --as lines
    """
    from outlay.cli.answer import check_outputs, to_json, write
    from outlay.cli.ask import PHASES, ask, whole_scenario

    check_outputs(flags)
    flags["subject"] = subject
    document = whole_scenario(subject, flags, "pretrain", asked=False)
    if not any(document.get(phase) for phase in PHASES):
        document.setdefault("pretrain", {})
    result = ask(document, flags)
    if form == "focus":
        write(focus_text(result, start, flags), flags)
    elif form == "md":
        from outlay.cli.plan_verb import blocks_of
        from outlay.report import markdown
        from outlay.report.numbers import money_in

        shown = result.to_dict()
        with money_in(shown.get("currency")):
            page = blocks_of(result, shown, flags)
        write(markdown.render(page), flags)
    elif form == "json":
        write(to_json(result.to_dict()) + "\n", flags)
    else:
        from outlay.report.rows import lines_csv

        shown = result.to_dict()
        write(lines_csv(shown["lines"], shown.get("currency")), flags)
    return result.exit_code


def focus_text(result: Any, start: str | None, flags: dict[str, Any]) -> str:
    """The lines as FOCUS rows; what could not be priced is said."""
    from outlay.catalog import load
    from outlay.cli.ask import plan_options
    from outlay.cli.shell import say
    from outlay.errors import BadValue
    from outlay.ledger.focus import charges, to_csv

    rows, unpriced = charges(result, beginning(start, result))
    for text in unpriced:
        say(f"left out, no price: {text}")
    if not rows:
        raise BadValue("no line of this plan has a price, so there is nothing to write; give fleet.usd_per_device_hour",
                       "fleet.usd_per_device_hour")
    return to_csv(rows, load(tuple(plan_options(flags).get("extra", ()))))


def beginning(start: str | None, result: Any) -> Any:
    """The day a plan begins: the one given, that of its life, or the first of the month after the catalogue's date."""
    from outlay.cli.shell import say
    from outlay.ledger.months import day, month_after

    planned = (result.scenario.get("life") or {}).get("start")
    if start is not None or planned:
        return day(start or str(planned), "--start")
    found = month_after(result.catalog)
    say(f"note: the plan is taken to begin on {found:%Y-%m-%d}; --start DATE sets it")
    return found
