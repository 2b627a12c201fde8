"""The flags every planning verb shares: each one is a field of the scenario, or says how to answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from msgspec import Struct


class Flag(Struct, frozen=True):
    """One flag: its spellings, where it goes in the scenario, and one line about it.

    `path` is a dotted path of the scenario; "{phase}" stands for the verb's own section. Empty: no field, the
    command itself reads it.
    """

    spellings: tuple[str, ...]
    path: str
    metavar: str
    help: str
    group: str = "Fields"
    many: bool = False
    switch: bool = False

    @property
    def name(self) -> str:
        """The keyword click hands the value over with."""
        return "opt_" + self.spellings[-1].lstrip("-").replace("-", "_")

    @property
    def short_path(self) -> str:
        """The name by which --set and --vary know the field."""
        return self.spellings[-1].lstrip("-").replace("-", "_")


WHERE, WHAT, LAYOUT, GOAL, MONEY = "Where", "What", "Layout", "Goal", "Money"
FILES, OUTPUT = "Scenario", "Output"

FIELDS: tuple[Flag, ...] = (
    Flag(("-g", "--fleet"), "fleet", "FLEET", "Devices: 64xh100-sxm, 8xh200-sxm, 256xtpu-v5p.", WHERE),
    Flag(("-s", "--site"), "site", "SITE", "Place: aws:eu-west-3, FR, a grid zone.", WHERE),
    Flag(("-n", "--tokens"), "{phase}.tokens", "N", "Training tokens, all epochs: 15T, 300B.", WHAT),
    Flag(("--seq",), "{phase}.sequence_length", "N", "Tokens a sequence: 8192, 8k.", WHAT),
    Flag(("--global-batch",), "{phase}.global_batch", "N", "Sequences a step.", WHAT),
    Flag(("-p", "--precision"), "{phase}.precision", "NAME", "bf16, fp8, nvfp4 …; serving: awq-int4, q4_k_m …", WHAT),
    Flag(("--optimizer",), "{phase}.optimizer", "NAME", "adamw, adamw-8bit, muon, sgd, adafactor.", WHAT),
    Flag(
        ("--framework",), "{phase}.framework", "NAME", "megatron, deepspeed, fsdp, torchtitan, maxtext.", WHAT
    ),
    Flag(
        ("--device-hours",),
        "{phase}.device_hours",
        "H",
        "Price a run already done instead of predicting it.",
        WHAT,
    ),
    Flag(("--tp",), "{phase}.layout.tensor", "N", "Tensor parallel degree.", LAYOUT),
    Flag(("--pp",), "{phase}.layout.pipeline", "N", "Pipeline stages.", LAYOUT),
    Flag(("--dp",), "{phase}.layout.data", "N", "Data parallel degree, all of it.", LAYOUT),
    Flag(("--ep",), "{phase}.layout.expert", "N", "Expert parallel degree.", LAYOUT),
    Flag(("--cp",), "{phase}.layout.context", "N", "Context parallel degree.", LAYOUT),
    Flag(("--vpp",), "{phase}.layout.virtual_pipeline", "N", "Model chunks a pipeline stage.", LAYOUT),
    Flag(("--zero",), "{phase}.layout.zero", "0..3", "ZeRO stage; 3 is FSDP full shard.", LAYOUT),
    Flag(("--micro-batch",), "{phase}.layout.micro_batch", "N", "Sequences a device holds at once.", LAYOUT),
    Flag(("--recompute",), "{phase}.layout.recompute", "NAME", "none, selective, full.", LAYOUT),
    Flag(("--for",), "goal.minimize", "GOAL", "What a search ranks by: time, money, energy, carbon.", GOAL),
    Flag(
        ("--deadline",), "goal.deadline", "TIME", "Finish within: 30d, 6w. Exit code 1 when it cannot.", GOAL
    ),
    Flag(("--budget",), "goal.budget", "USD", "Spend at most: 2M, 50k. Exit code 1 when it cannot.", GOAL),
    Flag(("--top-k",), "goal.top", "K", "How many of the best layouts to list.", GOAL),
    Flag(("--seed",), "seed", "N", "Seed of the draws behind every interval.", GOAL),
    Flag(("--currency",), "currency.code", "CODE", "Show money in it: EUR, GBP. Needs a rate.", MONEY),
    Flag(("--exchange-rate",), "currency.per_usd", "R", "Units of the currency for a dollar: 0.92.", MONEY),
    Flag(("--exchange-date",), "currency.as_of", "DATE", "The day of that rate: 2026-11-23.", MONEY),
    Flag(("--discount",), "fleet.discount", "SHARE", "Negotiated, off the listed price: 15%.", MONEY),
)

# Flags of a training run's layout and of its recipe, which other verbs leave out.
OF_LAYOUT = tuple(spelling for flag in FIELDS if flag.group == LAYOUT for spelling in flag.spellings)
OF_TRAINING = ("--tokens", "--seq", "--global-batch", "--optimizer", "--framework", "--device-hours", *OF_LAYOUT)

ANSWERS: tuple[Flag, ...] = (
    Flag(
        ("-f", "--file"),
        "",
        "FILE",
        "Read a scenario (YAML, TOML, JSON, a result); - is standard input.",
        FILES,
    ),
    Flag(
        ("--set",),
        "",
        "PATH=VALUE",
        "Set any field: --set pretrain.layout.shard=8. Repeatable.",
        FILES,
        many=True,
    ),
    Flag(
        ("--vary",),
        "",
        "PATH=A,B,C",
        "Plan each value and put them side by side. Repeatable.",
        FILES,
        many=True,
    ),
    Flag(("--cluster",), "", "WHERE", "Where --vary plans: local, local:4, auto, ray://host:10001.", FILES),
    Flag(("--save",), "", "FILE", "Write the scenario asked about, to use with -f.", FILES),
    Flag(
        ("--catalog",), "", "FOLDER", "A folder of catalogue rows of your own. Repeatable.", FILES, many=True
    ),
    Flag(("--prices",), "", "FILE", "Prices or exchange rates of your own. Repeatable.", FILES, many=True),
    Flag(("--budget-file",), "", "FILE", "Limits by total, phase or phase.item; 1 when one is broken.", MONEY),
    Flag(("--tag",), "", "KEY=VALUE", "Put a tag on every line: team=search. Repeatable.", MONEY, many=True),
    Flag(("--json",), "", "", "The whole result as JSON.", OUTPUT, switch=True),
    Flag(("--csv",), "", "", "The lines, one a row.", OUTPUT, switch=True),
    Flag(("--md",), "", "", "The screen as Markdown.", OUTPUT, switch=True),
    Flag(
        ("-o", "--output"),
        "",
        "FILE",
        "Write there, whole or not at all; .json .csv .md choose the form.",
        OUTPUT,
    ),
    Flag(("-q", "--quiet"), "", "", "Only the verdict.", OUTPUT, switch=True),
    Flag(("-v", "--verbose"), "", "", "Every assumption, every part.", OUTPUT, switch=True),
)


# flags as benchmark clients and engines spell them, and ours; of use where a command has ours and not theirs
ELSEWHERE = {
    "--gpu": "--fleet", "--gpus": "--fleet", "--device": "--fleet", "--devices": "--fleet",
    "--isl": "--in", "--input-len": "--in", "--random-input-len": "--in", "--input": "--in",
    "--osl": "--out", "--output-len": "--out", "--random-output-len": "--out",
    "--request-rate": "--rate", "--max-concurrency": "--concurrency", "--batch-size": "--batch",
    "--model-len": "--max-model-len", "--context-length": "--max-model-len",
    "--kv-dtype": "--kv", "--dtype": "--precision", "--quantization": "--precision",
    "--expert-parallel-size": "--ep", "--lora-rank": "--rank", "--region": "--site",
}

SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def _ours(word: str, known: set[str]) -> str:
    """A word of a command line, another tool's flag in our spelling where that is one of the command's.

    >>> _ours("--isl=512", {"--in"}), _ours("--isl", {"--isl", "--in"}), _ours("--isl", set())
    ('--in=512', '--isl', '--isl')
    """
    flag, equals, value = word.partition("=")
    own = ELSEWHERE.get(flag, flag)
    return own + equals + value if flag not in known and own in known else word


class Shared(click.Command):
    """A command whose help lists its flags by what they are about."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # a command keeps the help flags of its first call: the same ones with and without the group around it
        kwargs["context_settings"] = SETTINGS | (kwargs.get("context_settings") or {})
        super().__init__(*args, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {spelling for parameter in self.get_params(ctx) for spelling in parameter.opts}
        return super().parse_args(ctx, [_ours(word, known) for word in args])

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        known = {f.name: f.group for f in (*FIELDS, *ANSWERS)}
        mine = str(ctx.info_name).rpartition(" ")[2].capitalize()  # the flags that only this verb has
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                own = "Other" if "--help" in parameter.opts else mine
                groups.setdefault(known.get(parameter.name or "", own), []).append(record)
        for group in (WHERE, mine, WHAT, LAYOUT, GOAL, MONEY, FILES, OUTPUT, "Other"):
            if group in groups:
                with formatter.section(group):
                    formatter.write_dl(groups[group], col_max=26)


def _option(flag: Flag) -> Callable[[Any], Any]:
    names = (*flag.spellings, flag.name)
    if flag.switch:
        return click.option(*names, is_flag=True, help=flag.help)
    return click.option(
        *names, metavar=flag.metavar, help=flag.help, multiple=flag.many, default=() if flag.many else None
    )


def shared_flags(*leave_out: str) -> Callable[[Any], Any]:
    """Every shared flag on one command, apart from the spellings named."""

    def add(function: Any) -> Any:
        for flag in reversed((*FIELDS, *ANSWERS)):
            if not set(flag.spellings) & set(leave_out):
                function = _option(flag)(function)
        return function

    return add
