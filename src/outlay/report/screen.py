"""A training result as a page, in the one order every page keeps.

Verdict, what limits, breakdowns that add up, time, money, energy, carbon and water, nearest changes, what the
answer hangs on, assumptions, next commands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from outlay.report import books, parts
from outlay.report.blocks import Block, Bullets, Commands, Mood, Note, Pair, Verdict, few_of
from outlay.report.numbers import number, one, scale_for, share, short
from outlay.units import duration, si

SUMMARY = Path(__file__).parents[1] / "validate" / "summary.json"  # how published results were met


def phase_of(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The training phase of a result; pre-training and fine-tuning name their numbers alike."""
    found: Mapping[str, Any] = result.get("pretrain") or result.get("finetune") or {}
    return found


def page(
    result: Mapping[str, Any],
    verbose: bool = False,
    following: Sequence[str] = (),
    hangs_on: Sequence[str] = (),
) -> list[Block]:
    """The blocks of one result; `hangs_on` says what it depends on most, which only its lineage knows."""
    phase = phase_of(result)
    blocks: list[Block | None] = [verdict(result)]
    if phase.get("fits") is False:
        blocks += [parts.memory(phase), nearest(phase)]
    else:
        blocks += [*step(phase), parts.calendar(phase), parts.unpriced(result), parts.takes(result, verbose)]
        blocks += [parts.elapsed(phase), parts.stages(phase)] if verbose else []
        blocks += [parts.layouts(phase), parts.scaling(phase), nearest(phase)]
        blocks += [Bullets("What the answer hangs on", tuple(hangs_on)) if hangs_on else None]
    blocks += [*books.blocks(result), warnings(result), assumptions(result, verbose), brackets()]
    if following:
        blocks.append(Commands(tuple(following)))
    return [b for b in blocks if b is not None]


def step(phase: Mapping[str, Any]) -> list[Block | None]:
    """Memory and time of one step, side by side where both are known."""
    memory, time = parts.memory(phase), parts.step_time(phase)
    return [Pair(memory, time)] if memory is not None and time is not None else [memory, time]


_BINDING = "Limit: device memory"


def quiet(whole: Verdict) -> list[Block]:
    """The verdict alone; a plan that does not fit keeps its reason."""
    return [Verdict(whole.text, whole.mood, tuple(d for d in whole.details[:1] if d.startswith(_BINDING)))]


def verdict(result: Mapping[str, Any]) -> Verdict:
    """Fits or not, on what, how long, for how much; below it the margin and what limits."""
    phase = phase_of(result)
    if not phase:
        return Verdict(f"{subject(result)}: no phase was asked about", "plain")
    mood, word = over_budget(result, *_fits(phase))
    if phase.get("fits") is False:
        closest = f"Closest layout: {parts.layout_text(phase['layout'])}" if phase.get("layout") else ""
        details = tuple(line for line in (binding(phase.get("binding")), closest) if line)
        return Verdict(f"{word}: {subject(result)} on {fleet(result)}", mood, details)
    details = tuple(line for line in (_margin(phase), _limit(phase), _layout_line(phase), _trained(phase)) if line)
    text = f"{word}: {subject(result)} on {fleet(result)}"
    if number(phase.get("elapsed_s")) is not None:
        text += f" in {one(phase['elapsed_s'], 's')}"
    money = (result.get("totals") or {}).get("usd")
    if result.get("lines"):
        text += f", {one(money, 'USD')}" if number(money) is not None else ", money unknown"
    return Verdict(text, mood, details)


def binding(found: Any) -> str:
    """What is too small, and by how much."""
    short = number(found.get("short_bytes")) if isinstance(found, Mapping) else None
    if short is None:
        return sentence(found)
    needed, limit = (one(found.get(k), "B", memory=True) for k in ("needed_bytes", "limit_bytes"))
    lacking = one(short, "B", memory=True)
    return f"Limit: {found.get('constraint')}: needs {needed}, has {limit}: {lacking} short"


def _fits(phase: Mapping[str, Any]) -> tuple[Mood, str]:
    probability = number(phase.get("fits_probability"))
    if probability is not None and 0.1 <= probability <= 0.9:
        return "doubtful", f"Borderline, {probability:.0%} likely to fit".replace("%", " %")
    if phase.get("fits") is False:
        return "bad", "Does not fit"
    if phase.get("within_goal") is False:
        return "bad", f"Fits, but misses {missed(phase)}"
    return ("good", "Fits") if phase.get("fits") is not None else ("plain", "Priced")


