"""`--vary`: several plans side by side, the best marked."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from outlay.cli.answer import form_of, to_json, write, write_blocks
from outlay.cli.ask import ask, plan_options
from outlay.cli.progress import waiting
from outlay.cli.shell import NO, YES
from outlay.errors import Inconsistent, OutlayError
from outlay.workers import run_all

if TYPE_CHECKING:
    from outlay.report.blocks import Block

Varied = tuple[dict[str, str], dict[str, Any]]
_PHASES = ("pretrain", "finetune", "serve")
WIDE = 9  # columns of numbers from which those that say the same in every row stand below the table
# goal -> (section, name, whether more is better, how it is said); the first that is known ranks
_RANKED: dict[str, tuple[tuple[str, str, bool, str], ...]] = {
    "time": (
        ("phase", "elapsed_s", False, "Least time"),
        ("phase", "tokens_per_s_per_device", True, "Most tokens/s"),
        ("phase", "e2e_s", False, "Least time of a request"),
        ("phase", "kv_cache_tokens", True, "Most tokens in the cache"),
    ),
    "money": (("totals", "usd", False, "Least money"),),
    "energy": (("totals", "energy_j", False, "Least energy"),),
    "carbon": (("totals", "co2e_kg", False, "Least carbon"),),
}
# head, section, name, unit; a column that nothing is known of is left out, and what only a replay of its own says (own,
# replay) where not all have one
_COLUMNS = (
    ("memory", "phase", "memory_per_device_bytes", "B"),
    ("tokens/s a device", "phase", "tokens_per_s_per_device", ""),
    ("time", "phase", "elapsed_s", "s"),
    ("device-hours", "totals", "device_hours", ""),
    ("money", "totals", "usd", "USD"),
    ("energy", "totals", "energy_j", "J"),
    ("CO2e", "totals", "co2e_kg", "kgCO2e"),
    ("water", "totals", "water_l", "L"),
    ("first token", "phase", "ttft_s", "s"),
    ("first token p99", "own", "ttft_p99_s", "s"),
    ("each token", "phase", "tpot_s", "s"),
    ("good", "replay", "goodput_share", "%"),
    ("load", "phase", "load", ""),
    ("$/M out", "phase", "usd_per_million_output_tokens", "USD"),
    ("cache, tokens", "phase", "kv_cache_tokens", ""),
    ("longest at once", "phase", "max_concurrency", ""),
    ("a token, alone", "one_stream", "tpot_s", "s"),
)


def compare(asked: list[tuple[dict[str, str], dict[str, Any]]], flags: dict[str, Any]) -> int:
    """Plan every variant and write them as one table; one that cannot be planned says why below it."""
    if flags.get("opt_save"):
        raise Inconsistent("--save writes one scenario and --vary asks for several; choose one", "--save")
    one = partial(_planned, options=plan_options(flags), read=tuple(flags.get("read") or ()))
    with waiting("planning", quiet=bool(flags.get("opt_quiet"))):
        found = list(run_all(one, asked, flags.get("opt_cluster")))
    if all("error" in result for _, result in found):
        ask(asked[0][1], flags)  # raises what was wrong
    goal = _goal(asked)
    best, said = _best(found, goal)
    form = form_of(flags)
    if form == "json":
        rows = [{"varied": chosen, "best": i == best, **result} for i, (chosen, result) in enumerate(found)]
        write(to_json(rows) + "\n", flags)
    elif form == "csv":
        from outlay.report.rows import rows_csv

        write(rows_csv([_flat(chosen, result, i == best) for i, (chosen, result) in enumerate(found)]), flags)
    else:
        write_blocks(_table(found, best, said), flags)
    return YES if any(_fits(result) == "yes" for _, result in found) else NO


def _planned(item: Varied, options: dict[str, Any], read: tuple[Any, ...]) -> Varied:
    """One row: the result, or its error; in whichever process."""
    from outlay.api import plan
    from outlay.subject import with_reading

    chosen, scenario = item
    try:
        return chosen, with_reading(plan(scenario, **options), read).to_dict()
    except OutlayError as error:
        return chosen, {"error": error.to_dict()}


def _goal(asked: list[tuple[dict[str, str], dict[str, Any]]]) -> str:
    """What the scenario asks to minimise; time when it does not say."""
    wanted = str((asked[0][1].get("goal") or {}).get("minimize") or "time").lower()
    return wanted if wanted in _RANKED else "time"


def _phase(result: dict[str, Any]) -> dict[str, Any]:
    if result.get("life"):
        return {}  # what is compared is the whole: its totals
    return next((dict(result[p]) for p in _PHASES if result.get(p)), {})


def _value(result: dict[str, Any], section: str, name: str) -> Any:
    phase = _phase(result)
    replay = phase.get("replay") or {}
    own = phase if replay.get("own") else {}
    whole = {"phase": phase, "totals": result.get("totals"), "one_stream": phase.get("one_stream"), "own": own,
             "replay": replay if own else {}}
    return (whole[section] or {}).get(name)


def _best(found: list[tuple[dict[str, str], dict[str, Any]]], goal: str) -> tuple[int | None, str]:
    """The row that fits and is best by what is asked, as far as that is known; and how to say so."""
    from outlay.report.numbers import number

    able = [i for i, (_, result) in enumerate(found) if _fits(result) == "yes"]
    first: tuple[int | None, str] | None = None
    for section, name, more, said in (*_RANKED[goal], *_RANKED["money"], *_RANKED["carbon"]):
        known = [(v, i) for i in able if (v := number(_value(found[i][1], section, name))) is not None]
        if not known:
            continue
        best = (max(known, key=lambda k: (k[0], -k[1])) if more else min(known))[1]
        if first is None and len(able) < 2:
            return best, said
        if max(known)[0] > 1.001 * min(known)[0]:
            return best, said if first is None else f"The same {goal}; {said[0].lower()}{said[1:]}"
        first = first or (best, said)
    return first or (None, "These fit" if able else "None of these fits")


_NEEDED = ("fits", "within_goal", "meets_slo", "sustained")


def _fits(result: dict[str, Any]) -> str:
    if "error" in result:
        return "error"
    phases = [result.get(p) or {} for p in _PHASES] if result.get("life") else [_phase(result)]
    return "no" if any(phase.get(key) is False for phase in phases for key in _NEEDED) else "yes"


def _on(result: dict[str, Any]) -> str:
    """The devices and the precision that a search came to; empty where they were given."""
    best = next(iter((_phase(result).get("search") or {}).get("best") or ()), None)
    return f"{best['fleet']} {best['precision']}" if best and "fleet" in best else ""


def _flat(chosen: dict[str, str], result: dict[str, Any], best: bool) -> dict[str, Any]:
    from outlay.report.numbers import number

    row: dict[str, Any] = {**chosen, "fits": _fits(result), "best": best} | ({"on": on} if (on := _on(result)) else {})
    for _, section, name, _ in _COLUMNS:
        value = _value(result, section, name)
        parts = value if isinstance(value, dict) else {}
        row |= {name: number(value), f"{name}_low": parts.get("low"), f"{name}_high": parts.get("high")}
    return {**row, "error": (result.get("error") or {}).get("message")}


def _cell(value: Any, unit: str) -> str:
    from outlay.report.numbers import one

    if unit == "%":
        return f"{100.0 * value:.1f} %"
    bare = dict(value, unit=unit) if isinstance(value, dict) else value
    return one(bare, unit, interval=False, memory=unit == "B")


def _apart(
    columns: list[Any], rows: list[tuple[str, ...]], first: int
) -> tuple[list[Any], list[tuple[str, ...]], list[str]]:
    """Of a wide table the columns that differ between rows, their rows, and in words those that do not."""
    alike = [len(rows) > 1 and len({row[first + i] for row in rows}) == 1 for i in range(len(columns))]
    if len(columns) <= WIDE:
        return columns, rows, []
    same = [f"{column[0]} {rows[0][first + i]}" for i, column in enumerate(columns) if alike[i]]
    kept = [i for i in range(len(columns)) if not alike[i]]
    return [columns[i] for i in kept], [(*row[:first], *[row[first + i] for i in kept]) for row in rows], same


def _table(found: list[tuple[dict[str, str], dict[str, Any]]], best: int | None, said: str) -> list[Block]:
    from outlay.report.blocks import Bullets, Table, Verdict
    from outlay.report.numbers import number

    names = list(found[0][0])
    planned = [result for _, result in found if "error" not in result]
    columns = [c for c in _COLUMNS if (all if c[1] in ("own", "replay") else any)(
        number(_value(result, c[1], c[2])) is not None for result in planned)]
    if any(name == "elapsed_s" for _, _, name, _ in columns):
        columns = [c for c in columns if c[2] != "tokens_per_s_per_device"]
    rows, texts = [], [*names, "fits", *(["on"] if any(map(_on, planned)) else [])]
    for chosen, result in found:
        fits = _fits(result)
        on = (_on(result) or "–",) if "on" in texts else ()
        cells = [
            "–" if fits == "error" or number(value) is None else _cell(value, unit)
            for _, section, name, unit in columns
            for value in (_value(result, section, name),)
        ]
        rows.append((*chosen.values(), fits, *on, *cells))
    columns, rows, same = _apart(columns, rows, len(texts))
    head = (*texts, *[c[0] for c in columns])
    shown = f": {', '.join(f'{k} = {v}' for k, v in found[best][0].items())}" if best is not None else ""
    blocks: list[Block] = [
        Verdict(said + shown, "good" if best is not None else "bad"),
        Table("", head, tuple(rows), mark=best, text_columns=frozenset(range(len(texts)))),
    ]
    if same:
        blocks.append(Bullets("The same in all", (" · ".join(same),)))
    troubles = tuple(
        f"{', '.join(chosen.values())}: {result['error']['message']}"
        for chosen, result in found
        if "error" in result
    )
    if troubles:
        blocks.append(Bullets("Could not be planned", troubles))
    return blocks
