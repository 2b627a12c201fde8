"""`outlay pay`: the same work bought by use, on rented machines or on one's own."""

from __future__ import annotations

from typing import Any

import click

from outlay.cli.options import Shared, shared_flags
from outlay.errors import UnknownName

# spellings, field of the section, metavar, help
FIELDS: tuple[tuple[tuple[str, ...], str, str, str], ...] = (
    (("--requests",), "requests_per_month", "N/TIME", "How many: 3M/month, 100k/day, 2/s."),
    (("--in",), "input", "N", "Tokens of a request; a token is about three quarters of a word."),
    (("--out",), "output", "N", "Tokens of an answer."),
    (("--reasoning",), "reasoning", "N", "Hidden tokens of an answer, paid as its output."),
    (("--cached",), "cached", "SHARE", "Part of the input that repeats: 0.3."),
    (("--requests-file",), "requests_file", "FILE", "One request a row (CSV), priced one by one."),
    (("--peak",), "peak", "N", "Busiest hour over the mean."),
    (("--on",), "date", "DATE", "The day whose prices hold: 2026-11-23."),
)
NOT_SHARED = ("--tokens", "--seq", "--global-batch", "--optimizer", "--framework", "--device-hours", "--tp", "--pp",
              "--dp", "--ep", "--cp", "--vpp", "--zero", "--micro-batch", "--recompute", "--deadline", "--top-k",
              "--for", "--vary", "--cluster")


def _flags(function: Any) -> Any:
    for spellings, field, metavar, text in reversed(FIELDS):
        function = click.option(*spellings, "pay_" + field, metavar=metavar, help=text)(function)
    function = click.option("--api", "pay_api", multiple=True, metavar="NAME",
                            help="A provider's model: openai/gpt-5-mini. Repeatable.")(function)
    function = click.option("--provider", "pay_providers", multiple=True, metavar="NAME",
                            help="Who to rent machines from. Repeatable.")(function)
    function = click.option("--way", "pay_ways", multiple=True, type=click.Choice(("api", "rent", "own")),
                            help="Only this way. Repeatable.")(function)
    function = click.option("--can-wait", "pay_can_wait", is_flag=True,
                            help="A day for an answer is fine: batch prices too.")(function)
    return click.option("--live-prices", "live", is_flag=True,
                        help="Fetch today's token prices from the internet (needs outlay[prices]).")(function)


@click.command(cls=Shared, name="pay", short_help="The same work by API, rented or owned.")
@click.argument("subject", required=False)
@_flags
@shared_flags(*NOT_SHARED)
def command(subject: str | None, live: bool, **flags: Any) -> int:
    """What the same work costs: bought from a provider, on rented machines, on machines of one's own.

    SUBJECT is the model to run, or a scenario file; its training phases are paid for too. Without machines (-g) the
    cheapest catalogued ones that fit are taken. Leaves with 0, with 1 when the cheapest is above --budget, 2 on bad
    input.

    \b
    outlay pay llama-3.3-70b --requests 3M/month --in 1200 --out 250 --cached 0.3
    outlay pay llama-3.1-8b --requests 100k/day --in 800 --out 200 --api gpt-5-mini -g 2xl40s -s DE
    outlay pay --requests 3M/month --in 1200 --out 250 --api gpt-5-mini --api claude-haiku-4-5
    """
    from outlay.cli.answer import check_outputs, save_scenario
    from outlay.cli.ask import whole_scenario

    check_outputs(flags)
    flags["opt_set"] = (*assignments(flags), *(flags.get("opt_set") or ()))
    scenario = whole_scenario(subject, flags, "serve", asked=False)
    scenario.setdefault("pay", {})
    flags["subject"] = subject
    result = _planned(scenario, flags, live)
    _show(result, scenario, flags)
    if flags.get("opt_save"):
        save_scenario(scenario, flags["opt_save"])
    return int(result.exit_code)


def _planned(scenario: dict[str, Any], flags: dict[str, Any], live: bool) -> Any:
    from outlay.cli.ask import ask, plan_options

    if not live:
        try:
            return ask(scenario, flags)
        except UnknownName as error:
            raise _sold_only(error, str(scenario.get("model"))) from None
    from outlay.cli.live_prices import live_token_prices

    prices, day = live_token_prices()
    from outlay.catalog import load
    from outlay.planner.run import run_plan
    from outlay.scenario_io import scenario_from

    extra = tuple(plan_options(flags).get("extra", ()))
    return run_plan(scenario_from(scenario), load(extra), token_prices=prices, day=day)


def _sold_only(error: UnknownName, model: str) -> UnknownName:
    """The error of a model that no catalogue describes, with the way to price it where providers sell it."""
    from outlay.catalog.token_prices import shipped

    if error.field != "model" or not any(model.lower() in (p.model.lower(), p.name.lower()) for p in shipped()):
        return error
    said = error.message.partition(" in the catalogue")[0]
    return UnknownName(f"{said} whose shape is known; it is sold by the token: --api {model}, alone or beside a model "
                       "that runs on machines of one's own", "model")


def _show(result: Any, scenario: dict[str, Any], flags: dict[str, Any]) -> None:
    from outlay.cli.answer import form_of, to_json, write, write_blocks
    from outlay.report import paying

    document = result.to_dict()
    form = form_of(flags)
    if form == "json":
        write(to_json(document) + "\n", flags)
    elif form == "csv":
        from outlay.report.rows import rows_csv

        write(rows_csv(paying.rows(document)), flags)
    elif flags.get("opt_quiet"):
        write_blocks(paying.quiet(document), flags)
    else:
        write_blocks(paying.page(document, bool(flags.get("opt_verbose")), _following(document, scenario)), flags)


def _following(document: dict[str, Any], scenario: dict[str, Any]) -> list[str]:
    """The same question with the answer's least certain part given, and how fast the machines would be."""
    work = scenario["pay"]
    if "requests_per_month" not in work:
        return []
    import shlex

    many = _plain(work["requests_per_month"])
    told = f"--requests {shlex.quote(many if '/' in many else f'{many}/month')}"
    told += "".join(f" {flag} {_plain(work[name])}" for flag, name in (("--in", "input"), ("--out", "output"))
                    if name in work)
    model = scenario.get("model")
    name = f"{shlex.quote(model)} " if isinstance(model, str) else ""
    api = "".join(f" --api {shlex.quote(str(n))}" for n in ([work["api"]] if isinstance(work.get("api"), str)
                                                            else work.get("api") or []))
    base = f"outlay pay {name}{told}{api}"
    device = (document["pay"].get("serve") or {}).get("device")
    more = [f"{base} -g {device} --set pay.people.rent=0.25"] if device and name else []
    return [*more, *([] if work.get("can_wait") else [f"{base} --can-wait"])]


def _plain(value: Any) -> str:
    number = float(value) if isinstance(value, (int, float)) else None
    return str(value) if number is None else f"{number:.12g}"


def assignments(flags: dict[str, Any]) -> list[str]:
    """The flags of this verb as --set would write them; --set itself comes after and wins."""
    import json

    found = []
    for _, field, _, _ in FIELDS:
        value = flags.pop("pay_" + field, None)
        if value is not None:
            found.append(f"pay.{field}={value}")
    for field in ("api", "providers", "ways"):
        several = flags.pop("pay_" + field, ())
        if several:
            found.append(f"pay.{field}={json.dumps(list(several))}")
    if flags.pop("pay_can_wait", False):
        found.append("pay.can_wait=true")
    return found
