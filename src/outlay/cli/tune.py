"""`outlay tune`: plan the fine-tuning of a model."""

from __future__ import annotations

from typing import Any

import click

from outlay.cli.options import shared_flags
from outlay.cli.phase_fields import TUNE
from outlay.cli.subjects import Launching


def _flags(function: Any) -> Any:
    for flag, field, metavar, text in reversed(TUNE):
        function = click.option(flag, f"tune_{field}", metavar=metavar, help=text)(function)
    return function


@click.command(cls=Launching, name="tune", short_help="Plan the fine-tuning of a model.")
@click.argument("subject", required=False)
@_flags
@shared_flags("--device-hours")
def command(subject: str | None, **flags: Any) -> int:
    """What fine-tuning takes: will it fit, how long, at what cost.

    SUBJECT is a model name or id, a path to a model's config.json, a scenario file, a result, or a trainer's
    configuration; or put the trainer's own launch line after --.
    Leaves with 0 when it fits, 1 when it does not (or misses a deadline or budget), 2 on bad input.

    \b
    outlay tune llama-3.1-8b -g 1xrtx-4090 --method qlora --seq 2048 --examples 50k
    outlay tune llama-3.1-70b -g 8xh100-sxm --method lora --rank 16 --data chats.jsonl
    outlay tune qwen2.5-7b -g 1xrtx-3090 --vary method=lora,qlora
    outlay tune llama-3.1-8b -g 8xh100-sxm --method full --set finetune.tokens=20B --replay 0.1
    """
    from outlay.cli.plan_verb import answer

    flags.setdefault("opt_device_hours", None)
    flags["opt_set"] = (*_assignments(flags), *(flags.get("opt_set") or ()))
    return answer(subject, flags, "finetune")


def _assignments(flags: dict[str, Any]) -> list[str]:
    """The tune flags as --set would write them; --set itself comes after and wins."""
    found = []
    for _, field, _, _ in TUNE:
        value = flags.pop(f"tune_{field}", None)
        if value is None:
            continue
        if field == "target_modules" and not value.startswith("["):
            value = f"[{value}]"
        if field == "gradient_checkpointing":
            value = {"yes": "true", "no": "false"}.get(value.lower(), value)
        found.append(f"finetune.{field}={value}")
    return found
