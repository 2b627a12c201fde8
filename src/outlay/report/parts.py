"""The tables of a training page: memory, step, calendar, what it takes, layouts, scaling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlay.report.blocks import Bullets, Table
from outlay.report.numbers import adding_up, column, fixed, number, one, span

_DEGREES = (
    ("tensor", "tensor"),
    ("context", "context"),
    ("pipeline", "pipeline"),
    ("data", "data"),
    ("expert", "expert"),
    ("expert_tensor", "expert tensor"),
    ("virtual_pipeline", "chunks a stage"),
    ("shard", "shard"),
)
_INTERVAL = "80 % interval"


SMALL = 0.005  # parts below this share of every column are shown as one row


def words(name: str) -> str:
    """A field's name as people say it, without its unit.

    >>> words("data_comm_s"), words("checkpoint-storage")
    ('data communication', 'checkpoint storage')
    """
    plain = name.removesuffix("_s").replace("_", " ").replace("-", " ")
    return plain.replace("comm", "communication") if plain.endswith("comm") else plain


def layout_text(layout: Mapping[str, Any]) -> str:
    """A layout in one line: the degrees above one, then the categories.

    >>> layout_text({"tensor": 8, "pipeline": 1, "data": 4, "zero": 1, "micro_batch": 2, "recompute": "none"})
    'tensor 8 · data 4 · ZeRO 1 · micro-batch 2'
    """
    degrees = [(key, label) for key, label in _DEGREES if (number(layout.get(key)) or 1) > 1]
    said = [
        f"{label} {layout[key]:g}"
        for key, label in degrees
        if key != "shard" or layout["shard"] != layout.get("data")
    ]
    return " · ".join((said or ["one device"]) + _categories(layout, "micro-batch", "sequence parallel"))


def _categories(layout: Mapping[str, Any], batch: str, sequence: str) -> list[str]:
    """What is not a degree: only where it says something."""
    said = [sequence] if layout.get("sequence_parallel") else []
    if layout.get("zero"):
        said.append(f"ZeRO {layout['zero']}")
    if layout.get("micro_batch") is not None:
        said.append(f"{batch} {layout['micro_batch']:g}")
    if layout.get("recompute") not in (None, "none"):
        said.append(f"recompute {layout['recompute']}")
    if layout.get("schedule") not in (None, "1f1b", "interleaved"):
        said.append(words(str(layout["schedule"])))
    return said


_SHORT = (
    ("tensor", "TP"),
    ("context", "CP"),
    ("pipeline", "PP"),
    ("data", "DP"),
    ("expert", "EP"),
    ("expert_tensor", "ETP"),
    ("virtual_pipeline", "VPP"),
)


def layout_row(layout: Mapping[str, Any]) -> str:
    """A layout by the letters of its flags, for a row of a table.

    >>> layout_row({"tensor": 8, "pipeline": 1, "data": 4, "zero": 1, "micro_batch": 2, "recompute": "full"})
    'TP 8 · DP 4 · ZeRO 1 · batch 2 · recompute full'
    """
    said = [f"{label} {layout[key]:g}" for key, label in _SHORT if (number(layout.get(key)) or 1) > 1]
    if (number(layout.get("shard")) or 1) > 1 and layout["shard"] != layout.get("data"):
        said.append(f"shard {layout['shard']:g}")
    return " · ".join((said or ["one device"]) + _categories(layout, "batch", "SP"))


def breakdown(
    title: str, found: Mapping[str, Any], whole: Any, unit: str, last: str, memory: bool = False
) -> Table | None:
    """Parts with their shares, adding up in print; the interval is that of the whole."""
    known = {k: n for k, v in found.items() if (n := number(v))}
    if not known:
        return None
    cells, total, scale, decimals = column(list(known.values()), unit, memory=memory)
    shares = adding_up([100 * v / sum(known.values()) for v in known.values()], 0)
    rows = tuple(
        (words(k), cell, f"{part:.0f} %")
        for k, cell, part in zip(known, cells, shares)
        if part or cell.strip("0.,")  # what rounds to nothing is in the sum, and in --json
    )
    interval = span(whole, scale, decimals).strip()
    below = (_INTERVAL, interval, "") if interval else ()
    return Table(title, ("", scale.after.strip(), "share"), rows, (last, total, ""), below)


def memory(phase: Mapping[str, Any]) -> Table | None:
    moment = phase.get("memory_peak_moment")
    title = "Memory of the fullest device" + (f", peak in {moment}" if moment else "")
    return breakdown(
        title, phase.get("memory_parts") or {}, phase.get("memory_per_device_bytes"), "B", "peak", True
    )


def step_time(phase: Mapping[str, Any]) -> Table | None:
    return breakdown("Time of one step", phase.get("time_parts") or {}, phase.get("step_time_s"), "s", "step")


def elapsed(phase: Mapping[str, Any]) -> Table | None:
    return breakdown(
        "From start to end", phase.get("elapsed_parts") or {}, phase.get("elapsed_s"), "s", "elapsed"
    )


def stages(phase: Mapping[str, Any]) -> Table | None:
    """Memory of each pipeline stage, when there is more than one."""
    found = phase.get("stages") or []
    if len(found) < 2:
        return None
    rows = tuple(
        (f"stage {i + 1}", *[one(stage.get(name), "B", memory=True) for name in _STAGE_NUMBERS])
        for i, stage in enumerate(found)
    )
    return Table("Memory by pipeline stage", ("", "as the driver sees it", "reserved", "allocated"), rows)


_STAGE_NUMBERS = ("memory_per_device_bytes", "memory_reserved_bytes", "memory_allocated_bytes")


def calendar(phase: Mapping[str, Any]) -> Table | None:
    """From steps to the calendar, with the rates people compare."""
    rows = [
        (name, shown)
        for name, shown in (
            ("steps", _whole(phase.get("steps"))),
            ("tokens/s a device", _bare(phase.get("tokens_per_s_per_device"))),
            ("model FLOP utilisation", _percent(phase.get("model_flops_utilization"))),
            ("goodput (share of the time that trains)", _percent(phase.get("goodput"))),
            ("device-hours", _bare(phase.get("device_hours"))),
            ("training FLOP", _flop(phase.get("training_flop"))),
        )
        if shown
    ]
    elapsed = phase.get("elapsed_s")
    total = ("from start to end", one(elapsed, "s")) if number(elapsed) is not None else ()
    if not rows and not total:
        return None
    return Table("Time", ("", ""), tuple(rows), total, text_columns=frozenset({0, 1}))


def _bare(value: Any) -> str:
    """A number with its interval and without its unit, which the row's name says."""
    if number(value) is None:
        return ""
    return one(dict(value, unit="")) if isinstance(value, Mapping) else one(value)