def over_budget(result: Mapping[str, Any], mood: Mood, word: str) -> tuple[Mood, str]:
    """The verdict's first words once the budgets are looked at."""
    said = books.broken(result)
    known = phase_of(result).get("within_goal") is False  # then the training plan has said it
    return ("bad", f"{word}, but {said}") if said and mood != "bad" and not known else (mood, word)


def missed(phase: Mapping[str, Any]) -> str:
    """Which of deadline and budget is not kept, and by how much."""
    said = []
    for entry in phase.get("missed") or []:
        if isinstance(entry, Mapping):
            unit = str(entry.get("unit", ""))
            over = (number(entry.get("value")) or 0.0) - (number(entry.get("limit")) or 0.0)
            said.append(
                f"the {entry.get('constraint')} of {short(entry.get('limit'), unit)} by {one(over, unit)}"
            )
        else:
            said.append(str(entry))
    return " and ".join(said) or "what was asked"


def subject(result: Mapping[str, Any]) -> str:
    """The model and the tokens it is trained on."""
    scenario = result.get("scenario") or {}
    tokens = number((scenario.get("pretrain") or scenario.get("finetune") or {}).get("tokens"))
    name = _model_name(scenario.get("model"), result.get("model") or {}) or scenario.get("name") or "the run"
    share = number((scenario.get("finetune") or {}).get("replay_share"))
    replay = f" and replay at {100 * share:.3g} %" if share else ""
    return f"{name} on {_short(tokens)} tokens{replay}" if tokens else str(name)


def _model_name(asked: Any, known: Mapping[str, Any]) -> str:
    """The name it was given; a described model without one goes by its size."""
    if isinstance(asked, str):
        return str(known.get("name") or asked)
    named = asked.get("name") if isinstance(asked, Mapping) else None
    parameters = number(known.get("parameters"))
    size = f"a model of {_short(float(f'{parameters:.3g}'))} parameters" if parameters else ""
    return str(named or size)


def _short(value: float) -> str:
    scale = scale_for(value, "")
    return f"{value / scale.factor:.4g}{scale.after}".replace("G", "B")


def fleet(result: Mapping[str, Any]) -> str:
    given = (result.get("scenario") or {}).get("fleet")
    if isinstance(given, str) or given is None:
        return str(given or "no fleet")
    return f"{given.get('devices', 1):,}×{device(result)}"


def device(result: Mapping[str, Any]) -> str:
    """The kind of device of a fleet, by name."""
    given = (result.get("scenario") or {}).get("fleet") or {}
    named = given.get("device") if isinstance(given, Mapping) else None
    return named if isinstance(named, str) else (named or {}).get("name") or "device"


def _trained(phase: Mapping[str, Any]) -> str:
    """What a fine-tune trains, and the files it leaves."""
    count = number(phase.get("trainable_parameters"))
    if count is None:
        return ""
    text = f"Trains {_short(count)} parameters"
    adapter = number(phase.get("adapter_bytes"))
    return text + (f", adapters of {one(phase['adapter_bytes'], 'B')}" if adapter else "")


def _margin(phase: Mapping[str, Any]) -> str:
    peak, spare = phase.get("memory_per_device_bytes"), number(phase.get("headroom_bytes"))
    if number(peak) is None:
        return ""
    text = f"Memory: peak {one(peak, 'B', memory=True)} a device"
    if spare is None:
        return text
    return f"{text}, {abs(spare) / 2**30:.1f} GiB {'to spare' if spare >= 0 else 'too much'}"


def _limit(phase: Mapping[str, Any]) -> str:
    """The sentence the plan gave, or the largest parts of the step."""
    if phase.get("limit"):
        return f"Limit: {sentence(phase['limit'])}"
    found = {k: number(v) or 0.0 for k, v in (phase.get("time_parts") or {}).items()}
    whole = sum(found.values())
    if whole <= 0:
        return ""
    largest = sorted(found, key=lambda k: -found[k])[:2]
    said = [f"{parts.words(k)}, {share(found[k], whole)}" for k in largest if found[k] > 0]
    return f"Limit: {said[0]} of a step" + (f"; then {said[1]}" if len(said) > 1 else "")


def sentence(value: Any) -> str:
    """Text from what may be a sentence or a mapping that holds one."""
    if isinstance(value, Mapping):
        return str(value.get("text") or value.get("message") or value.get("what") or "")
    return str(value) if value else ""


def _layout_line(phase: Mapping[str, Any]) -> str:
    return f"Layout: {parts.layout_text(phase['layout'])}" if phase.get("layout") else ""


