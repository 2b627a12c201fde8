"""Ways to pay for a phase of training: rent the machines, own them, or let a provider tune by the token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from outlay.account import account
from outlay.derive import Quantity, add_all, derive, exact, value_of
from outlay.planner.pay.api import people_lines
from outlay.planner.pay.published import published_costs
from outlay.planner.pay.self_hosted import part_of
from outlay.planner.pay.way import way_values
from outlay.resolve.pay.phase import PayPhase
from outlay.resolve.pay.rates import YEARS, Tenure, api_rates
from outlay.resolve.pay.train import PublishedTerms, Tuning
from outlay.resolve.record import Resolved
from outlay.usage import Line, Usage
from outlay.valuation import money, ways
from outlay.valuation.energy import YEAR_S

WEEK_S = 604_800.0
CONTRACT = ("The prices under a contract and of owned machines are this run's part: they hold only if other work fills "
            "the rest of their time")


def training_ways(name: str, phase: PayPhase, resolved: Resolved, values: dict[str, Any], lines: Sequence[Line],
                  tenures: Sequence[Tenure], tunings: Sequence[Tuning], missing: Sequence[str],
                  terms: PublishedTerms | None = None, clouds: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The phase's own use, priced in each way; cheapest first.

    values: what the plan says of the phase; lines: all lines of the plan.
    """
    usages = [x.usage for x in lines if x.usage.phase == name and "overhead" not in x.usage.tags]
    notes = list(missing)
    if not usages:
        why = "does not fit on this fleet" if values.get("fits") is False else "has no length: give tokens or examples"
        return {"ways": [], "notes": [f"{name.capitalize()} {why}, so there is nothing to pay for"]}
    held = add_all("device-seconds", "s", *(u.quantity for u in usages if u.resource == "device_s"))
    elapsed = values.get("elapsed_s") or exact(0.0, "s", "elapsed")
    found = []
    for tenure in tenures:
        machines = _lines(usages, tenure, phase, resolved, values, held)
        more = {"commitment": tenure.commitment or None, "provider": tenure.provider or None, "model": None,
                "as_of": tenure.as_of or None, "source": tenure.basis, "upfront_usd": _acquisition(tenure, resolved),
                "definition": _definition(tenure),
                "signed_usd": _contract(tenure, resolved), "beyond_the_run": tenure.commitment in YEARS or
                tenure.kind == "own"}
        whole = machines + _people(phase, elapsed)
        found.append(way_values(tenure.name.capitalize(), tenure.kind, whole, None, **more))
    for tuning in tunings if name == "finetune" else ():
        found.append(_tuned(tuning, values, phase))
    found.sort(key=lambda w: (w["usd"] is None, w["beyond_the_run"], value_of(w["usd"]) if w["usd"] else 0.0))
    if any(w["beyond_the_run"] for w in found):
        notes.append(CONTRACT)
    devices = resolved.hardware.devices if resolved.hardware is not None else 0
    return {"definitions": published_costs(held, devices, [t for t in tenures if t.provider in clouds], terms),
            "device_hours": values.get("device_hours"), "elapsed_s": elapsed, "tokens": values.get("tokens"),
            "ways": found, "notes": notes}


def _definition(tenure: Tenure) -> str:
    """Which of the published definitions of a training cost this is (Cottier et al. 2024, arXiv:2405.21015)."""
    return "cloud" if tenure.kind == "rent" else "amortised; bought whole: acquisition"


def _lines(usages: Sequence[Usage], tenure: Tenure, phase: PayPhase, resolved: Resolved, values: dict[str, Any],
           held: Quantity) -> list[Line]:
    found = []
    for line in account([replace(u, tags=dict(u.tags)) for u in usages], tenure.rates):
        stored = line.usage.resource == "storage_byte_s"
        line.usage.tags["part"] = "storage" if stored else part_of(line, tenure.kind)
        found.append(line)
    if tenure.commitment == "spot" and resolved.hardware is not None:
        nodes = max(1.0, resolved.hardware.devices / resolved.hardware.devices_per_node)
        lost = derive(_lost, "time lost to interruptions", "", per_s=phase.interruptions_per_s, machines=nodes,
                      restart_s=phase.restart_s, interval_s=values.get("checkpoint_interval_s") or 0.0)
        extra = derive(_extra, "device-seconds lost to interruptions", "s", useful_s=held, lost=lost)
        usage = Usage(f"{usages[0].phase}.interruptions.device_s", usages[0].phase, "interruptions", "device_s",
                      "device", extra, "s", tags={"part": "interruptions"})
        found += [line for line in account([usage], tenure.rates) if line.usage.resource == "device_s"]
    return found


