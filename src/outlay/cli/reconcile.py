"""`outlay reconcile`: a provider's bill beside the plan."""

from __future__ import annotations

from typing import Any

import click

from outlay.cli.options import Shared, shared_flags

LEFT_OUT = ("--vary", "--save")


@click.command(cls=Shared, name="reconcile", short_help="A bill beside the plan.")
@click.argument("subject", required=False)
@click.option("--invoice", required=True, metavar="FILE", help="The bill: a FOCUS file, version 1.0 to 1.3.")
@click.option("--start", metavar="DATE", help="When the plan began.")
@click.option("--cost", default="effective", show_default=True, metavar="NAME",
              help="Which cost of the bill: effective, billed, contracted, list.")
@click.option("--tolerance", default="10%", show_default=True, metavar="SHARE",
              help="How far over the plan a bill may be before the exit code is 1.")
@shared_flags(*LEFT_OUT)
def command(subject: str | None, invoice: str, start: str | None, cost: str, tolerance: str, **flags: Any) -> int:
    """Set a bill in FOCUS form against a plan: by month, service category and resource.

    A row of the bill belongs to a planned line when its ResourceId is that line's id, or the tag outlay_line says so.
    The rest of a month and service is compared as a sum; what has no partner is listed, both ways.
    Leaves with 1 when the bill is above the plan's interval and more than the tolerance over it.

    \b
    outlay reconcile plan.yaml --invoice bill.csv --start 2026-12-01
    """
    from outlay.cli.answer import check_outputs, form_of, to_json, write, write_blocks
    from outlay.cli.ask import PHASES, ask, whole_scenario
    from outlay.cli.report import beginning
    from outlay.cli.shell import NO, YES, say
    from outlay.ledger.focus import charges
    from outlay.ledger.invoice import read_invoice
    from outlay.ledger.reconcile import reconcile
    from outlay.report import reconciled
    from outlay.report.numbers import money_in
    from outlay.result import plain_values
    from outlay.units import parse

    check_outputs(flags)
    most = parse(tolerance, "fraction", "--tolerance")
    document = whole_scenario(subject, flags, "pretrain", asked=False)
    if not any(document.get(phase) for phase in PHASES):
        document.setdefault("pretrain", {})
    bill = read_invoice(invoice, cost, _rates(document, flags))
    result = ask(document, flags)
    rows, unpriced = charges(result, beginning(start, result))
    for text in unpriced:
        say(f"left out, no price: {text}")
    found = plain_values(reconcile(rows, bill))
    form = form_of(flags)
    if form == "json":
        write(to_json(found) + "\n", flags)
    elif form == "csv":
        from outlay.report.rows import rows_csv

        write(rows_csv([_flat(m) for m in (*found["matched"], *found["only_planned"], *found["only_billed"])]), flags)
    else:
        with money_in(result.currency):
            page = reconciled.page(found, most, bool(flags.get("opt_verbose")))
        write_blocks(page[:1] if flags.get("opt_quiet") else page, flags)
    return YES if reconciled.kept(found, most) else NO


def _flat(match: dict[str, Any]) -> dict[str, Any]:
    planned = match["planned"] or {}
    return {**match, "planned": planned.get("value"), "planned_low": planned.get("low"),
            "planned_high": planned.get("high")}


def _rates(document: dict[str, Any], flags: dict[str, Any]) -> Any:
    """Units of a bill's currency for a dollar: the scenario's currency, or a file of rates."""
    from outlay.catalog import load
    from outlay.cli.ask import plan_options
    from outlay.resolve.currency import resolve_currency
    from outlay.resolve.notes import Notes
    from outlay.scenario_io import scenario_from

    catalog = load(tuple(plan_options(flags).get("extra", ())))
    asked = scenario_from({"currency": document["currency"]}).currency if document.get("currency") else None

    def rate(code: str) -> float:
        mine = asked if isinstance(asked, str) else asked.code if asked is not None else ""
        given = asked if asked is not None and mine.upper() == code else code
        return float(resolve_currency(given, catalog, Notes())["per_usd"])

    return rate
