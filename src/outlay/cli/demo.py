"""`outlay demo`: one screen about a real model, in the five parts in which such models are a burden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from outlay.cli.options import Shared

if TYPE_CHECKING:
    from outlay.result import Result

# Llama 3.1 405B as its makers describe it: 15.6T tokens on 16,384 H100-80GB (arXiv:2407.21783).
SCENARIO: dict[str, Any] = {
    "name": "Llama 3.1 405B from scratch",
    "model": "llama-3.1-405b",
    "fleet": {"device": "h100-sxm5-80gb", "devices": 16384},
    "site": "aws:us-east-1",
    "pretrain": {"tokens": "15.6T", "sequence_length": 8192},
}
# What its makers say it took: meta-llama/llama-models, models/llama3_1/MODEL_CARD.md, read 2026-11-23.
REPORTED = "its makers report 30.84M (Llama 3.1 model card)"
OTHERS: tuple[tuple[str, str, Any], ...] = (
    ("owned, not rented", "fleet.tenure", "own"),
    ("in Sweden, aws:eu-north-1", "site", "aws:eu-north-1"),
    ("in France, aws:eu-west-3", "site", "aws:eu-west-3"),
    ("in India, aws:ap-south-1", "site", "aws:ap-south-1"),
)
# What serving it and its small siblings takes: fleets whose replicas are about half to two thirds full under this load.
SERVED: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("llama-3.1-405b", "32xh100-sxm", {"precision": "fp8", "tensor": 8}),
    ("llama-3.1-70b", "8xh100-sxm", {"precision": "fp8", "tensor": 4}),
    ("llama-3.1-8b", "4xrtx-4090", {"precision": "fp8"}),
)
LOAD: dict[str, Any] = {"users": 5000, "input": 1024, "output": 256}
# Who can still make it theirs: the same model and its small siblings, once over a usual set of instructions.
TUNED: tuple[tuple[str, str, str], ...] = (
    ("llama-3.1-405b", "lora", "16xh200-sxm"),
    ("llama-3.1-405b", "qlora", "8xh100-sxm"),
    ("llama-3.1-70b", "qlora", "1xh100-sxm"),
    ("llama-3.1-8b", "lora", "1xrtx-4090"),
)
ROWS: dict[str, Any] = {"examples": "50k", "epochs": 1, "sequence_length": 2048, "gradient_checkpointing": True}


@click.command(cls=Shared, name="demo", short_help="One screen: what a real model takes, from scratch.")
@click.option("--json", "opt_json", is_flag=True, help="The results behind the screen as JSON.")
@click.option("--md", "opt_md", is_flag=True, help="The screen as Markdown.")
@click.option("-o", "--output", "opt_output", metavar="FILE", help="Write there, whole or not at all.")
def command(**flags: Any) -> int:
    """What a real model takes, in five parts: compute, money, energy and environment, deployment, access.

    Plans Llama 3.1 405B on 15.6T tokens from scratch, the same in other places, serving it to people, fine-tuning it.
    """
    from outlay.cli.answer import check_outputs, form_of, to_json, write, write_blocks
    from outlay.report.demo import page

    check_outputs(flags)
    found = results()
    if form_of(flags) == "json":
        write(to_json(found) + "\n", flags)
    else:
        write_blocks(page(found), flags)
    return 0


def results() -> dict[str, Any]:
    """The plan itself and what other choices make of it."""
    from outlay.api import plan
    from outlay.cli.progress import waiting

    with waiting("planning"):
        first = plan(SCENARIO)
        others = {name: _elsewhere(first, path, value) for name, path, value in OTHERS}
        served = [_served(model, fleet, how) for model, fleet, how in SERVED]
        tuned = [_tuned(model, method, fleet) for model, method, fleet in TUNED]
    return {"base": first.to_dict(), "others": others, "served": served, "tuned": tuned, "reported": REPORTED}


def _served(model: str, fleet: str, how: dict[str, Any]) -> dict[str, Any]:
    """One way to serve it on the demo's site: what a line of the page shows."""
    from outlay.api import plan
    from outlay.result import plain_values

    how = {"engine": "vllm", "max_model_len": 8192, **how, "workload": LOAD}
    phase = plan({"model": model, "fleet": fleet, "site": SCENARIO["site"], "serve": how}).phases["serve"]
    kept = ("verdict", "load", "users", "rate", "ttft_s", "ttft_p99_s", "tpot_s", "energy_per_output_token_j")
    shown = {name: phase.get(name) for name in (*kept, "usd_per_million_output_tokens")}
    values: dict[str, Any] = plain_values(shown)
    return {"model": model, "precision": how["precision"], "fleet": fleet, "work": LOAD, **values}


def _tuned(model: str, method: str, fleet: str) -> dict[str, Any]:
    """One way to fine-tune on the demo's site: what a line of the page shows."""
    from outlay.api import plan
    from outlay.result import plain_values

    asked = {"model": model, "fleet": fleet, "site": SCENARIO["site"], "finetune": {"method": method, **ROWS}}
    result = plan(asked)
    phase = result.phases["finetune"]
    kept = ("verdict", "memory_per_device_bytes", "elapsed_s", "trainable_parameters")
    shown = {name: phase.get(name) for name in kept} | {"usd": result.totals.get("usd")}
    values: dict[str, Any] = plain_values(shown)
    return {"model": model, "method": method, "fleet": fleet, "rows": ROWS, **values}


def _elsewhere(first: Result, path: str, value: Any) -> dict[str, Any]:
    """The same use valued in another place or tenure, neither of which changes what is used; what a row shows."""
    from outlay.account import account, totals
    from outlay.catalog import load
    from outlay.resolve import resolve
    from outlay.result import plain_values
    from outlay.scenario_io import scenario_from, set_path

    rates = resolve(scenario_from(set_path(SCENARIO, path, value)), load()).rates
    assert rates is not None
    used = [line.usage for line in first.lines if "overhead" not in line.usage.tags]
    elapsed = {"elapsed_s": first.phases["pretrain"]["elapsed_s"]}
    sums: dict[str, Any] = plain_values({"pretrain": elapsed, "totals": totals(account(used, rates))})
    return sums
