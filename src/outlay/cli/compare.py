"""`outlay compare`: plans beside each other, and what makes the difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outlay.cli.options import FIELDS, Shared, shared_flags
from outlay.errors import BadValue


@click.command(cls=Shared, name="compare", short_help="Plans beside each other, and why they differ.")
@click.argument("subjects", nargs=-1, metavar="A B ...")
@shared_flags("-f", "--vary", "--save")
def command(subjects: tuple[str, ...], **flags: Any) -> int:
    """Set scenario files, results or models beside the first: totals, inputs, lines, and which change did it.

    Flags hold for all of them. Differences are taken on the same draws, so their intervals are those of the
    difference. Each changed input is also planned alone, and what only comes of them together is its own row.
    Leaves with 0 when all fit, 1 when one does not, 2 on bad input.

    \b
    outlay compare before.yaml after.yaml
    outlay compare llama-3.1-8b qwen3-8b -g 64xh100-sxm -n 1T
    """
    from outlay.advise.compare import compare
    from outlay.api import plan
    from outlay.cli.answer import check_outputs, form_of, to_json, write, write_blocks
    from outlay.cli.ask import plan_options
    from outlay.cli.progress import waiting
    from outlay.cli.shell import NO, YES
    from outlay.report import compared
    from outlay.report.numbers import money_in
    from outlay.result import plain_values

    check_outputs(flags)
    if len(subjects) < 2:
        raise BadValue("name at least two to compare: outlay compare before.yaml after.yaml", "A B ...")
    asked = list(zip(labels(subjects), (scenario(subject, flags) for subject in subjects), strict=True))
    options = plan_options(flags)
    shown: list[Any] = []

    def planner(document: Any) -> Any:
        result = plan(document, around=False, **options)
        shown.append(result.currency)
        return result

    with waiting("planning", quiet=bool(flags.get("opt_quiet"))):
        found = plain_values(compare(asked, planner))
    form = form_of(flags)
    if form == "json":
        write(to_json(found) + "\n", flags)
    elif form == "csv":
        from outlay.report.rows import rows_csv

        write(rows_csv([_flat(d, row) for d in found["differences"] for row in d["lines"]]), flags)
    else:
        with money_in(shown[0]):
            page = compared.page(found, bool(flags.get("opt_verbose")))
        write_blocks(page[:1] if flags.get("opt_quiet") else page, flags)
    return YES if all(s["fits"] for s in found["subjects"]) else NO


def labels(subjects: tuple[str, ...]) -> list[str]:
    """Short names that tell the subjects apart.

    >>> labels(("plans/a.yaml", "b.json", "plans/a.yaml"))
    ['a', 'b', 'a (3)']
    """
    found: list[str] = []
    for number, subject in enumerate(subjects, 1):
        path = Path(subject)
        name = path.stem if path.suffix in (".yaml", ".yml", ".json", ".toml") else subject
        found.append(name if name not in found else f"{name} ({number})")
    return found


def scenario(subject: str, flags: dict[str, Any]) -> dict[str, Any]:
    """What a subject and the flags ask; a flag of a phase goes to the phase that the subject has."""
    from outlay.cli.ask import PHASES, whole_scenario

    mine = dict(flags)
    bare = {**mine, **{flag.name: None for flag in FIELDS}, "opt_set": ()}
    held = [phase for phase in PHASES if whole_scenario(subject, bare, "pretrain", asked=False).get(phase) is not None]
    document = whole_scenario(subject, mine, held[0] if held else "pretrain", asked=False)
    if not any(document.get(phase) is not None for phase in PHASES):
        document["pretrain"] = {}
    return document


def _flat(difference: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    flat = {"against": difference["against"], "name": difference["name"], "change": row["sign"], "phase": row["phase"],
            "item": row["item"]}
    for name in ("usd", "energy_j", "co2e_kg", "water_l"):
        entry = row[name] or {}
        flat |= {f"{name}_before": (entry.get("before") or {}).get("value"),
                 f"{name}_after": (entry.get("after") or {}).get("value"),
                 f"{name}_difference": (entry.get("difference") or {}).get("value"),
                 f"{name}_difference_low": (entry.get("difference") or {}).get("low"),
                 f"{name}_difference_high": (entry.get("difference") or {}).get("high")}
    return flat