def _whole(value: Any) -> str:
    nominal = number(value)
    return "" if nominal is None else f"{nominal:,.0f}"


def _percent(value: Any) -> str:
    nominal = number(value)
    if nominal is None:
        return ""
    text = f"{100 * nominal:.0f} %"
    low, high = (
        (number(value.get(k)) for k in ("low", "high")) if isinstance(value, Mapping) else (None, None)
    )
    if low is None or high is None or f"{100 * low:.0f}" == f"{100 * high:.0f}":
        return text
    return f"{text} [{100 * low:.0f}–{100 * high:.0f}]"


def _flop(value: Any) -> str:
    """Training FLOP with the two marks of the EU AI Act: 1e23 general-purpose, 1e25 systemic risk."""
    flop = number(value)
    if flop is None:
        return ""
    mantissa, _, power = f"{flop:.1e}".partition("e")
    if flop >= 1e25:
        mark = "above 1e25: systemic risk in the EU AI Act"
    elif flop >= 1e23:
        mark = "above 1e23, below 1e25: general-purpose in the EU AI Act"
    else:
        mark = "below the 1e23 of the EU AI Act"
    return f"{mantissa}e{int(power)} ({mark})"


_MEASURES = (
    ("usd", "USD", "money"),
    ("energy_j", "J", "energy"),
    ("co2e_kg", "kgCO2e", "CO2e"),
    ("water_l", "L", "water"),
)