def nearest(phase: Mapping[str, Any]) -> Block | None:
    """Changes close to this plan, each with its gain and its price."""
    found = phase.get("nearest") or []
    if not found:
        return _room(phase)
    title = "Nearest changes" if phase.get("fits") is not False else "Nearest changes that fit"
    items = []
    for entry in found:
        tail = [str(entry[k]) for k in ("gain", "price") if entry.get(k)]
        items.append(str(entry.get("change", "")) + (": " + "; ".join(tail) if tail else ""))
    return Bullets(title, tuple(items))


def _room(phase: Mapping[str, Any]) -> Block | None:
    """What could grow on the same devices."""
    room, layout = phase.get("room") or {}, phase.get("layout") or {}
    items = []
    if room.get("longest_sequence"):
        items.append(f"sequences of up to {room['longest_sequence']:,} tokens fit")
    if (number(room.get("largest_micro_batch")) or 0) > (number(layout.get("micro_batch")) or 0):
        items.append(f"micro-batches of up to {room['largest_micro_batch']} fit")
    return Bullets("Room left", tuple(items)) if items else None


def brackets() -> Note:
    """What the brackets mean, and how often published runs fell inside where that has been scored."""
    import json

    said = "Brackets hold 80 % intervals"
    try:
        scored = json.loads(SUMMARY.read_text(encoding="utf-8"))
        return Note(
            f"{said}; {100 * scored['inside']:.0f} % of {scored['n']:,} published results fell inside."
        )
    except (OSError, ValueError, KeyError):
        return Note(said + ".")


_VALUED = ("site", "fleet.usd", "fleet.tenure", "fleet.commitment", "embodied", "hardware lifetime")


def about(result: Mapping[str, Any], what: str) -> bool:
    """Whether this bears on what is shown: prices and places only where something is valued."""
    return bool(result.get("lines")) or not what.startswith(_VALUED)


def warnings(result: Mapping[str, Any]) -> Block | None:
    found = [said for w in result.get("warnings") or [] if about(result, said := sentence(w))]
    return Bullets("Warnings", tuple(found)) if found else None


# What people most often want to correct comes first; the rest keeps the order of resolving.
_FIRST = (
    "data.tokens",
    "data.crawl_usd_per_tb",
    "data.ablation_device_hours",
    "life.growth_per_year",
    "life.engineers",
    "maintain.engineers",
    "maintain.usd_per_engineer_year",
    "maintain.migrate.lifetime",
    "finetune.target_modules",
    "finetune.rank",
    "finetune.framework",
    "finetune.mean",
    "pretrain.global_batch",
    "fleet.usd_per_device_hour",
    "pretrain.precision",
    "site.grid_kgco2e_per_kwh",
    "pretrain.sequence_length",
    "site.pue",
    "pretrain.framework",
    "pretrain.optimizer",
    "pretrain.experiments",
)


def assumptions(result: Mapping[str, Any], verbose: bool) -> Block | None:
    found = result.get("assumptions") or []
    if not found:
        return None
    ranks = {name: rank for rank, name in enumerate(_FIRST)}
    ordered = sorted(
        found,
        key=lambda entry: (
            not about(result, str(entry.get("what"))),
            ranks.get(str(entry.get("what")), len(ranks)),
        ),
    )
    return few_of("Assumed", [_assumption(entry, verbose) for entry in ordered], verbose)


def _assumption(entry: Mapping[str, Any], verbose: bool) -> str:
    what = str(entry.get("what"))
    text = f"{what} = {_value(what, entry.get('value'))}"
    if entry.get("why"):
        text += f": {entry['why']}"
    return text + (f" ({entry['source']})" if verbose and entry.get("source") else "")


_SUFFIXES = (
    ("_bytes_per_s", "B/s"),
    ("bandwidth per device", "B/s"),
    ("_flop_per_s", "FLOP/s"),
    ("_bytes", "B"),
)


_TIMES = (".lifetime", ".retention", ".duration", ".every")


def _value(what: str, value: Any) -> str:
    """A value with the unit its name says, and no more digits than it means."""
    if isinstance(value, Mapping):
        return one(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        if what.endswith(_TIMES):
            return duration(float(value))
        for ending, unit in _SUFFIXES:
            if what.endswith(ending):
                return si(float(value), unit)
        if isinstance(value, int) or 1e4 <= abs(value) < 1e9:
            return f"{float(f'{value:.3g}'):,.0f}" if isinstance(value, float) else f"{value:,}"
        return f"{value:.3g}"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
