"""How high a model stands for whom: what training, tuning and serving it takes, in years of each persona's budget."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlay.advise import afford_scratch as scratch
from outlay.advise.afford import work_of
from outlay.advise.afford_ask import Settings, taken
from outlay.advise.afford_fleets import Answer, Offer, Planner, Work, cheapest, offers, remembered
from outlay.catalog import Catalog, Entry
from outlay.derive import Quantity, derive

BYTES_TO_SERVE = (1.0, 2.4)  # a parameter, at least and as a rule: 8 bits, and 16 bits with a cache beside
SERVED = {"concurrency": 8, "input": 1000, "output": 250}
YEAR_HOURS = 8766


def barrier(model: str, chosen: Settings, catalog: Catalog, planner: Planner) -> dict[str, Any]:
    """`{model, tasks: [{task, usd, fleet, elapsed_s, years: {persona: Q}}], personas}`."""
    entry = catalog.find("model", model, "model")
    candidates, planner = offers(catalog, chosen.ask.fleet), remembered(planner)
    budgets = {e.id: e.fact("budget_usd_per_year").quantity() for e in catalog.entries("persona")}
    order = sorted(budgets, key=lambda name: budgets[name].value)
    tasks = [_task(task, work, candidates, planner, {name: budgets[name] for name in order})
             for task, work in _works(entry, chosen, catalog).items()]
    return {"model": entry.id, "parameters": float(entry.value("parameters")), "tasks": tasks,
            "personas": [{"id": name, "name": catalog.find("persona", name).name, "budget_usd_per_year": budgets[name]}
                         for name in order]}


def _works(entry: Entry, chosen: Settings, catalog: Catalog) -> dict[str, Work]:
    """What may be done with a model, from least to most."""
    size = float(entry.value("parameters"))
    serve: dict[str, Any] = {"model": entry.id, "serve": {"workload": SERVED, "hours": YEAR_HOURS}}
    if chosen.ask.site:
        serve["site"] = chosen.ask.site
    return {
        "serve it for a year": Work(serve, BYTES_TO_SERVE[0] * size, BYTES_TO_SERVE[1] * size, 0.0, float("inf")),
        "LoRA": work_of("lora", entry, chosen.tune_tokens, chosen),
        "full fine-tune": work_of("full-finetune", entry, chosen.tune_tokens, chosen),
        "continued pre-training": work_of("continued-pretraining", entry, chosen.continue_tokens, chosen),
        "train it from scratch": scratch.work_of(size, chosen, catalog, entry.id, chosen.ask.tokens_per_parameter),
    }


def _task(task: str, work: Work, candidates: list[Offer], planner: Planner,
          budgets: Mapping[str, Quantity]) -> dict[str, Any]:
    answer: Answer | None = cheapest(work, candidates, planner)
    if answer is None:
        return {"task": task, "able": False, "why": "no plan fits on the candidate devices in time"}
    run = work.document.get("finetune") or work.document.get("pretrain") or {}
    return {"task": task, "able": True, "tokens": run.get("tokens"), **taken(answer), "years": {
        name: derive(budget_years, f"years of the budget of {name}", "yr", usd=answer.usd, budget_usd_per_year=budget)
        for name, budget in budgets.items()}}


def budget_years(usd: Any, budget_usd_per_year: Any) -> Any:
    """Money over the budget of a year."""
    return usd / budget_usd_per_year