def _people(phase: PayPhase, elapsed: Quantity) -> list[Line]:
    """People for as long as the run takes, a week at the least."""
    month = people_lines(phase, "train")[0].usage
    held = derive(_for_the_run, "people, training", "s", full_time=phase.people["train"], elapsed_s=elapsed)
    return account([replace(month, quantity=held)], api_rates({"person_s": phase.usd_per_person_s},
                                                              "wage with benefits and taxes"))


def _tuned(tuning: Tuning, values: dict[str, Any], phase: PayPhase) -> dict[str, Any]:
    """A provider's fine-tuning by the token: all tokens of all epochs, or the least it charges."""
    tokens = values["tokens"]
    if not isinstance(tokens, Quantity):
        tokens = exact(float(tokens), "tokens", "training tokens, all epochs", basis="given")
    usd = derive(_at_least, "fine-tuning by the token", "USD", tokens=tokens, usd_per_token=tuning.usd_per_token,
                 least_usd=tuning.least_usd)
    usage = Usage("finetune.training-tokens.usd", "finetune", "training tokens", "usd", "facility", usd, "USD",
                  tags={"part": "training tokens"})
    basis = f"{tuning.name}, {tuning.as_of}"
    hours = exact(0.0, "s", "elapsed")
    lines = account([usage], api_rates({}, basis)) + _people(phase, hours)
    return way_values(f"API, {tuning.name}", "api", lines, None, provider=tuning.provider, model=tuning.model or None,
                      as_of=tuning.as_of, source=tuning.source, upfront_usd=None, signed_usd=None, beyond_the_run=False,
                      definition="by the token")


def _contract(tenure: Tenure, resolved: Resolved) -> Quantity | None:
    """What a contract commits to: all machines, all its time."""
    price = tenure.rates.usd_per_device_s
    if tenure.commitment not in YEARS or price is None or resolved.hardware is None:
        return None
    held = resolved.hardware.devices * YEARS[tenure.commitment] * YEAR_S
    whole: Quantity = derive(money.cost_usd, "the whole contract", "USD", amount=held, usd_per_unit=price)
    return whole


def _acquisition(tenure: Tenure, resolved: Resolved) -> Quantity | None:
    """The whole cluster bought: the definition "hardware acquired"."""
    owned = tenure.rates.owned
    if owned is None or resolved.hardware is None:
        return None
    price: Quantity = derive(money.cost_usd, "the whole cluster, bought", "USD",
                             amount=float(resolved.hardware.devices), usd_per_unit=owned.purchase_usd())
    return price


def _lost(per_s: Any, machines: Any, restart_s: Any, interval_s: Any) -> Any:
    """Any machine taken back stops the run: restart, and half a checkpoint interval done again."""
    return ways.interrupted_share(per_s * machines, restart_s + interval_s / 2.0)


def _extra(useful_s: Any, lost: Any) -> Any:
    """Time paid beside the useful time when a share of all is lost."""
    return useful_s * lost / (1.0 - lost)


def _for_the_run(full_time: Any, elapsed_s: Any) -> Any:
    """Full-time equivalents for the run, and for a week where it is shorter."""
    import numpy as np

    return full_time * np.maximum(elapsed_s, WEEK_S)


def _at_least(tokens: Any, usd_per_token: Any, least_usd: Any) -> Any:
    """Tokens at their price, or the least charge."""
    import numpy as np

    return np.maximum(tokens * usd_per_token, least_usd)
