"""`--vary`: several plans side by side, the best marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outlay.cli.answer import form_of, to_json, write, write_blocks
from outlay.cli.ask import ask
from outlay.cli.shell import NO, YES
from outlay.errors import Inconsistent, OutlayError

if TYPE_CHECKING:
    from outlay.report.blocks import Block

_RANKED = {
    "time": ("pretrain", "elapsed_s"),
    "money": ("totals", "usd"),
    "energy": ("totals", "energy_j"),
    "carbon": ("totals", "co2e_kg"),
}
_COLUMNS = (
    ("time", "pretrain", "elapsed_s", "s"),
    ("device-hours", "totals", "device_hours", ""),
    ("money", "totals", "usd", "USD"),
    ("energy", "totals", "energy_j", "J"),
    ("CO2e", "totals", "co2e_kg", "kgCO2e"),
    ("water", "totals", "water_l", "L"),
)


def compare(asked: list[tuple[dict[str, str], dict[str, Any]]], flags: dict[str, Any]) -> int:
    """Plan every variant and write them as one table; one that cannot be planned says why below it."""
    if flags.get("opt_save"):
        raise Inconsistent("--save writes one scenario and --vary asks for several; choose one", "--save")
    found: list[tuple[dict[str, str], dict[str, Any]]] = []
    errors: list[OutlayError] = []
    for chosen, scenario in asked:
        try:
            found.append((chosen, ask(scenario, flags).to_dict()))
        except OutlayError as error:
            errors.append(error)
            found.append((chosen, {"error": error.to_dict()}))
    if len(errors) == len(found):
        raise errors[0]
    goal = _goal(asked)
    best = _best(found, goal)
    form = form_of(flags)
    if form == "json":
        rows = [{"varied": chosen, "best": i == best, **result} for i, (chosen, result) in enumerate(found)]
        write(to_json(rows) + "\n", flags)
    elif form == "csv":
        from outlay.report.rows import rows_csv

        write(rows_csv([_flat(chosen, result, i == best) for i, (chosen, result) in enumerate(found)]), flags)
    else:
        write_blocks(_table(found, best, goal), flags)
    return YES if best is not None else NO


def _goal(asked: list[tuple[dict[str, str], dict[str, Any]]]) -> str:
    """What the scenario asks to minimise; time when it does not say."""
    wanted = str((asked[0][1].get("goal") or {}).get("minimize") or "time").lower()
    return wanted if wanted in _RANKED else "time"


def _value(result: dict[str, Any], section: str, name: str) -> Any:
    if section == "pretrain":
        return phase_of(result).get(name)
    return (result.get(section) or {}).get(name)


def phase_of(result: dict[str, Any]) -> dict[str, Any]:
    """The phase a comparison is about: pre-training, else fine-tuning."""
    found: dict[str, Any] = result.get("pretrain") or result.get("finetune") or {}
    return found


def _best(found: list[tuple[dict[str, str], dict[str, Any]]], goal: str) -> int | None:
    """The row that fits and has the least of what the search ranks by."""
    from outlay.report.numbers import number

    section, name = _RANKED[goal]
    ranked = [
        (number(_value(result, section, name)), i)
        for i, (_, result) in enumerate(found)
        if _fits(result) == "yes"
    ]
    known = [(value, i) for value, i in ranked if value is not None]
    return min(known)[1] if known else None


def _fits(result: dict[str, Any]) -> str:
    if "error" in result:
        return "error"
    phase = phase_of(result)
    return "no" if phase.get("fits") is False or phase.get("within_goal") is False else "yes"


def _flat(chosen: dict[str, str], result: dict[str, Any], best: bool) -> dict[str, Any]:
    from outlay.report.numbers import number

    row: dict[str, Any] = {**chosen, "fits": _fits(result), "best": best}
    for _, section, name, _ in _COLUMNS:
        value = _value(result, section, name)
        parts = value if isinstance(value, dict) else {}
        row |= {name: number(value), f"{name}_low": parts.get("low"), f"{name}_high": parts.get("high")}
    return {**row, "error": (result.get("error") or {}).get("message")}


def _cell(value: Any, unit: str) -> str:
    from outlay.report.numbers import one

    bare = dict(value, unit=unit) if isinstance(value, dict) else value
    return one(bare, unit, interval=False)


def _table(found: list[tuple[dict[str, str], dict[str, Any]]], best: int | None, goal: str) -> list[Block]:
    from outlay.report.blocks import Bullets, Table, Verdict

    names = list(found[0][0])
    rows = []
    for chosen, result in found:
        cells = [_cell(_value(result, section, name), unit) for _, section, name, unit in _COLUMNS]
        if _fits(result) != "yes":
            cells = ["–"] * len(cells)
        rows.append((*chosen.values(), _fits(result), *cells))
    head = (*names, "fits", *[c[0] for c in _COLUMNS])
    text = (
        f"Least {goal}: {', '.join(f'{k} = {v}' for k, v in found[best][0].items())}"
        if best is not None
        else ("None of these fits")
    )
    blocks: list[Block] = [
        Verdict(text, "good" if best is not None else "bad"),
        Table("", head, tuple(rows), mark=best, text_columns=frozenset(range(len(names) + 1))),
    ]
    troubles = tuple(
        f"{', '.join(chosen.values())}: {result['error']['message']}"
        for chosen, result in found
        if "error" in result
    )
    if troubles:
        blocks.append(Bullets("Could not be planned", troubles))
    return blocks
