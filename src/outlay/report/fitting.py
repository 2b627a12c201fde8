"""What hardware can do with a model, as one page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from outlay.report.blocks import Block, Commands, Mood, Note, Table, Verdict
from outlay.report.numbers import number, one

_TRAINED_TOKENS = 20.0  # a parameter; Hoffmann et al. 2022 (arXiv:2203.15556)
_DAY_S = 86400.0


def model_page(
    found: Sequence[Mapping[str, Any]], name: str, smallest: Sequence[Mapping[str, Any]], parameters: float
) -> list[Block]:
    """One model on one fleet in full, or on several side by side."""
    blocks: list[Block | None] = [_verdict(found, name)]
    if len(found) == 1:
        blocks += [_run(found[0]), _tune(found[0], parameters)]
        if found[0].get("tune_unplanned"):
            blocks.append(Note(str(found[0]["tune_unplanned"])))
    else:
        blocks.append(_compared(found))
    blocks.append(_smallest(smallest, name))
    blocks.append(Commands(_following(found, name)))
    return [b for b in blocks if b is not None]


def _following(found: Sequence[Mapping[str, Any]], name: str) -> tuple[str, ...]:
    """The best way to run it, and the first way to fine-tune it that fits, ready to paste."""
    able = next((f for f in found if f.get("best")), found[0])
    said, best = f"{shlex.quote(name)} -g {shlex.quote(str(able['fleet']))}", able.get("best")
    tunes = [way["method"] for way in able.get("tune") or [] if way["fits"]]
    commands = []
    if best:
        way = f"--engine {best['engine']} -p {best['precision']} --max-model-len {best['length']}"
        commands.append(f"outlay serve {said} {way}")
    if tunes:
        commands.append(f"outlay tune {said} --method {tunes[0]}")
    return tuple(commands)


def _verdict(found: Sequence[Mapping[str, Any]], name: str) -> Verdict:
    lines = []
    for one_fleet in found:
        best = one_fleet.get("best")
        said = "does not run it" if best is None else _said(best)
        lines.append(f"{one_fleet['fleet']}: {said}")
    able = [f for f in found if f.get("best")]
    mood: Mood = "good" if len(able) == len(found) else "doubtful" if able else "bad"
    word = "Runs" if able else "Does not run"
    return Verdict(
        f"{word}: {name} on {' or '.join(str(f['fleet']) for f in (able or found))}", mood, tuple(lines)
    )


def _said(way: Mapping[str, Any]) -> str:
    doubt = f" ({way['verdict']})" if way["verdict"] != "fits" else ""
    return (
        f"best in {way['precision']} with {way['engine']}{doubt}: {_speed(way)} tokens/s for one request, up to "
        f"{way.get('longest_sequence') or way['length']:,} tokens long; {way['users']:,} at once of "
        f"{way['length']:,} tokens"
    )


def _speed(way: Mapping[str, Any]) -> str:
    return f"{number(way['output_tokens_per_s']) or 0:,.0f}"


def _run(found: Mapping[str, Any]) -> Table:
    rows = []
    for way in found["run"]:
        if not way["fits"]:
            rows.append((way["precision"], way["engine"], way["verdict"], "", "", "", ""))
            continue
        rows.append(
            (
                way["precision"],
                way["engine"],
                way["verdict"],
                _devices(way),
                f"{way.get('longest_sequence') or way['length']:,}",
                f"{way['users']:,}",
                one(dict(way["output_tokens_per_s"], unit="")),
            )
        )
    best = found.get("best")
    mark = found["run"].index(best) if best in found["run"] else None
    length = found["run"][0]["length"] if found["run"] else 0
    head = ("weights", "engine", "", "devices", "longest", f"at once of {length:,}", "tokens/s of one")
    return Table("Run", head, tuple(rows), mark=mark, text_columns=frozenset({0, 1, 2}))


def _devices(way: Mapping[str, Any]) -> str:
    return f"{way['devices']}" + (f" × {way['replicas']}" if way["replicas"] > 1 else "")


def _tune(found: Mapping[str, Any], parameters: float) -> Table | None:
    ways = found.get("tune") or []
    if not ways:
        return None
    rows = []
    for way in ways:
        fits = way["fits"]
        rows.append(
            (
                way["method"],
                way["verdict"],
                one(way["memory_per_device_bytes"], "B", memory=True),
                f"{way['longest_sequence']:,}" if way.get("longest_sequence") else "",
                one(dict(way["tokens_per_s"], unit="")) if fits else "",
            )
        )
    full = next((way for way in ways if way["method"] == "full" and way["fits"]), None)
    if full is not None:
        speed = (number(full["tokens_per_s"]) or 0.0) * float(found["devices"])
        days = _TRAINED_TOKENS * parameters / speed / _DAY_S if speed else 0.0
        rows.append(
            (
                "from scratch",
                f"{_TRAINED_TOKENS * parameters / 1e9:,.0f}B tokens",
                "",
                "",
                f"{days:,.0f} days",
            )
        )
    head = ("method", "", f"memory at {ways[0]['sequence_length']:,}", "longest row", "tokens/s a device")
    return Table("Fine-tune and train", head, tuple(rows), text_columns=frozenset({0, 1}))


def _compared(found: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for fleet in found:
        best, tune = fleet.get("best"), [t["method"] for t in fleet.get("tune") or [] if t["fits"]]
        shown = (
            ("", "", "", "")
            if best is None
            else (
                best["precision"],
                f"{best.get('longest_sequence') or best['length']:,}",
                f"{best['users']:,}",
                _speed(best),
            )
        )
        none = "not planned" if fleet.get("tune_unplanned") else "none"
        rows.append((fleet["fleet"], *_cost(fleet), *shown, ", ".join(tune) or none))
    head = (
        "fleet",
        "to buy",
        "an hour",
        "watts",
        "best that fits",
        "longest",
        "at once",
        "tokens/s",
        "fine-tunes",
    )
    return Table("Side by side", head, tuple(rows), text_columns=frozenset({0, 4, 8}))


def _cost(fleet: Mapping[str, Any]) -> tuple[str, str, str]:
    buy, hour, watts = fleet.get("usd"), fleet.get("usd_per_hour"), fleet.get("power_w")
    return (f"${buy:,.0f}" if buy else "", f"${hour:,.2f}" if hour else "", f"{watts:,.0f}" if watts else "")


def _smallest(found: Sequence[Mapping[str, Any]], name: str) -> Table | None:
    if not found:
        return None
    rows = tuple(
        (way["precision"], way["engine"], way["device"], f"{way['memory_bytes'] / 2**30:.0f}", *_cost(way))
        for way in found
    )
    return Table(
        f"Smallest single device that runs {name}",
        ("in", "engine", "device", "GiB", "to buy", "an hour", "watts"),
        rows,
        text_columns=frozenset({0, 1, 2}),
    )


def fleet_page(found: Sequence[Mapping[str, Any]]) -> list[Block]:
    """Without a model: the largest that run well on each fleet."""
    blocks: list[Block] = []
    for fleet in found:
        models = fleet["models"]
        cost = " · ".join(
            f"{text} {word}" for text, word in zip(_cost(fleet), ("to buy", "an hour", "W")) if text
        )
        if not models:
            blocks.append(
                Verdict(
                    f"No catalogued model fills {fleet['fleet']} and runs well on it", "doubtful", (cost,)
                )
            )
            continue
        blocks.append(
            Verdict(
                f"{fleet['fleet']} runs models of up to {models[0]['parameters'] / 1e9:,.0f}B parameters well",
                "good",
                (cost,) if cost else (),
            )
        )
        rows = tuple(
            (
                way["model"],
                f"{way['parameters'] / 1e9:,.1f}B",
                f"{way['active_parameters'] / 1e9:,.1f}B",
                way["precision"],
                way["engine"],
                f"{way.get('longest_sequence') or way['length']:,}",
                f"{way['users']:,}",
                _speed(way),
            )
            for way in models
        )
        head = ("model", "parameters", "active", "in", "engine", "longest", "at once", "tokens/s")
        blocks.append(
            Table(
                "The largest that run at reading speed or faster",
                head,
                rows,
                text_columns=frozenset({0, 3, 4}),
            )
        )
    fleet = found[0]
    if fleet["models"]:
        blocks.append(Commands((f"outlay fit {fleet['models'][0]['model']} -g {fleet['fleet']}",)))
    return blocks
