"""`outlay serve`: plan the serving of a model."""

from __future__ import annotations

from typing import Any

import click

from outlay.cli.options import OF_TRAINING, shared_flags
from outlay.cli.phase_fields import SERVE, SWITCHES, TABLES, tables_asked
from outlay.cli.subjects import Launching

PERCENTILE, LISTED = "slo.percentile", "options.devices"
NOT_SHARED = (*OF_TRAINING, "--deadline", "--top-k")


def _flags(function: Any) -> Any:
    for spellings, field, metavar, text in reversed(SERVE):
        name = "serve_" + field.replace(".", "__")
        function = click.option(*spellings, name, metavar=metavar, help=text)(function)
    for name, what in reversed(TABLES.items()):
        function = click.option(f"--{name}-file", f"table_{name}", metavar="FILE", help=what)(function)
    for flags, name, text in SWITCHES:
        function = click.option(flags, f"serve_{name}", is_flag=True, default=None, help=text)(function)
    return function


@click.command(cls=Launching, name="serve", short_help="Plan the serving of a model.")
@click.argument("subject", required=False)
@_flags
@shared_flags(*NOT_SHARED)
def command(subject: str | None, **flags: Any) -> int:
    """What serving takes: memory, latency and throughput under a load, devices, money, energy and carbon.

    SUBJECT is a model name or id, a path to config.json or a .gguf, a scenario file or a result; or put an
    engine's own launch line after --. Leaves with 0 when it fits, sustains the load and keeps its promises, 1 when
    it does not, 2 on bad input.

    Without -g every device that can be rented is planned under the load, and the cheapest that keeps the promises
    is named.

    \b
    outlay serve llama-3.1-70b --users 2000 --ttft 500ms --tpot 50ms --at p99
    outlay serve llama-3.1-8b -g rtx-4090 -p fp8 --max-model-len 16k
    outlay serve llama-3.1-70b -g 4xh100-sxm --tp 4 --kv fp8 --users 500 --ttft 1s --tpot 50ms
    outlay serve llama-3.1-8b -g 2xh100-sxm --trace requests.csv --requests-file replayed.csv
    outlay serve -g 8xh200-sxm -- vllm serve deepseek-ai/DeepSeek-V3 --tensor-parallel-size 8
    """
    from outlay.cli.plan_verb import answer

    flags["opt_set"] = (*assignments(flags), *(flags.get("opt_set") or ()))
    return answer(subject, flags, "serve")


def assignments(flags: dict[str, Any]) -> list[str]:
    """The serve flags as --set would write them; --set itself comes after and wins."""
    found = []
    for _, field, _, _ in SERVE:
        value = flags.pop("serve_" + field.replace(".", "__"), None)
        if value is not None:
            if field == PERCENTILE:
                value = value.removeprefix("p").removeprefix("P")
            if field == LISTED:
                value = "[" + value + "]"
            found.append(f"serve.{field}={value}")
    if tables_asked(flags):
        found.append("serve.replay=true")  # what is printed is then of the very requests in the file
    for _, name, _ in SWITCHES:
        value = flags.pop(f"serve_{name}", None)
        if value is not None:
            found.append(f"serve.{name}={str(value).lower()}")
    return found
