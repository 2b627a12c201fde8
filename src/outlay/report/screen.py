"""A training result as a page, in the one order every page keeps.

Verdict, what limits, breakdowns that add up, time, money, energy, carbon and water, nearest changes, what the
answer hangs on, assumptions, next commands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlay.report.blocks import Block, Bullets, Commands, Mood, Table, Verdict
from outlay.report.numbers import adding_up, column, fixed, number, one, scale_for, share, span

ASSUMPTIONS_SHOWN = 5


def page(result: Mapping[str, Any], verbose: bool = False, following: Sequence[str] = ()) -> list[Block]:
    """The blocks of one result."""
    phase = result.get("pretrain") or {}
    blocks: list[Block | None] = [verdict(result)]
    if not phase.get("fits", True):
        blocks += [nearest(phase), memory(phase)]
    else:
        blocks += [memory(phase), step_time(phase), calendar(phase), takes(result), layouts(phase), scaling(phase),
                   nearest(phase), hangs_on(phase)]
    blocks += [warnings(result), assumptions(result, verbose)]
    if following:
        blocks.append(Commands(tuple(following)))
    return [b for b in blocks if b is not None]


def quiet(result: Mapping[str, Any]) -> list[Block]:
    return [Verdict(verdict(result).text, verdict(result).mood)]


def verdict(result: Mapping[str, Any]) -> Verdict:
    """Fits or not, on what, how long, for how much; below it the margin and what limits."""
    phase = result.get("pretrain") or {}
    if not phase:
        return Verdict(f"{subject(result)}: nothing was asked about it; no phase in the scenario", "plain")
    details = [line for line in (_margin(phase), _limit(phase), _layout_line(phase)) if line]
    mood, word = _fits(phase)
    if mood == "bad":
        binding = phase.get("binding")
        reason = f": {_sentence(binding)}" if binding else ""
        return Verdict(f"Does not fit{reason}. {subject(result)} on {fleet(result)}", mood, tuple(details))
    took = one(phase.get("elapsed_s"), "s")
    money = (result.get("totals") or {}).get("usd")
    cost = f", {one(money, 'USD')}" if number(money) is not None else ", money unknown"
    return Verdict(f"{word}: {subject(result)} on {fleet(result)} in {took}{cost}", mood, tuple(details))


def _fits(phase: Mapping[str, Any]) -> tuple[Mood, str]:
    probability = number(phase.get("fits_probability"))
    if phase.get("missed"):
        return "bad", "Fits, but not within the limits asked"
    if probability is not None and 0.1 <= probability <= 0.9:
        return "doubtful", f"Borderline ({probability:.0%} likely to fit)"
    return ("good", "Fits") if phase.get("fits", True) else ("bad", "Does not fit")


def subject(result: Mapping[str, Any]) -> str:
    scenario = result.get("scenario") or {}
    model = scenario.get("model")
    name = model if isinstance(model, str) else (model or {}).get("name") or scenario.get("name") or "the model"
    tokens = number((scenario.get("pretrain") or {}).get("tokens"))
    return f"{name} on {_short(tokens)} tokens" if tokens else str(name)


def _short(value: float) -> str:
    scale = scale_for(value, "")
    text = f"{value / scale.factor:.4g}{scale.after}"
    return text.replace("G", "B")


def fleet(result: Mapping[str, Any]) -> str:
    given = (result.get("scenario") or {}).get("fleet")
    if isinstance(given, str) or given is None:
        return str(given or "no fleet")
    device = given.get("device")
    name = device if isinstance(device, str) else (device or {}).get("name") or "device"
    return f"{given.get('devices', 1):,} × {name}"


def _margin(phase: Mapping[str, Any]) -> str:
    peak, spare = phase.get("memory_per_device_bytes"), number(phase.get("headroom_bytes"))
    if number(peak) is None:
        return ""
    text = f"Memory: peak {one(peak, 'B', memory=True)} a device"
    if spare is None:
        return text
    return text + (f", {spare / 2**30:.1f} GiB to spare" if spare >= 0 else f", {-spare / 2**30:.1f} GiB too much")


def _limit(phase: Mapping[str, Any]) -> str:
    """The largest part of the step beside the arithmetic, or the sentence the plan gave."""
    if phase.get("limit"):
        return f"Limit: {_sentence(phase['limit'])}"
    parts = {k: number(v) or 0.0 for k, v in (phase.get("time_parts") or {}).items()}
    if not parts or not sum(parts.values()):
        return ""
    largest = max(parts, key=lambda k: parts[k])
    text = f"Limit: {words(largest)}, {share(parts[largest], sum(parts.values()))} of a step"
    rest = {k: v for k, v in parts.items() if k != largest and v > 0}
    if rest:
        second = max(rest, key=lambda k: rest[k])
        text += f"; then {words(second)}, {share(rest[second], sum(parts.values()))}"
    return text


def _sentence(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("text") or value.get("message") or value.get("what") or "")
    return str(value)


_DEGREES = (("tensor", "tensor"), ("context", "context"), ("pipeline", "pipeline"), ("data", "data"),
            ("expert", "expert"), ("expert_tensor", "expert tensor"), ("virtual_pipeline", "chunks a stage"),
            ("shard", "shard"))


def layout_text(layout: Mapping[str, Any]) -> str:
    """A layout in one line: the degrees above one, then the categories.

    >>> layout_text({"tensor": 8, "pipeline": 1, "data": 4, "zero": 1, "micro_batch": 2, "recompute": "none"})
    'tensor 8 · data 4 · ZeRO 1 · micro-batch 2'
    """
    parts = [f"{label} {layout[key]}" for key, label in _DEGREES if (number(layout.get(key)) or 1) > 1]
    if layout.get("shard") is not None and layout.get("shard") == layout.get("data"):
        parts = [p for p in parts if not p.startswith("shard ")]
    parts = parts or ["one device a replica"]
    if layout.get("zero") is not None:
        parts.append(f"ZeRO {layout['zero']}")
    if layout.get("micro_batch") is not None:
        parts.append(f"micro-batch {layout['micro_batch']}")
    if layout.get("recompute") not in (None, "none"):
        parts.append(f"recompute {layout['recompute']}")
    return " · ".join(parts)


def _layout_line(phase: Mapping[str, Any]) -> str:
    return f"Layout: {layout_text(phase['layout'])}" if phase.get("layout") else ""


def words(name: str) -> str:
    return name.replace("_", " ")


def memory(phase: Mapping[str, Any]) -> Block | None:
    parts = {k: number(v) for k, v in (phase.get("memory_parts") or {}).items()}
    known = {k: v for k, v in parts.items() if v}
    if not known:
        return None
    cells, total, _, decimals = column(list(known.values()), "B", memory=True)
    whole = sum(known.values())
    shares = adding_up([100 * v / whole for v in known.values()], 0)
    rows = tuple((words(k), cell, f"{part:.0f} %") for k, cell, part in zip(known, cells, shares))
    moment = phase.get("memory_peak_moment")
    title = "Memory of the fullest device" + (f", peak in {moment}" if moment else "")
    interval = span(phase.get("memory_per_device_bytes"), scale_for(whole, "B", True), decimals).strip()
    return Table(title, ("", "GiB", "share"), rows, ("peak", total, ""), ("80 % interval", interval, "") if interval else ())


def step_time(phase: Mapping[str, Any]) -> Block | None:
    parts = {k: number(v) for k, v in (phase.get("time_parts") or {}).items()}
    known = {k: v for k, v in parts.items() if v}
    if not known:
        return None
    cells, total, scale, decimals = column(list(known.values()), "s")
    whole = sum(known.values())
    shares = adding_up([100 * v / whole for v in known.values()], 0)
    rows = tuple((words(k), cell, f"{part:.0f} %") for k, cell, part in zip(known, cells, shares))
    interval = span(phase.get("step_time_s"), scale, decimals).strip()
    return Table("Time of one step", ("", scale.after.strip(), "share"), rows, ("step", total, ""),
                 ("80 % interval", interval, "") if interval else ())


def calendar(phase: Mapping[str, Any]) -> Block | None:
    facts = (("steps", phase.get("steps"), ""), ("tokens/s a device", phase.get("tokens_per_s_per_device"), ""),
             ("model FLOP utilisation", phase.get("model_flops_utilization"), ""),
             ("share of time that trains (goodput)", phase.get("goodput"), ""),
             ("device-hours", phase.get("device_hours"), ""), ("training FLOP", phase.get("training_flop"), ""))
    rows = []
    for name, value, unit in facts:
        nominal = number(value)
        if nominal is None:
            continue
        stripped = dict(value, unit="") if isinstance(value, Mapping) else value
        text = _percent(stripped) if "utilisation" in name or "goodput" in name else one(stripped, unit)
        if name == "training FLOP":
            text = f"{nominal:.2g}" + _marks(nominal)
        rows.append((name, text))
    elapsed = phase.get("elapsed_s")
    total = ("from start to end", one(elapsed, "s")) if number(elapsed) is not None else ()
    return Table("Time", ("", ""), tuple(rows), total, text_columns=frozenset({0, 1})) if rows or total else None


def _percent(value: Any) -> str:
    nominal = number(value)
    assert nominal is not None
    low, high = (number(value.get(k)) for k in ("low", "high")) if isinstance(value, Mapping) else (None, None)
    text = f"{100 * nominal:.0f} %"
    if low is None or high is None or f"{100 * low:.0f}" == f"{100 * high:.0f}":
        return text
    return f"{text} [{100 * low:.0f}–{100 * high:.0f}]"


def _marks(flop: float) -> str:
    """The two marks of the EU AI Act: 1e23 general-purpose, 1e25 systemic risk."""
    if flop >= 1e25:
        return " (above 1e25: systemic risk under the EU AI Act)"
    if flop >= 1e23:
        return " (above 1e23: general-purpose model under the EU AI Act; below 1e25)"
    return " (below 1e23)"


_MEASURES = (("usd", "USD", "money"), ("energy_j", "J", "energy"), ("co2e_kg", "kgCO2e", "CO2e"), ("water_l", "L", "water"))


def takes(result: Mapping[str, Any]) -> Block | None:
    """What it takes, by item: money, energy, carbon, water, each column adding up to its total."""
    lines = result.get("lines") or []
    totals = result.get("totals") or {}
    if not lines:
        return None
    items: dict[str, dict[str, float | None]] = {}
    for line in lines:
        row = items.setdefault(str(line.get("item", "")), {key: 0.0 for key, _, _ in _MEASURES})
        for key, _, _ in _MEASURES:
            value, before = number(line.get(key)), row[key]
            row[key] = None if value is None or before is None else before + value
    heads, columns, ends, belows = [""], [], ["total"], ["80 % interval"]
    for key, unit, name in _MEASURES:
        cells, total, scale, decimals = column([row[key] for row in items.values()], unit)
        known = number(totals.get(key)) is not None
        heads.append(f"{name}, {(scale.after or ' ').strip() + scale.before}".rstrip(", "))
        columns.append(cells)
        ends.append(total if known else "unknown")
        belows.append(span(totals.get(key), scale, decimals).strip() if known else "")
    rows = tuple((words(item), *[c[i] for c in columns]) for i, item in enumerate(items))
    return Table("Money, energy, carbon and water", tuple(heads), rows, tuple(ends), tuple(belows) if any(belows[1:]) else ())


def layouts(phase: Mapping[str, Any]) -> Block | None:
    found = phase.get("layouts") or []
    if len(found) < 2:
        return None
    rows = tuple((layout_text(entry.get("layout", entry)), one(entry.get("elapsed_s"), "s", interval=False),
                  one(entry.get("memory_per_device_bytes"), "B", memory=True, interval=False),
                  one(entry.get("usd"), "USD", interval=False)) for entry in found)
    return Table("Best layouts", ("layout", "time", "memory", "money"), rows, mark=0)


def scaling(phase: Mapping[str, Any]) -> Block | None:
    found = phase.get("scaling") or []
    if len(found) < 2:
        return None
    rows = tuple((f"{entry.get('devices', 0):,}", one(entry.get("elapsed_s"), "s", interval=False),
                  fixed(number(entry.get("device_hours")) or 0, 0, 3), f"{100 * (number(entry.get('efficiency')) or 0):.0f} %")
                 for entry in found)
    return Table("With more or fewer devices", ("devices", "time", "device-hours", "efficiency"), rows)


def nearest(phase: Mapping[str, Any]) -> Block | None:
    found = phase.get("nearest") or []
    if not found:
        return None
    title = "Nearest changes" if phase.get("fits", True) else "Nearest changes that fit"
    items = []
    for entry in found:
        tail = [str(entry[k]) for k in ("gain", "price") if entry.get(k)]
        items.append(str(entry.get("change", "")) + (": " + "; ".join(tail) if tail else ""))
    return Bullets(title, tuple(items))


def hangs_on(phase: Mapping[str, Any]) -> Block | None:
    items = [f"{label}: {_sentence(phase[key])}" for key, label in
             (("dominant", "Largest influence"), ("least_certain", "Least certain")) if phase.get(key)]
    return Bullets("What the answer hangs on", tuple(items)) if items else None


def warnings(result: Mapping[str, Any]) -> Block | None:
    found = [_sentence(w) for w in result.get("warnings") or []]
    return Bullets("Warnings", tuple(found)) if found else None


def assumptions(result: Mapping[str, Any], verbose: bool) -> Block | None:
    found = result.get("assumptions") or []
    if not found:
        return None
    shown = found if verbose else found[:ASSUMPTIONS_SHOWN]
    items = [_assumption(entry, verbose) for entry in shown]
    title = f"Assumed ({len(shown)} of {len(found)}; all with -v)" if len(shown) < len(found) else "Assumed"
    return Bullets(title, tuple(items))


def _assumption(entry: Mapping[str, Any], verbose: bool) -> str:
    value = entry.get("value")
    text = f"{entry.get('what')} = {one(value) if isinstance(value, Mapping) else value}"
    if entry.get("why"):
        text += f": {entry['why']}"
    return text + (f" ({entry['source']})" if verbose and entry.get("source") else "")
