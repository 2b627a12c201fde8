"""The verbs: which exist, which file holds each, and what to say about those not built yet."""

from __future__ import annotations

from importlib import import_module

import click

from outlay.cli.options import SETTINGS
from outlay.errors import Unsupported, nearest

# verb -> (module, job, one line)
VERBS: dict[str, tuple[str, str, str]] = {
    "train": (
        "outlay.cli.train",
        "Plan",
        "Pretrain a model: layout, memory, time, money, energy, carbon, water.",
    ),
    "tune": ("outlay.cli.tune", "Plan", "Fine-tune a model: will it fit, how long, at what cost."),
    "serve": (
        "outlay.cli.serve",
        "Plan",
        "Serve a model: weights, cache, requests at once, one request's speed.",
    ),
    "data": ("outlay.cli.data", "Plan", "Data for a model: tokens and bytes by stage, cleaning, licences, storage."),
    "life": ("outlay.cli.life", "Plan", "A model's whole life: every phase by year and item, and its maintenance."),
    "fit": (
        "outlay.cli.fit",
        "Decide",
        "What this hardware can do with a model: run, fine-tune, train; what is enough.",
    ),
    "pay": ("outlay.cli.pay", "Decide", "The same work bought by use, on rented machines, on one's own."),
    "afford": ("outlay.cli.afford", "Decide", "What a sum of money allows; whose budget a model takes."),
    "compare": ("outlay.cli.compare", "Decide", "Plans beside each other, and what makes the difference."),
    "reconcile": ("outlay.cli.reconcile", "Measure", "A provider's bill beside the plan, both ways."),
    "calibrate": ("outlay.cli.calibrate", "Measure", "One's own benchmarks into factors that plans then follow."),
    "explain": ("outlay.cli.explain", "Trust", "Where a number comes from: formula, inputs, facts, papers."),
    "catalog": ("outlay.cli.catalog", "Trust", "The facts behind it all, each with source and date."),
    "validate": ("outlay.cli.validate", "Trust", "Predictions beside published measurements."),
    "check": (
        "outlay.cli.check",
        "Trust",
        "Is my scenario file valid? Prints it with every default filled in.",
    ),
    "report": ("outlay.cli.report", "Share", "A plan as a FOCUS file, lines, JSON or a page."),
    "batch": ("outlay.cli.batch", "Share", "One scenario a line in, one result a line out (JSON Lines)."),
    "demo": ("outlay.cli.demo", "Share", "One screen: what a real model takes, from scratch."),
}
JOBS = ("Plan", "Decide", "Measure", "Trust", "Share")

# Verbs of the design that have no engine yet -> what works today instead.
NOT_BUILT: dict[str, str] = {
    "reduce": "`outlay train … --for carbon` and `--vary field=a,b,c` find cheaper choices",
    "when": "`outlay train … --vary site=A,B` compares places",
    "run": "`outlay train … --device-hours H` prices a run already done",
    "ledger": "`outlay train … --csv` writes the lines of a plan",
    "agent": "`outlay batch` answers scenarios from other programs",
    "doctor": "`outlay catalog list device` shows the devices known",
    "web": "`outlay train … --json` and `outlay batch` feed other programs",
}


class Verbs(click.Group):
    """A group whose commands are imported only when one of them runs or is described."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in NOT_BUILT:
            raise Unsupported(
                f"`outlay {cmd_name}` is not built in this version; {NOT_BUILT[cmd_name]}", cmd_name
            )
        if cmd_name not in VERBS:
            return None
        command = import_module(VERBS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        command = self.get_command(ctx, name)
        if command is None:
            close = nearest(name, [*VERBS, *NOT_BUILT])
            hint = f"did you mean `outlay {close[0]}`?" if close else "`outlay` lists what it can do"
            raise click.UsageError(f"no command {name!r}; {hint}", ctx)
        return name, command, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for job in JOBS:
            with formatter.section(job):
                formatter.write_dl([(name, line) for name, (_, where, line) in VERBS.items() if where == job])


GUIDE = """\
outlay — what a large language model takes: compute, money, energy, carbon, water.

What do you want to know?
  What does training take?      outlay train llama-3.1-8b -g 64xh100-sxm -n 1T
  ... and in this place         outlay train llama-3.1-8b -g 64xh100-sxm -n 1T -s aws:eu-north-1
  What can this GPU do?         outlay fit llama-3.1-8b -g rtx-4090
  Will my fine-tune fit?        outlay tune llama-3.1-8b -g rtx-4090 --method qlora
  Will it serve?                outlay serve llama-3.1-8b -g rtx-4090 --max-model-len 8k
  Buy by use, rent or own?      outlay pay llama-3.3-70b --requests 3M/month --in 1200 --out 250
  How should I lay it out?      outlay train llama-3.1-70b -g 512xh100-sxm -n 15T --for money
  Can it be done in time?       outlay train llama-3.1-8b -g 64xh100-sxm -n 1T --deadline 9d
  What if I change one thing?   outlay train llama-3.1-8b -g 64xh100-sxm -n 1T --vary tp=1,2,4
  What does its data take?      outlay data -n 1T --dataset fineweb -s aws:us-east-1
  What does its life take?      outlay life --preset university-7b
  Is there one like me?         outlay life --preset list
  What can I afford?            outlay afford --budget 5000
  Why do two plans differ?      outlay compare before.yaml after.yaml
  What did my run take?         outlay train llama-3.1-8b -g 64xh100-sxm --device-hours 12000 -s FR
  Where does it come from?      outlay explain llama-3.1-8b -g 64xh100-sxm -n 1T device_hours
  How far off is it usually?    outlay validate
  What facts does it stand on?  outlay catalog show h100-sxm5-80gb
  Show me everything once       outlay demo

Every command takes --json, --csv, --md and -o FILE; `outlay VERB --help` lists its flags.
"""


@click.group(cls=Verbs, invoke_without_command=True, context_settings=SETTINGS)
@click.version_option(package_name="outlay", message="outlay %(version)s")
@click.pass_context
def outlay(ctx: click.Context) -> None:
    """What a large language model takes over its life: compute, money, energy, carbon, water.

    \b
    outlay VERB [SUBJECT] [-g FLEET] [-s SITE] [fields] [output]
    SUBJECT is a model name, a path to a model, a scenario file or a result.
    """
    if ctx.invoked_subcommand is None:
        click.echo(GUIDE, nl=False)
