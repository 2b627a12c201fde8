"""`outlay explain`: where a number comes from; a start-up log or a benchmark beside what was to be expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from outlay.cli.options import shared_flags
from outlay.cli.subjects import Launching

if TYPE_CHECKING:
    from outlay.result import Result


@click.command(cls=Launching, name="explain", short_help="Where a number comes from.")
@click.argument("subject", required=False)
@click.argument("number", required=False)
@click.option(
    "--depth", type=click.IntRange(1, 50), default=4, show_default=True, help="Levels of inputs to show."
)
@shared_flags("--vary", "--csv", "--md", "--save")
def command(subject: str | None, number: str | None, depth: int, **flags: Any) -> int:
    """Walk a number down to formulas, inputs, catalogue rows and papers; or explain a log or a benchmark.

    SUBJECT is what `outlay train` takes; without NUMBER, the numbers that can be asked are listed. A start-up
    log of vLLM, SGLang, llama.cpp or TensorRT-LLM (- is standard input) is laid beside what was to be expected,
    and so is a result of vllm bench serve, SGLang's bench_serving, guidellm, aiperf or
    genai-perf.

    \b
    outlay explain llama-3.1-8b -g 64xh100-sxm -n 1T
    outlay explain llama-3.1-8b -g 64xh100-sxm -n 1T device_hours
    outlay explain server.log -g 2xh100-sxm
    outlay explain benchmark.json -g 1xh100-sxm
    """
    from outlay.cli.answer import check_outputs, form_of, to_json, write
    from outlay.cli.ask import ask, scenario_of, whole_scenario
    from outlay.cli.explain_bench import bench_of, explain_bench
    from outlay.cli.explain_log import explain_log, log_of
    from outlay.cli.subjects import launch_words
    from outlay.report import lineage

    check_outputs(flags)
    if number is None and (bench := bench_of(subject)) is not None:
        return explain_bench(bench, flags)
    if number is None and (log := log_of(subject)) is not None:
        return explain_log(log, flags)
    if (flags.get("opt_file") or launch_words()) and subject is not None and number is None:
        subject, number = None, subject  # with -f or a launch line the only argument is the number
    phase = _phase(subject, flags)
    whole = whole_scenario(subject, flags, phase, asked=False) if phase == "life" else None
    result = ask(whole or scenario_of(subject, flags, phase), flags)
    as_json = form_of(flags) == "json"
    if number is None:
        names = _names(result, bool(flags.get("opt_verbose")))
        text = (
            to_json([{"number": n, **result.explain(n).to_dict()} for n in names])
            if as_json
            else (lineage.listing([(n, result.explain(n)) for n in names]))
        )
        write(text + "\n", flags)
        return 0
    quantity = result.explain(number)
    everything = bool(flags.get("opt_verbose"))
    write(
        (
            to_json(lineage.tree(quantity))
            if as_json
            else lineage.text(quantity, 50 if everything else depth, everything)
        )
        + "\n",
        flags,
    )
    return 0


def _phase(subject: str | None, flags: dict[str, Any]) -> str:
    """What is meant: the life the scenario has, else a phase that it has or a flag sets, else training."""
    from outlay.cli.ask import PHASES, whole_scenario

    document = whole_scenario(subject, flags, "pretrain", asked=False)
    found = [phase for phase in ("life", *PHASES) if document.get(phase) is not None]
    return found[0] if found else "pretrain"


def _names(result: Result, all_of_them: bool) -> list[str]:
    """The numbers that can be asked for; those of single lines only with -v."""
    return [n for n in result.names() if all_of_them or not n.startswith("lines.")]
