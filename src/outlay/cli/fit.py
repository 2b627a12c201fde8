"""`outlay fit`: what this hardware can do with this model."""

from __future__ import annotations

from typing import Any

import click

from outlay.cli.options import ANSWERS, FIELDS, Shared, shared_flags

_KEPT = ("--json", "--md", "-o", "-q", "--catalog", "--prices")
_DROPPED = tuple(flag.spellings[0] for flag in (*FIELDS, *ANSWERS) if not set(flag.spellings) & set(_KEPT))


@click.command(cls=Shared, name="fit", short_help="What this hardware can do with a model.")
@click.argument("subject", required=False)
@click.option(
    "-g",
    "--fleet",
    "fleets",
    multiple=True,
    required=True,
    metavar="FLEET",
    help="Devices: rtx-4090, 2xrtx-3090, 8xh100-sxm. Repeat it to compare.",
)
@shared_flags(*_DROPPED)
def command(subject: str | None, fleets: tuple[str, ...], **flags: Any) -> int:
    """Which precision, how long a context, how many users, how fast; what can be fine-tuned; what is enough.

    SUBJECT is a model name or id, a path to config.json or a .gguf. Without it, the largest models that run well.
    Leaves with 0 when the model runs on one of the fleets, 1 when on none, 2 on bad input.

    \b
    outlay fit llama-3.1-8b -g rtx-4090
    outlay fit qwen3-32b -g rtx-5090 -g 2xrtx-3090 -g l40s
    outlay fit -g rtx-3060-12gb
    """
    from outlay.catalog import load
    from outlay.cli.answer import check_outputs, form_of, to_json, write, write_blocks
    from outlay.cli.ask import plan_options
    from outlay.cli.shell import NO, YES
    from outlay.planner import fit
    from outlay.report import fitting
    from outlay.result import plain_values

    check_outputs(flags)
    catalog = load(tuple(plan_options(flags).get("extra", ())))
    if subject is None:
        found = plain_values([fit.fit_fleet(fleet, catalog) for fleet in fleets])
        document: dict[str, Any] = {"fleets": found}
        able = any(fleet["models"] for fleet in found)
    else:
        found = plain_values([fit.fit_model(subject, fleet, catalog) for fleet in fleets])
        document = {
            "model": subject,
            "fleets": found,
            "smallest": plain_values(fit.smallest(subject, catalog)),
        }
        able = any(fleet["best"] for fleet in found)
    if form_of(flags) == "json":
        write(to_json(document) + "\n", flags)
    elif subject is None:
        write_blocks(fitting.fleet_page(found), flags)
    else:
        blocks = fitting.model_page(found, subject, document["smallest"], found[0]["parameters"])
        write_blocks(blocks[:1] if flags.get("opt_quiet") else blocks, flags)
    return YES if able else NO
