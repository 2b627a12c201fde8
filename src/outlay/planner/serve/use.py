"""What a deployment consumes: device-seconds and joules by what the devices do, then accounted; and unit prices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec.structs import replace

from outlay.account import account, power_unknown
from outlay.derive import Quantity, derive, exact, value_of
from outlay.physics import goodput as gp
from outlay.planner.serve.sums import HOUR_S
from outlay.planner.serve.times import Traffic
from outlay.planner.use import device_usage
from outlay.resolve.record import Resolved
from outlay.resolve.workload import Asked
from outlay.usage import Line, Scope, Usage

PHASE = "serve"
ITEMS = ("prefill", "decode", "waiting")
WATTS = {"prefill": "prefill_w", "decode": "decode_w", "waiting": "idle_w"}
LEFT_OVER = "idle-devices"
MILLION = 1e6
MONTH_S = 2629800.0
RULE = "cost by the devices' time: prompts and waiting beside them to input tokens, the rest to output tokens"


def duration(asked: Asked, traffic: Traffic, e2e: Quantity | None) -> Quantity | None:
    """How long the deployment is kept: the hours asked, or what its requests take; None where nothing says."""
    if asked.hours is not None:
        hours: Quantity = derive(_seconds, "time in service", "s", hours=asked.hours)
        return hours
    if asked.requests is not None:
        least = e2e if asked.kind == "open" else None
        time: Quantity = derive(
            _work_time,
            "time for the requests",
            "s",
            requests=asked.requests - (asked.trace is not None),
            rate_per_s=traffic.requests_per_s,
            last_s=0.0 if least is None else least,
        )
        return time
    return e2e


def serving_lines(
    resolved: Resolved, traffic: Traffic, kept: Quantity, devices: Any, watts: Mapping[str, Quantity], idle: int = 0,
    run: str = "",
) -> list[Line]:
    """Lines of the devices in use by what they do, and of those that the layout leaves over.

    watts: power by phase as `serve_energy.power_values` names it; empty where it is not known. run: a name for these
    devices, where others at another price are told beside them.
    """
    rates = resolved.rates
    assert rates is not None
    usages: list[Usage] = []
    measured = resolved.power is not None and resolved.power.measured_it_w is not None
    scope: Scope = "node" if measured else "device"
    shares: tuple[Any, ...] = (traffic.prompt_share, traffic.busy_share - traffic.prompt_share,
                               1.0 - traffic.busy_share)
    if watts:  # the phases power was found for, so that lines add up to the energy of a token
        shares = tuple(watts[WATTS[item].replace("_w", "_share")] for item in ITEMS)
    whole = derive(gp.device_s, "device-seconds in service", "s", elapsed_s=kept, devices=devices)
    for item, share in zip(ITEMS, shares, strict=True):
        if value_of(share) > 0.0:
            held = derive(_share, f"device-seconds, {item}", "s", whole=whole, share=share)
            power = watts.get(WATTS[item])
            usages += device_usage(item, held, power, scope, 0.0, kept.value, resolved.place, PHASE)
    if idle:
        held = derive(gp.device_s, "device-seconds of devices left over", "s", elapsed_s=kept, devices=idle)
        power = watts.get(WATTS["waiting"])
        usages += device_usage(LEFT_OVER, held, power, scope, 0.0, kept.value, resolved.place, PHASE)
    if run:
        usages = [replace(u, id=f"{PHASE}.{run}{u.id.removeprefix(PHASE)}", tags={**u.tags, "run": run})
                  for u in usages]
    return account(usages, rates)


def unit_prices(
    asked: Asked, traffic: Traffic, kept: Quantity, lines: list[Line], users: Quantity | None = None
) -> dict[str, Any]:
    """Money, energy and carbon over what was answered; the split of money between tokens names its rule.

    users: people active in the busiest hour, each of whom a month of the deployment is shared by.
    """
    requests = derive(_answered, "requests answered", "requests", kept_s=kept, rate_per_s=traffic.requests_per_s)
    if asked.requests is not None and asked.hours is None:  # the last one's stay adds time and no request
        requests = exact(asked.requests, "requests", "requests answered", basis="given")
    answered = derive(_tokens, "output tokens answered", "tokens", requests=requests, tokens=asked.output)
    found: dict[str, Any] = {"output_tokens": answered, "requests": requests, "duration_s": kept}
    usd = _sum([x.usd for x in lines], "money", "USD")
    dark = power_unknown(lines)  # then the joules there are say nothing of the devices
    energy = None if dark else _sum([x.energy_j for x in lines], "facility energy", "J")
    carbon = None if dark else _sum([x.co2e_operational_kg + x.co2e_embodied_kg for x in lines], "carbon", "kg")
    found["usd_per_million_output_tokens"] = _each(
        usd, answered, MILLION, "money per million output tokens", "USD"
    )
    found["usd_per_request"] = _each(usd, requests, 1.0, "money per request", "USD")
    found["co2e_per_request_kg"] = _each(carbon, requests, 1.0, "carbon per request", "kg")
    found["usd_per_user_month"] = (
        derive(_per_user_month, "money per user and month", "USD", usd=usd, kept_s=kept, users=users)
        if usd is not None and users is not None and users.value > 0 and kept.value > 0
        else None
    )
    found["facility_energy_per_output_token_j"] = _each(
        energy, answered, 1.0, "facility energy per output token", "J"
    )
    found["co2e_per_million_output_tokens_kg"] = _each(
        carbon, answered, MILLION, "carbon per million output tokens", "kg"
    )
    return found | _allocated(asked, traffic, usd, requests)


def _allocated(asked: Asked, traffic: Traffic, usd: Quantity | None, requests: Quantity) -> dict[str, Any]:
    busy = max(traffic.busy_share, 1e-12)
    prompts = traffic.prompt_share / busy
    fresh, cached = asked.input * (1.0 - asked.prefix_hit), asked.input * asked.prefix_hit
    names = {"input": (prompts, fresh), "cached": (0.0, cached), "output": (1.0 - prompts, asked.output)}
    found: dict[str, Any] = {"allocation_rule": RULE}
    for name, (share, tokens) in names.items():
        key = f"usd_per_million_{name}_tokens_allocated"
        found[key] = (
            None
            if usd is None or tokens <= 0
            else derive(
                _allocate,
                f"money per million {name} tokens",
                "USD",
                usd=usd,
                requests=requests,
                share=share,
                tokens=tokens,
            )
        )
    return found


def _sum(values: list[Quantity | None], label: str, unit: str) -> Quantity | None:
    from outlay.derive import add_all

    if not values or any(v is None for v in values):
        return None
    total = add_all(label, unit, *values)
    return total if isinstance(total, Quantity) else exact(float(total), unit, label)


def _each(amount: Quantity | None, count: Quantity, of: float, label: str, unit: str) -> Quantity | None:
    if amount is None or value_of(count) <= 0:
        return None
    found: Quantity = derive(_per, label, unit, amount=amount, count=count, of=of)
    return found


def _seconds(hours: Any) -> Any:
    """Hours as seconds."""
    return hours * HOUR_S


def _per_user_month(usd: Any, kept_s: Any, users: Any) -> Any:
    """Money over the months in service (30.4375 days each) and the people active in the busiest hour."""
    return usd * MONTH_S / (kept_s * users)


def _work_time(requests: Any, rate_per_s: Any, last_s: Any) -> Any:
    """Requests at a rate (of a trace one less, which lie between its first and last), and the last one's stay."""
    return requests / rate_per_s + last_s


def _share(whole: Any, share: Any) -> Any:
    """A share of the devices' time."""
    return whole * share


def _answered(kept_s: Any, rate_per_s: Any) -> Any:
    """Requests a second over the time."""
    return kept_s * rate_per_s


def _tokens(requests: Any, tokens: Any) -> Any:
    """Requests, by the tokens of each."""
    return requests * tokens


def _per(amount: Any, count: Any, of: Any) -> Any:
    """An amount over so many."""
    return amount / np.maximum(count, 1e-300) * of


def _allocate(usd: Any, requests: Any, share: Any, tokens: Any) -> Any:
    """A share of the money over the tokens of its kind."""
    return usd * share / np.maximum(requests * tokens, 1e-300) * MILLION
