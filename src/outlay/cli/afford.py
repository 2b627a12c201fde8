"""`outlay afford`: what a sum of money allows, and what a model takes of whose budget."""

from __future__ import annotations

from typing import Any

import click

from outlay.cli.options import ANSWERS, FIELDS, Shared, shared_flags
from outlay.errors import BadValue

_KEPT = ("-g", "-s", "--deadline", "--budget", "--currency", "--exchange-rate", "--exchange-date", "--json", "--md",
         "-o", "-q", "-v", "--catalog", "--prices")
_DROPPED = tuple(flag.spellings[0] for flag in (*FIELDS, *ANSWERS) if not set(flag.spellings) & set(_KEPT))


@click.command(cls=Shared, name="afford", short_help="What a sum of money allows; whose budget a model takes.")
@click.argument("model", required=False)
@click.option("--country", metavar="PLACE", help="The same as -s: FR, IN, aws:eu-west-3.")
@click.option("--tune-tokens", metavar="N", help="Tokens of the fine-tuning set: 10M.")
@click.option("--continue-tokens", metavar="N", help="Tokens of continued pre-training: 5B.")
@click.option("--tokens-per-parameter", metavar="R", help="Of the over-trained model; with MODEL, of training it.")
@click.option("--in", "input_tokens", metavar="N", help="Tokens of a request's prompt.")
@click.option("--out", "output_tokens", metavar="N", help="Tokens of a request's answer.")
@click.option("--persona", metavar="NAME", help="Take the budget of a year of: student, university lab, start-up ...")
@click.option("--field", is_flag=True, help="Who holds training compute and accelerators, over time.")
@shared_flags(*_DROPPED)
def command(model: str | None, field: bool, persona: str | None, country: str | None, **flags: Any) -> int:
    """With --budget: the largest model at each rung, from an API call to training from scratch, by plans that run.

    With MODEL and no budget: what serving, tuning and training it takes, in years of the budget of a student, a
    university lab, a start-up, an enterprise and a frontier lab. With --field: concentration over time.
    Leaves with 0 when the money reaches a rung, 1 when it reaches none, 2 on bad input.

    \b
    outlay afford --budget 5000
    outlay afford --budget 2M -g 64xh100-sxm --deadline 30d -s FR
    outlay afford llama-3.1-8b
    outlay afford --field
    """
    from outlay.advise import afford, afford_ask, barrier
    from outlay.advise import field as whole
    from outlay.catalog import load
    from outlay.cli.answer import check_outputs
    from outlay.cli.ask import plan_options
    from outlay.cli.progress import waiting
    from outlay.report import afforded
    from outlay.result import plain_values

    check_outputs(flags)
    catalog = load(tuple(plan_options(flags).get("extra", ())))
    if field:
        found = whole.field(catalog)
        return _write(found, lambda: afforded.field(found), flags, None)
    currency, planner = _currency(flags, catalog), _planner(flags)
    ask = _ask(model, persona, country, flags, catalog)
    with waiting("planning each rung", quiet=bool(flags.get("opt_quiet"))):
        if ask.budget_usd:
            found = plain_values(afford.afford(ask, catalog, planner))
        elif model is not None:
            found = plain_values(barrier.barrier(model, afford_ask.settings(ask, catalog), catalog, planner))
        else:
            raise BadValue("say how much: outlay afford --budget 5000; or name a model: outlay afford llama-3.1-8b",
                           "--budget")
    if "rungs" in found:
        code = _write(found, lambda: afforded.page(found, bool(flags.get("opt_verbose"))), flags, currency)
        return code if any(r["able"] for r in found["rungs"]) else 1
    return _write(found, lambda: afforded.barrier(found), flags, currency)


def _write(found: Any, page: Any, flags: dict[str, Any], currency: Any) -> int:
    from outlay.cli.answer import form_of, to_json, write, write_blocks
    from outlay.report.numbers import money_in

    if form_of(flags) == "json":
        write(to_json(found) + "\n", flags)
        return 0
    with money_in(currency):
        blocks = page()
    write_blocks(blocks[:1] if flags.get("opt_quiet") else blocks, flags)
    return 0


def _ask(model: str | None, persona: str | None, country: str | None, flags: dict[str, Any], catalog: Any) -> Any:
    """The question in SI; every fault names its flag."""
    from outlay.advise.afford_ask import Ask
    from outlay.units import parse

    def number(name: str, kind: str, flag: str) -> float | None:
        given = flags.get(name)
        if given is None:
            return None
        value = parse(given, kind, flag)
        if value <= 0:
            raise BadValue(f"{flag}: {given} must be above zero", flag)
        return value

    budget = number("opt_budget", "usd", "--budget")
    if persona is not None:
        if budget is not None:
            raise BadValue("--budget and --persona both say how much; choose one", "--persona")
        budget = float(catalog.find("persona", persona, "--persona").value("budget_usd_per_year"))
    if country and flags.get("opt_site"):
        raise BadValue("--country and -s both name the place; choose one", "--country")
    if model is not None:
        catalog.find("model", model, "MODEL")
    return Ask(
        budget or 0.0, flags.get("opt_fleet"), flags.get("opt_site") or country,
        number("opt_deadline", "seconds", "--deadline"), number("tune_tokens", "count", "--tune-tokens"),
        number("continue_tokens", "count", "--continue-tokens"),
        number("tokens_per_parameter", "count", "--tokens-per-parameter"), number("input_tokens", "count", "--in"),
        number("output_tokens", "count", "--out"), model)


def _currency(flags: dict[str, Any], catalog: Any) -> Any:
    from outlay.resolve.currency import resolve_currency
    from outlay.resolve.notes import Notes
    from outlay.scenario_io import scenario_from

    given = {"code": flags.get("opt_currency"), "per_usd": flags.get("opt_exchange_rate"),
             "as_of": flags.get("opt_exchange_date")}
    if not any(given.values()):
        return None
    asked = scenario_from({"currency": {k: v for k, v in given.items() if v is not None}}).currency
    return None if asked is None else resolve_currency(asked, catalog, Notes())


def _planner(flags: dict[str, Any]) -> Any:
    from outlay.api import plan
    from outlay.cli.ask import plan_options

    options = plan_options(flags)
    return lambda document: plan(document, around=False, **options)  # rungs that do not fit are passed by
