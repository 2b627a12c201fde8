"""What a sum of money allows, rung by rung from using a model to making one; every machine rung is a plan that runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlay.advise import afford_api as api
from outlay.advise import afford_scratch as scratch
from outlay.advise.afford_ask import Ask, Settings, settings, taken
from outlay.advise.afford_fleets import Offer, Planner, Work, cheapest, offers, remembered
from outlay.catalog import Catalog, Entry
from outlay.derive import derive

YEAR_S = 31_557_600.0
STEP = 0.7  # of published models nearer in size than this only one is tried
# least and usual bytes a parameter, least FLOP an active parameter and token
TUNED = {"lora": (2.0, 3.2, 4.0), "full-finetune": (4.0, 17.0, 6.0), "continued-pretraining": (4.0, 17.0, 6.0)}
NEXT = {"lora": "full-finetune", "full-finetune": "continued-pretraining", "continued-pretraining": "from-scratch"}


def afford(ask: Ask, catalog: Catalog, planner: Planner) -> dict[str, Any]:
    """`{budget_usd, rungs: [...], assumptions}`, rungs in order from an API call to a model of one's own."""
    chosen = settings(ask, catalog)
    candidates, planner = offers(catalog, ask.fleet, ask.budget_usd), remembered(planner)
    models = [catalog.find("model", ask.model)] if ask.model else sizes(catalog)
    rungs = [api.call(chosen, catalog), api.tune(chosen, catalog)]
    rungs += [tuned(rung, chosen, models, candidates, planner) for rung in TUNED]
    rungs.append(scratch.rung(chosen, catalog, candidates, planner))
    wide = offers(catalog, ask.fleet)  # the next rung may need more than the money rents
    for found in rungs:
        _people(found, catalog)
        found["up"] = _up(found, rungs, chosen, catalog, wide, planner)
    tried = {"what": "models tried", "value": len(models),
             "why": "published models, one of each size: of those near each other the one that most providers sell",
             "source": "catalogue: model, token_prices"}
    return {"budget_usd": ask.budget_usd, "fleet": ask.fleet, "deadline_s": chosen.deadline_s, "rungs": rungs,
            "devices": [offer.device for offer in candidates], "assumptions": [*chosen.assumed, tried]}


def sizes(catalog: Catalog) -> list[Entry]:
    """Published models, largest first, one of each size: of those within a step the one that most providers sell."""
    from collections import Counter

    from outlay.catalog.token_prices import offers as sold

    sellers = Counter(offer.first.serves for offer in sold(catalog.date) if not offer.first.deprecated)
    found = sorted((e for e in catalog.entries("model") if "hf_id" in e and "parameters" in e),
                   key=lambda e: -float(e.value("parameters")))
    kept: list[Entry] = []
    while found:
        least = STEP * float(found[0].value("parameters"))
        near = [e for e in found if float(e.value("parameters")) > least]
        kept.append(max(near, key=lambda e: (sellers[e.id], float(e.value("parameters")))))
        found = found[len(near):]
    return kept


# ---------------------------------------------------------------- fine-tuning and continued pre-training

def tuned(rung: str, chosen: Settings, models: Sequence[Entry], candidates: list[Offer],
          planner: Planner) -> dict[str, Any]:
    """The largest published model that this rung can be done to within the money and the time.

    Sizes are tried by halving what is left of the list, as a larger model takes more.
    """
    tokens = chosen.continue_tokens if rung == "continued-pretraining" else chosen.tune_tokens
    works = [work_of(rung, entry, tokens, chosen) for entry in models]
    budget = chosen.ask.budget_usd
    likely = [i for i, work in enumerate(works) if min(map(work.least_usd, candidates), default=budget) <= budget]
    low, high, best = 0, len(likely) - 1, None
    while low <= high:
        middle = (low + high) // 2
        if cheapest(works[likely[middle]], candidates, planner, budget, first=True) is None:
            low = middle + 1
        else:
            best, high = likely[middle], middle - 1
    found = None if best is None else cheapest(works[best], candidates, planner, budget, first=True)
    if best is None or found is None:
        return {"rung": rung, "able": False, "tokens": tokens,
                "why": "no published model's plan stays within the money and the time"}
    return {"rung": rung, "able": True, "model": models[best].id, "tokens": tokens,
            "parameters": float(models[best].value("parameters")), **taken(found),
            "document": {**works[best].document, "fleet": found.fleet}}


def work_of(rung: str, entry: Entry, tokens: float, chosen: Settings) -> Work:
    """The scenario of one rung for one model, and the least it can take."""
    least_bytes, usual_bytes, least_flop = TUNED[rung]
    method = "lora" if rung == "lora" else "full"
    document: dict[str, Any] = {"model": entry.id, "finetune": {"method": method, "tokens": tokens, "epochs": 1}}
    if chosen.ask.site:
        document["site"] = chosen.ask.site
    active = float(entry.value("active_parameters", entry.value("parameters")))
    size = float(entry.value("parameters"))
    return Work(document, least_bytes * size, usual_bytes * size, least_flop * active * tokens, chosen.deadline_s)


# ---------------------------------------------------------------- people, ties, the next rung

def _people(found: dict[str, Any], catalog: Catalog) -> None:
    """Who does it, what they must know, what it costs beside, and what it ties one to."""
    entry = catalog.find("rung", found["rung"])
    found |= {"name": entry.name, "skill": entry.value("skill"), "tie": entry.value("tie"),
              "people": entry.fact("people").quantity()}
    found["lifetime_days"] = entry.fact("lifetime_days").quantity() if "lifetime_days" in entry else None
    elapsed = found.get("elapsed_s")
    found["people_usd"] = None if elapsed is None else derive(
        people_usd, "people beside", "USD", people=found["people"], elapsed_s=elapsed,
        usd_per_year=catalog.find("default", "people.usd_per_year").fact("value").quantity())


def people_usd(people: Any, elapsed_s: Any, usd_per_year: Any) -> Any:
    """People at work for the time a run takes, at what an employer pays a year."""
    return people * elapsed_s / YEAR_S * usd_per_year


def _up(found: Mapping[str, Any], rungs: Sequence[Mapping[str, Any]], chosen: Settings, catalog: Catalog,
        candidates: list[Offer], planner: Planner) -> dict[str, Any] | None:
    """What the next rung would need: for the same model where there is one, else for its smallest answer."""
    order = [r["rung"] for r in rungs]
    at = order.index(found["rung"])
    if at + 1 == len(order):
        return None
    after = rungs[at + 1]
    if "model" not in found or found["rung"] not in NEXT:
        usd = after.get("usd") or (api.least_tuning(chosen, catalog) if after["rung"] == "api-finetune" else None)
        return {"rung": after["rung"], "usd": usd, "able": after["able"]}
    entry = catalog.find("model", str(found["model"]))
    if after.get("model") == entry.id:
        return {"rung": after["rung"], "model": entry.id, "usd": after["usd"], "able": True}
    if after["rung"] == "from-scratch":
        work = scratch.work_of(float(entry.value("parameters")), chosen, catalog, entry.id)
    else:
        tokens = chosen.continue_tokens if after["rung"] == "continued-pretraining" else chosen.tune_tokens
        work = work_of(after["rung"], entry, tokens, chosen)
    answer = cheapest(work, candidates, planner, first=True)
    if answer is None:
        return {"rung": after["rung"], "model": entry.id, "usd": None, "able": False}
    return {"rung": after["rung"], "model": entry.id, "usd": answer.usd, "fleet": answer.fleet,
            "elapsed_s": answer.elapsed_s, "able": answer.usd.value <= chosen.ask.budget_usd}
