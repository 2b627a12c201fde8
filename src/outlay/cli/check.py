"""`outlay check`: is a scenario file valid, and what does every default become."""

from __future__ import annotations

from typing import Any

import click

from outlay.cli.options import Shared, shared_flags


@click.command(cls=Shared, name="check", short_help="Is my scenario file valid? Prints it resolved.")
@click.argument("file", required=False, metavar="FILE")
@shared_flags("--vary", "--csv", "--md", "-q", "-v")
def command(file: str | None, **flags: Any) -> int:
    """Read a scenario, see that it can be planned, and print it with every default filled in.

    The resolved scenario goes to standard output (YAML, or JSON with --json): keep it and use it with -f.

    \b
    outlay check plan.yaml
    outlay check plan.yaml --set pretrain.layout.tensor=16
    """
    from outlay.api import check
    from outlay.cli.answer import check_outputs, form_of, save_scenario, to_json, to_yaml, write
    from outlay.cli.ask import PHASES, ask, plan_options, whole_scenario
    from outlay.cli.shell import say
    from outlay.errors import BadValue

    check_outputs(flags)
    if file is None and flags.get("opt_file") is None:
        raise BadValue("name a scenario file: outlay check plan.yaml", "FILE")
    document = whole_scenario(file, flags, "pretrain", asked=False)
    resolved = check(document, **plan_options(flags))
    if document.get("pretrain") is not None and not set(PHASES) - {"pretrain"} & set(document):
        ask(document, flags)  # a layout or batch that cannot be is found only by planning
    say("valid")
    write(to_json(resolved) + "\n" if form_of(flags) == "json" else to_yaml(resolved), flags)
    if flags.get("opt_save"):
        save_scenario(document, flags["opt_save"])
    return 0
