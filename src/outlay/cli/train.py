"""`outlay train`: plan the pretraining of a model."""

from __future__ import annotations

from typing import Any

import click

from outlay.cli.options import shared_flags
from outlay.cli.subjects import Launching


@click.command(cls=Launching, name="train", short_help="Plan the pretraining of a model.")
@click.argument("subject", required=False)
@shared_flags()
def command(subject: str | None, **flags: Any) -> int:
    """What pretraining takes: layout, memory, time, money, energy, carbon and water.

    SUBJECT is a model name or id, a path to a model's config.json, a scenario file, a result, or a training
    script; or put the script's own launch line after --.
    Leaves with 0 when it fits, 1 when it does not (or misses a deadline or budget), 2 on bad input.

    \b
    outlay train llama-3.1-8b -g 64xh100-sxm -n 1T
    outlay train llama-3.1-70b -g 512xh100-sxm -n 15T -s aws:us-east-1 --for money
    outlay train -f plan.yaml --vary precision=bf16,fp8
    """
    from outlay.cli.plan_verb import answer

    return answer(subject, flags, "pretrain")
