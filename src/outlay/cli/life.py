"""`outlay life`: all phases of a model on a calendar of years."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from outlay.cli.options import OF_TRAINING, Shared, shared_flags

if TYPE_CHECKING:
    from outlay.report.blocks import Block
    from outlay.result import Result

FIELDS: tuple[tuple[str, str, str, str], ...] = (
    ("--years", "life.years", "N", "Years looked at: 5."),
    ("--start", "life.start", "DATE", "First month: 2027-01."),
    ("--end", "life.end", "DATE", "The end, instead of --years: 2031-12."),
    ("--growth", "life.growth_per_year", "SHARE", "Growth of traffic a year: 50%, 0.5, -10%."),
    ("--discount-rate", "life.discount_per_year", "SHARE", "Discount a year: 8%."),
    ("--engineers", "life.engineers", "N", "People who build it, until it serves."),
)
GROUPS = ("month", "year", "phase", "item")
PHASES = ("data", "pretrain", "finetune", "serve", "maintain")
NOT_SHARED = (*OF_TRAINING, "-p", "--deadline", "--top-k", "--for")


def _flags(function: Any) -> Any:
    for flag, field, metavar, text in reversed(FIELDS):
        function = click.option(flag, field.replace(".", "_"), metavar=metavar, help=text)(function)
    function = click.option("--by", "by", type=click.Choice(GROUPS), help="One table: by month, year, phase or item.")(
        function
    )
    text = "A ready-made scenario, each number with its reason; `list` names them."
    function = click.option("--preset", "preset", metavar="NAME", help=text)(function)
    return click.option("--only", "only", type=click.Choice(PHASES), help="Show one phase of it alone.")(function)


@click.command(cls=Shared, name="life", short_help="Plan a model's whole life.")
@click.argument("subject", required=False)
@_flags
@shared_flags(*NOT_SHARED)
def command(subject: str | None, **flags: Any) -> int:
    """What a model takes over its life: data, experiments, training, serving as it grows, maintenance, the end.

    SUBJECT is a scenario file or a result with the phases asked about (data, pretrain, finetune, serve, maintain).
    By month, year, phase and item; as cash and spread over use, discounted; with what moves the total, and whose
    budget holds it. Leaves with 0, with 1 when a phase does not fit or a budget is missed, 2 on bad input.

    \b
    outlay life plan.yaml --years 5 --growth 50%
    outlay life plan.yaml --only maintain
    outlay life plan.yaml --by month --csv -o months.csv
    outlay life plan.yaml --json -o life.json
    outlay life --preset list
    outlay life --preset student --save my-plan.yaml
    """
    if flags["preset"] == "list":
        from outlay.cli.presets import show_list

        return show_list(flags)
    given = [(path, flags.pop(path.replace(".", "_"), None)) for _, path, _, _ in FIELDS]
    flags["opt_set"] = (*[f"{p}={v}" for p, v in given if v is not None], *(flags.get("opt_set") or ()))
    return answer_life(subject, flags, "life", flags.pop("only", None))


def answer_life(subject: str | None, flags: dict[str, Any], section: str, only: str | None = None) -> int:
    """Plan data alone, or a life, and write it; the exit code says whether it works out."""
    from outlay.cli.answer import check_outputs, save_scenario
    from outlay.cli.ask import ask, whole_scenario
    from outlay.errors import Inconsistent

    check_outputs(flags)
    by = flags.pop("by", None)
    if by and only:
        raise Inconsistent("--by and --only at once; choose one", "--only")
    document = whole_scenario(subject, flags, section, asked=False)
    flags["subject"] = subject
    document = _data_alone(document) if section == "data" else _with_phases(document, only)
    if flags.get("opt_vary"):
        from outlay.cli.ask import variants
        from outlay.cli.vary import compare

        return compare(variants(document, flags, section), flags)
    result = ask(document, flags)
    _show(result, flags, only or ("data" if section == "data" else ""), by or "")
    if flags.get("opt_save"):
        from outlay.cli.presets import save_as_it_is

        if not save_as_it_is(document, flags):
            save_scenario(document, flags["opt_save"])
    return result.exit_code


def _data_alone(document: dict[str, Any]) -> dict[str, Any]:
    """The data section by itself; tokens of the training beside it are kept as what is wanted."""
    from outlay.cli.shell import say

    data = dict(document.get("data") or {})
    tokens = (document.get("pretrain") or {}).get("tokens")
    if tokens is not None:
        data.setdefault("tokens", tokens)
    left = [p for p in (*PHASES, "life") if p != "data" and document.get(p)]
    if left:
        say(f"note: `outlay data` leaves out the {' and '.join(left)} of this scenario")
    return {k: v for k, v in document.items() if k not in (*PHASES, "life")} | {"data": data}


def _with_phases(document: dict[str, Any], only: str | None) -> dict[str, Any]:
    from outlay.errors import BadValue

    if only == "maintain" and "maintain" not in document:
        document = {**document, "maintain": {}}
    if not any(p in document for p in PHASES):
        raise BadValue(
            "this scenario has no phase; add data, pretrain, finetune, serve or maintain to the file: outlay "
            "life plan.yaml",
            "life",
        )
    if only is not None and only not in document:
        raise BadValue(
            f"--only {only}: the scenario has no {only}; it has {', '.join(p for p in PHASES if p in document)}",
            "--only",
        )
    return {**document, "life": document.get("life") or {}}


# ---------------------------------------------------------------- showing


def _show(result: Result, flags: dict[str, Any], only: str, by: str) -> None:
    from outlay.cli.answer import form_of, to_json, write, write_blocks
    from outlay.report.numbers import money_in

    kept = alone(result, only) if only and result.phases.get("life") else result
    told = kept.to_dict()
    form = form_of(flags)
    if form == "json":
        write(to_json(told) + "\n", flags)
    elif form == "csv" and by:
        from outlay.report.life_groups import flat
        from outlay.report.rows import rows_csv

        write(rows_csv(flat(told["life"], by)), flags)
    elif form == "csv":
        from outlay.report.rows import lines_csv

        write(lines_csv(told.get("lines") or [], told.get("currency")), flags)
    else:
        with money_in(told.get("currency")):
            blocks = page_of(told, flags, only, by)
        write_blocks(blocks, flags)


def alone(result: Result, phase: str) -> Result:
    """One phase of a life by itself: its lines, with their place on the calendar, and their totals."""
    from msgspec.structs import replace

    from outlay.account import totals

    lines = tuple(x for x in result.lines if x.usage.phase == phase)
    return replace(result, phases={phase: result.phases[phase]}, lines=lines, totals=totals(lines) if lines else {})


def page_of(document: dict[str, Any], flags: dict[str, Any], only: str, by: str = "") -> list[Block]:
    """The page of a life, of its data, of its maintenance, or of another phase alone; by: one table of it."""
    from outlay.report import life, life_groups, life_parts, screen
    from outlay.report.blocks import Verdict

    verbose = bool(flags.get("opt_verbose"))
    following = next_of(document, flags, only)
    if only == "data":
        page = life_parts.data_page(document, verbose, following)
    elif only == "maintain":
        page = life_parts.maintain_page(document, verbose, following)
    elif by:
        page = [life.verdict(document), life_groups.table(document["life"], by)]
    elif only:
        page = life_parts.phase_page(document, only, verbose)
    else:
        page = life.page(document, verbose, following)
    first = page[0]
    assert isinstance(first, Verdict)
    return screen.quiet(first) if flags.get("opt_quiet") else page


def next_of(document: dict[str, Any], flags: dict[str, Any], only: str) -> list[str]:
    """Two commands worth running next, for a scenario that lies in a file."""
    import shlex

    where = flags.get("opt_file") and f"-f {shlex.quote(str(flags['opt_file']))}"
    where = where or (shlex.quote(str(flags["subject"])) if flags.get("subject") else "")
    if flags.get("preset"):
        where = f"{where} --preset {flags['preset']}".strip()
    if only == "data":
        return [f"outlay data {where or '-n 1T'} --dataset fineweb", "outlay catalog list dataset"]
    if not where:
        return []
    if only:
        return [f"outlay life {where}", f"outlay life {where} --only {only} -v"]
    if flags.get("preset") and not flags.get("opt_save"):
        return [f"outlay life {where} --by month", f"outlay life {where} --save my-plan.yaml"]
    return [f"outlay life {where} --only maintain", f"outlay life {where} --by month --csv -o months.csv"]
