"""A serving result as a page: fits or not, memory, what the cache holds, one request alone, what to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlay.report import books, parts, screen
from outlay.report import serving_load as under
from outlay.report import serving_replay as replayed
from outlay.report.blocks import Block, Bullets, Commands, Mood, Table, Verdict
from outlay.report.numbers import number, one

_DEGREES = (
    ("tensor", "tensor"),
    ("pipeline", "pipeline"),
    ("expert", "expert"),
    ("data", "data"),
    ("decode_context_parallel", "decode context"),
)

_MEMORY = ("serve", "model", "utilisation")
_FIRST = (
    "precision",
    "max_model_len",
    "engine_version",
    "engine",
    "max_num_batched_tokens",
    "max_num_seqs",
    "memory_utilization",
)


def page(result: Mapping[str, Any], verbose: bool = False, following: Sequence[str] = ()) -> list[Block]:
    """The blocks of a serving result, in the order every page keeps."""
    phase = result["serve"]
    blocks: list[Block | None] = [verdict(result), *under.options(phase), parts.memory(phase)]
    if phase.get("fits") is not False:
        blocks += [under.latency(phase), replayed.replay(phase), under.load(phase), under.other_loads(phase)]
        blocks += [under.by_hour(phase), under.prices(phase)]
        blocks += [parts.unpriced(result), parts.takes(result, verbose)]
        blocks += [holds(phase), lengths(phase), alone(phase)] if verbose else [lengths(phase)]
    changes = screen.nearest(phase) if phase.get("nearest") else None
    blocks += [_start(phase)] if phase.get("fits") is not False else []
    blocks += [parts.stages(phase) if verbose else None, changes, _room(phase)]
    said = result if verbose or result.get("lines") else _about_memory(result)
    blocks += [*books.blocks(result), screen.warnings(said), screen.assumptions(said, verbose), screen.brackets()]
    if following:
        blocks.append(Commands(tuple(following)))
    return [b for b in blocks if b is not None]


def _about_memory(result: Mapping[str, Any]) -> dict[str, Any]:
    """Without what only money, energy and carbon need: nothing is priced here."""
    kept = [a for a in result.get("assumptions") or [] if str(a.get("what")).startswith(_MEMORY)]
    warned = [w for w in result.get("warnings") or [] if str(w).startswith(_MEMORY)]
    return {**result, "assumptions": sorted(kept, key=_rank), "warnings": warned}


def _rank(entry: Mapping[str, Any]) -> int:
    name = str(entry.get("what")).removeprefix("serve.")
    return _FIRST.index(name) if name in _FIRST else len(_FIRST)


def verdict(result: Mapping[str, Any]) -> Verdict:
    """Fits or not, with what engine on what; below it the margin and the layout."""
    phase = result["serve"]
    mood, word = screen.over_budget(result, *_word(phase))
    scenario = result.get("scenario") or {}
    served = f"{(result.get('model') or {}).get('name', 'the model')} in {_precision(scenario)}"
    text = f"{word}: {served} with {phase.get('engine', 'an engine')} on {screen.fleet(result)}"
    if phase.get("fits") is False:
        lines = [screen.binding(phase.get("binding")), _turn(phase)]
    else:
        lines = [*under.said(phase), under.surer(phase), under.next_step(phase), _margin(phase),
                 _layout(phase, screen.device(result))]
        text += _headline(phase)
    return Verdict(text, mood, tuple(line for line in lines if line))


def _start(phase: Mapping[str, Any]) -> Block | None:
    """The engine's own line for this plan."""
    import shlex

    found = phase.get("launch")
    if not found:
        return None
    items: list[str] = []
    commands: list[int] = []
    for name, own in [*(found.get("pools") or {}).items(), ("", found)]:
        items += [f"{name}:"] * bool(name)
        commands += [len(items)] * bool(own["words"])
        items += [shlex.join(own["words"])] * bool(own["words"])
    return Bullets("Start it", (*items, *found["notes"]), frozenset(commands))


def _headline(phase: Mapping[str, Any]) -> str:
    """Throughput and price of a token, where they are known."""
    rate, cost = number(phase.get("output_tokens_per_s")), phase.get("usd_per_million_output_tokens")
    if rate is None or all(number(phase.get(time)) is None for time in ("tpot_s", "e2e_s")):
        return ""
    money = f", {one(cost, 'USD')} per million" if number(cost) is not None else ""
    said = f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
    return f": {said} output tokens/s{money}"


