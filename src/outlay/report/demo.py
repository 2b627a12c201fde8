"""The demo's page: parts with an engine behind them, in the order of a model's life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlay.report.blocks import Block, Bullets, Commands, Table, Verdict
from outlay.report.numbers import number, one
from outlay.report.parts import by_item, layout_text, words
from outlay.report.screen import brackets, fleet, subject


def page(found: Mapping[str, Any]) -> list[Block]:
    base = found["base"]
    place = _place(base)
    blocks: list[Block] = [Verdict(f"{subject(base)}: {fleet(base)} in {place}", "plain")]
    blocks += [compute(base, str(found.get("reported", ""))), money(base), environment(base)]
    blocks.append(choices(found))
    if found.get("served"):
        blocks.append(deployment(found["served"]))
    if found.get("tuned"):
        blocks.append(access(found["tuned"]))
    blocks.append(brackets())
    blocks.append(
        Commands(
            (
                "outlay train llama-3.1-405b -g 16384xh100-sxm -n 15.6T -s aws:us-east-1",
                "outlay serve llama-3.1-8b --users 5000 --ttft 500ms --tpot 50ms --at p99",
                "outlay tune llama-3.1-405b -g 8xh100-sxm --method qlora --examples 50k",
                "outlay life --preset list",
            )
        )
    )
    return blocks


def _place(result: Mapping[str, Any]) -> str:
    site = (result.get("scenario") or {}).get("site")
    return str(site.get("location", "")) if isinstance(site, Mapping) else str(site)


def compute(base: Mapping[str, Any], reported: str) -> Block:
    phase = base["pretrain"]
    items = [
        f"{one(phase.get('elapsed_s'), 's')}, {_hours(phase)} device-hours"
        + (f"; {reported}" if reported else ""),
        f"{_percent(phase.get('model_flops_utilization'))} of the peak is the model's own arithmetic"
        f" (MFU); goodput {_percent(phase.get('goodput'))}",
        f"memory peak {one(phase.get('memory_per_device_bytes'), 'B', memory=True)} a device; "
        f"layout: {layout_text(phase.get('layout') or {})}",
    ]
    return Bullets("Compute", tuple(items))


def _hours(phase: Mapping[str, Any]) -> str:
    value = phase.get("device_hours")
    return one(dict(value, unit="")) if isinstance(value, Mapping) else "unknown"


def _percent(value: Any) -> str:
    nominal = number(value)
    return "unknown" if nominal is None else f"{100 * nominal:.0f} %"


def money(base: Mapping[str, Any]) -> Block:
    totals = base.get("totals") or {}
    items = [one(totals.get("usd"), "USD") + _price(base)]
    known = {k: row["usd"] for k, row in by_item(base.get("lines") or []).items() if row["usd"]}
    dearest = sorted(known, key=lambda k: -(known[k] or 0.0))[:3]
    items.append("mostly " + ", ".join(f"{words(k)} {one(known[k], 'USD')}" for k in dearest))
    return Bullets("Money", tuple(items))


def _price(result: Mapping[str, Any]) -> str:
    basis = next(
        (str(line["price_basis"]) for line in result.get("lines") or [] if line.get("price_basis")), ""
    )
    return f" ({basis})" if basis else ""


def environment(base: Mapping[str, Any]) -> Block:
    totals = base.get("totals") or {}
    operational, embodied = totals.get("co2e_operational_kg"), totals.get("co2e_embodied_kg")
    basis = next(
        (str(line["carbon_basis"]) for line in base.get("lines") or [] if line.get("carbon_basis")), ""
    )
    items = [
        f"{one(totals.get('energy_j'), 'J')} of electricity at the meter",
        f"{one(totals.get('co2e_kg'), 'kgCO2e')} CO2e: "
        f"{one(operational, 'kgCO2e', interval=False)} from electricity, "
        f"{one(embodied, 'kgCO2e', interval=False)} from making the hardware"
        + (f" ({basis})" if basis else ""),
        f"{one(totals.get('water_l'), 'L')} of water, cooling and power plants together",
    ]
    return Bullets("Energy and environment", tuple(items))


def choices(found: Mapping[str, Any]) -> Block:
    """The plan beside owning and other places."""
    base = found["base"]
    rows = [_row(f"as above, {_place(base)}", base)]
    rows += [_row(name, result) for name, result in found["others"].items()]
    return Table("What other choices change", ("", "time", "money", "energy", "CO2e", "water"), tuple(rows))


def deployment(served: Sequence[Mapping[str, Any]]) -> Block:
    """What it takes to answer many people at once: devices, waiting, money and energy of a token."""
    rows = tuple(
        (
            way["model"],
            way["precision"],
            way["fleet"],
            _percent(way["load"]),
            one(way["ttft_p99_s"] or way["ttft_s"], "s", interval=False),
            one(way["tpot_s"], "s", interval=False),
            f"{number(way['usd_per_million_output_tokens']) or 0.0:,.2f}",
            f"{number(way['energy_per_output_token_j']) or 0.0:.2g}",
        )
        for way in served
    )
    work = served[0]["work"]
    each = (number(served[0]["rate"]) or 0.0) * 3600 / work["users"]
    title = (
        f"Deployment: answer {work['users']:,} people in the busiest hour, {each:.0f} requests each of "
        f"{work['input']:,} tokens in and {work['output']:,} out"
    )
    head = ("model", "in", "on", "busy", "99 % start in", "a token", "$/M tokens", "J/token")
    return Table(title, head, rows, text_columns=frozenset({0, 1, 2}))


def access(tuned: Sequence[Mapping[str, Any]]) -> Block:
    """Who can make such a model theirs: fine-tuning it, or a smaller one, on what can be rented or bought."""
    rows = tuple(
        (
            way["model"],
            way["method"],
            way["fleet"],
            str(way["verdict"]),
            one(way["memory_per_device_bytes"], "B", memory=True, interval=False),
            one(way["elapsed_s"], "s", interval=False),
            one(way["usd"], "USD", interval=False),
        )
        for way in tuned
    )
    asked = tuned[0]["rows"]
    title = f"Access: fine-tune it once over {asked['examples']} examples of up to {asked['sequence_length']:,} tokens"
    head = ("model", "method", "on", "", "memory a device", "time", "money")
    return Table(title, head, rows, text_columns=frozenset({0, 1, 2, 3}))


def _row(name: str, result: Mapping[str, Any]) -> tuple[str, ...]:
    totals, phase = result.get("totals") or {}, result.get("pretrain") or {}
    cells = [one(phase.get("elapsed_s"), "s", interval=False)]
    for key, unit in (("usd", "USD"), ("energy_j", "J"), ("co2e_kg", "kgCO2e"), ("water_l", "L")):
        cells.append(one(totals.get(key), unit, interval=False))
    return (name, *cells)