def takes(result: Mapping[str, Any], verbose: bool = False, money_digits: int = 0) -> Table | None:
    """What it takes, by item: money, energy, carbon, water, each column adding up to its total."""
    items = by_item(result.get("lines") or [])
    items = items if verbose else small_together(items)
    totals = result.get("totals") or {}
    if not items:
        return None
    measures = [m for m in _MEASURES if number(totals.get(m[0])) is not None]
    if not measures:
        return None
    heads, columns, ends, belows = [""], [], ["total"], [_INTERVAL]
    for key, unit, name in measures:
        digits = money_digits if unit == "USD" else 0
        cells, total, scale, decimals = column([row[key] for row in items.values()], unit, digits=digits)
        heads.append(f"{name}, {scale.before}{scale.after.strip()}")
        columns.append(cells)
        ends.append(total)
        belows.append(span(totals.get(key), scale, decimals).strip())
    rows = tuple((words(item), *[c[i] for c in columns]) for i, item in enumerate(items))
    below = tuple(belows) if any(belows[1:]) else ()
    names = ["carbon" if name == "CO2e" else name for _, _, name in measures]
    title = " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names).capitalize()
    return Table(title, tuple(heads), rows, tuple(ends), below)


def unpriced(result: Mapping[str, Any]) -> Bullets | None:
    """Why money is not known, and what of it is."""
    lines = result.get("lines") or []
    if not lines or number((result.get("totals") or {}).get("usd")) is not None:
        return None
    notes = [str(line["note"]) for line in lines if line.get("note") and number(line.get("usd")) is None]
    said = [f"unknown: {notes[0]}" if notes else "unknown: a price is missing"]
    known = {k: row["usd"] for k, row in by_item(lines).items() if row["usd"]}
    if known:
        said.append("known of it: " + ", ".join(f"{words(k)} {one(v, 'USD')}" for k, v in known.items()))
    return Bullets("Money", tuple(said))


def by_item(lines: list[Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Lines summed by item; a sum with an unknown part is unknown."""
    items: dict[str, dict[str, float | None]] = {}
    for line in lines:
        row = items.setdefault(str(line.get("item", "")), {key: 0.0 for key, _, _ in _MEASURES})
        for key, _, _ in _MEASURES:
            value, before = number(line.get(key)), row[key]
            row[key] = None if value is None or before is None else before + value
    return items


def small_together(items: dict[str, dict[str, float | None]]) -> dict[str, dict[str, float | None]]:
    """Items that are next to nothing in every column, summed into one row."""
    sums = {key: sum(row[key] or 0.0 for row in items.values()) for key, _, _ in _MEASURES}

    def is_small(row: Mapping[str, float | None]) -> bool:
        return all(abs(row[key] or 0.0) <= SMALL * sums[key] for key in sums)

    small = [name for name, row in items.items() if is_small(row)]
    if len(small) < 2:
        return items
    kept = {name: row for name, row in items.items() if name not in small}
    rest: dict[str, float | None] = {key: sum(items[name][key] or 0.0 for name in small) for key in sums}
    return {**kept, f"{len(small)} smaller items": rest}


def layouts(phase: Mapping[str, Any]) -> Table | None:
    """The best few layouts of a search, the chosen one marked."""
    search = phase.get("search") or {}
    found = search.get("best") or []
    if len(found) < 2:
        return None
    aim = str(search.get("minimize") or "time")
    first = number(found[0].get("value"))
    rows = []
    for entry in found:
        value = number(entry.get("value"))
        cells = [
            layout_row(entry.get("layout") or {}),
            one(entry.get("step_time_s"), "s", interval=False),
            one(entry.get("memory_per_device_bytes"), "B", memory=True, interval=False),
        ]
        if aim != "time":
            cells.append(f"{100 * (value / first - 1):+.1f} %" if value and first else "")
        rows.append(tuple(cells))
    head = ("layout", "step", "memory") + ((f"{aim} over best",) if aim != "time" else ())
    legal, fitting = number(search.get("legal")), number(search.get("fitting"))
    counts = f": {fitting:,.0f} of {legal:,.0f} legal layouts fit" if legal and fitting else ""
    return Table(f"Best layouts by {aim}{counts}", head, tuple(rows), mark=0)


def scaling(phase: Mapping[str, Any]) -> Table | None:
    """Strong scaling: the same run on more or fewer devices."""
    found = phase.get("scaling") or []
    if len(found) < 2:
        return None
    rows = tuple(
        (
            f"{entry.get('devices', 0):,}",
            one(entry.get("elapsed_s"), "s", interval=False),
            fixed(number(entry.get("device_hours")) or 0, 0, 3),
            f"{100 * (number(entry.get('efficiency')) or 0):.0f} %",
        )
        if number(entry.get("elapsed_s")) is not None
        else (f"{entry.get('devices', 0):,}", "does not fit", "", "")
        for entry in found
    )
    return Table("With more or fewer devices", ("devices", "time", "device-hours", "efficiency"), rows)