def _word(phase: Mapping[str, Any]) -> tuple[Mood, str]:
    probability = number(phase.get("fits_probability"))
    if probability is not None and 0.1 <= probability <= 0.9:
        return "doubtful", f"Borderline, {100 * probability:.0f} % likely to fit"
    if phase.get("fits") is False:
        return "bad", "Does not fit"
    if phase.get("sustained") is False:
        return "bad", f"Fits, but saturates at {under.times_over(phase)} what it sustains"
    broken = [name.upper() for name, found in (phase.get("slo") or {}).items() if not found["met"]]
    return ("bad", f"Fits, but breaks the promised {' and '.join(broken)}") if broken else ("good", "Fits")


def _precision(scenario: Mapping[str, Any]) -> str:
    return str((scenario.get("serve") or {}).get("precision") or "its own precision")


def _turn(phase: Mapping[str, Any]) -> str:
    """The first change that makes it fit."""
    found = phase.get("nearest") or []
    return f"Turn: {found[0].get('change')}" if found else "Nothing tried makes it fit"


def _margin(phase: Mapping[str, Any]) -> str:
    held, tokens = number(phase.get("max_concurrency")), number(phase.get("kv_cache_tokens"))
    if held is None or tokens is None:
        return ""
    return f"Cache: {tokens:,.0f} tokens a replica, {held:,.1f} requests of the longest length at once"


def _layout(phase: Mapping[str, Any], device: str) -> str:
    pools, idle = phase.get("pools") or {}, phase.get("devices_idle") or 0
    whole = under.pools_told(pools, device) or _split(phase)
    apart = [f"{name} {_split({**pool, 'replicas': 1})}" for name, pool in pools.items() if _more(pool)]
    whole += f" ({'; '.join(apart)})" if apart else ""
    if not idle:
        return f"Layout: {whole}"
    replay = phase.get("replay") or {}
    follows = "replicas_mean" in replay or "pools" in replay  # what none of them holds is not paid for
    return f"Layout: {whole}; {idle} devices " + ("beyond it, not billed" if follows else "idle")


def _more(pool: Mapping[str, Any]) -> bool:
    """Whether a pool is split by more than its tensor degree."""
    layout = pool.get("layout") or {}
    return any((number(layout.get(name)) or 1) > 1 for name, _ in _DEGREES if name != "tensor")


def _split(held: Mapping[str, Any]) -> str:
    """How a deployment, or one pool of it, is split."""
    layout, replicas = held.get("layout") or {}, held.get("replicas") or 1
    said = [f"{word} {layout[name]}" for name, word in _DEGREES if (number(layout.get(name)) or 1) > 1]
    return " · ".join(said or ["one device"]) + (f", {replicas} replicas" if replicas > 1 else "")


def holds(phase: Mapping[str, Any]) -> Table | None:
    """What a replica's cache is and holds."""
    rows = [
        ("a token, whole model", f"{number(phase.get('kv_bytes_per_token')) or 0:,.0f} bytes"),
        ("cache of a device", one(phase.get("kv_cache_bytes_per_device"), "B", memory=True)),
        ("tokens in the cache of a replica", under.count(phase.get("kv_cache_tokens"))),
        ("requests of the longest length at once", under.count(phase.get("max_concurrency"), 1)),
        ("requests the engine runs at once, at most", under.count(phase.get("max_num_seqs"))),
    ]
    if number(phase.get("state_bytes_per_sequence")):
        rows.append(("state of a request", one(phase["state_bytes_per_sequence"], "B")))
    return Table("What it holds", ("", ""), tuple(row for row in rows if row[1]), text_columns=frozenset({0}))


def lengths(phase: Mapping[str, Any]) -> Table | None:
    """Requests at once by their length."""
    found = (phase.get("room") or {}).get("sequences_at") or {}
    if not found:
        return None
    head = ("requests of", *[f"{int(n):,} tokens" for n in found])
    return Table("At once, a replica", head, (("fit", *[f"{count:,}" for count in found.values()]),))


def alone(phase: Mapping[str, Any]) -> Table | None:
    """One request without others: a roofline over what each token reads."""
    found = phase.get("one_stream") or {}
    if not found:
        return None
    rows = (
        ("first token", one(found.get("ttft_s"), "s")),
        ("each further token", one(found.get("tpot_s"), "s")),
        ("tokens a second", under.count(found.get("output_tokens_per_s"), 1)),
    )
    title = f"One request alone, {found.get('input', 0):,.0f} tokens in, {found.get('output', 0):,.0f} out"
    return Table(title, ("", ""), rows)


def _room(phase: Mapping[str, Any]) -> Block | None:
    """What could still grow."""
    room = phase.get("room") or {}
    longest, most = room.get("longest_sequence"), room.get("longest_sequence_of_model")
    if not longest:
        return None
    said = f"requests of up to {longest:,} tokens fit"
    return Bullets("Room left", (said + (", all the model was made for" if longest == most else ""),))
