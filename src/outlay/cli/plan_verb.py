"""What every planning verb does once its flags are read: plan, show, save, and say yes or no."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outlay.cli.answer import check_outputs, form_of, save_scenario, to_json, write, write_blocks, write_tables
from outlay.cli.ask import ask, scenario_of, variants
from outlay.cli.subjects import launch_words, model_read, reading, without_reading

if TYPE_CHECKING:
    from outlay.report.blocks import Block
    from outlay.result import Result


def answer(subject: str | None, flags: dict[str, Any], phase: str) -> int:
    """Plan the scenario of a command line and write the result; the exit code says whether it works out."""
    check_outputs(flags)
    scenario = scenario_of(subject, flags, phase)
    flags["subject"] = subject if subject is not None else model_read(flags) if launch_words() else None
    if flags.get("opt_vary"):
        from outlay.cli.vary import compare

        return compare(variants(scenario, flags, phase), flags)
    result = ask(scenario, flags)
    write_tables(result, flags)
    show(result, scenario, flags)
    if flags.get("opt_save"):
        save_scenario(scenario, flags["opt_save"])
    return result.exit_code


def show(result: Result, scenario: dict[str, Any], flags: dict[str, Any]) -> None:
    document = result.to_dict()
    form = form_of(flags)
    if form == "json":
        write(to_json(document) + "\n", flags)
    elif form == "csv":
        from outlay.report.rows import lines_csv

        write(lines_csv(document.get("lines") or [], document.get("currency")), flags)
    else:
        from outlay.report.numbers import money_in

        with money_in(document.get("currency")):
            page = blocks_of(result, document, flags)
        write_blocks(page, flags)


def blocks_of(result: Result, document: dict[str, Any], flags: dict[str, Any]) -> list[Block]:
    from outlay.cli.following import next_commands
    from outlay.report import screen, serving
    from outlay.report.influence import hangs_on

    around = _around(document)
    if around:
        from outlay.cli.life import page_of

        return page_of(document, flags, "" if around == "life" else around)
    serves = "serve" in document and not document.get("pretrain")
    if flags.get("opt_quiet"):
        return screen.quiet((serving if serves else screen).verdict(document))
    document, read = without_reading(document, flags), reading(flags, bool(flags.get("opt_verbose")))
    following = next_commands(document, flags) if isinstance(flags.get("subject"), str | None) else []
    if serves:
        page = serving.page(document, bool(flags.get("opt_verbose")), following)
    else:
        page = screen.page(document, bool(flags.get("opt_verbose")), following, hangs_on(result))
    return [*page[:1], *read, *page[1:]]


def _around(document: dict[str, Any]) -> str:
    """The life that the result is of; or its data or maintenance, where no other phase is there."""
    if "life" in document:
        return "life"
    phases = [p for p in ("data", "pretrain", "finetune", "serve", "maintain", "pay") if p in document]
    return phases[0] if phases in (["data"], ["maintain"]) else ""
