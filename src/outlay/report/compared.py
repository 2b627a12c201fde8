"""Plans beside each other, as a page: totals, what changed, which lines, and what did it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from outlay.report import parts
from outlay.report.blocks import Block, Bullets, Mood, Note, Table, Verdict
from outlay.report.numbers import number, one, scale_for
from outlay.units import si

_NAMES = {"usd": ("money", "USD"), "elapsed_s": ("time", "s"), "device_hours": ("device-hours", ""),
          "energy_j": ("energy", "J"), "co2e_kg": ("CO2e", "kgCO2e"), "water_l": ("water", "L"),
          "ttft_s": ("first token", "s"), "tpot_s": ("each token", "s"), "output_tokens_per_s": ("tokens/s", ""),
          "usd_per_million_output_tokens": ("money/M", "USD"),
          "energy_per_output_token_j": ("energy/token", "J/token")}
_RANKED = ("usd", "elapsed_s", "usd_per_million_output_tokens", "tpot_s", "energy_j", "device_hours")
_SIGNS = {"+": "+", "-": "−", "~": "~"}
_AMOUNTS = {"device_s": "device time", "storage_byte_s": "bytes kept", "person_s": "people's time", "usd": "amount"}
LINES, TINY = 10, 0.002
NOISE = 1e-9  # of the whole; a difference below it is rounding


def page(found: Mapping[str, Any], verbose: bool = False) -> list[Block]:
    """All of it; with more than two subjects each against the first."""
    blocks: list[Block | None] = [verdict(found), totals(found)]
    several = len(found["differences"]) > 1
    for difference in found["differences"]:
        title = f"{difference['name']} against {difference['against']}: " if several else ""
        blocks += [inputs(difference, title, verbose), why(difference, title), lines(difference, title, verbose)]
    blocks.append(Note("Differences are taken on shared draws: what the plans have in common cancels. Brackets hold "
                       "80 % intervals."))
    return [block for block in blocks if block is not None]


def verdict(found: Mapping[str, Any]) -> Verdict:
    """Which takes least money (or time), by how much, and how sure that is."""
    unable = [s["name"] for s in found["subjects"] if not s["fits"]]
    said = [_sentence(d) for d in found["differences"]]
    details = (f"Does not fit or misses its goal: {', '.join(unable)}",) if unable else ()
    if len(said) == 1:
        text, mood = said[0]
        return Verdict(text, "bad" if unable else mood, details)
    ranked = [(v, s["name"]) for s in found["subjects"] if (v := number(s["measures"].get("usd"))) is not None]
    if len(ranked) < 2:
        return Verdict(f"{len(found['subjects'])} plans against {found['subjects'][0]['name']}", "plain", details)
    return Verdict(f"Least money: {min(ranked)[1]}", "bad" if unable else "good",
                   (*(text for text, _ in said), *details))


def _sentence(difference: Mapping[str, Any]) -> tuple[str, Mood]:
    a, b = difference["against"], difference["name"]
    for name in _RANKED:
        entry = difference["measures"].get(name)
        if not entry:
            continue
        words, unit = _NAMES[name]
        delta = number(entry["difference"]) or 0.0
        if abs(delta) <= NOISE * abs(number(entry["before"]) or 0.0):
            continue
        sure = entry["less_probability"] if delta < 0 else 1.0 - entry["less_probability"]
        amount = one(dict(entry["difference"], value=abs(delta), low=abs(delta), high=abs(delta), unit=unit), unit)
        share = f" ({100 * (entry['ratio'] - 1):+.0f} %)" if entry.get("ratio") else ""
        text = f"{b} takes {amount} {'less' if delta < 0 else 'more'} {words} than {a}{share}, in {100 * sure:.0f} % " \
               "of draws"
        return text, "good" if delta < 0 and sure >= 0.8 else "doubtful" if sure < 0.8 else "plain"
    return f"{b} and {a} take the same", "plain"


def totals(found: Mapping[str, Any]) -> Table | None:
    """One column a subject, and the difference where there are two."""
    subjects, differences = found["subjects"], found["differences"]
    rows = []
    for name, (words, unit) in _NAMES.items():
        values = [s["measures"].get(name) for s in subjects]
        if all(number(v) is None for v in values):
            continue
        cells = [one(_bare(v, unit), unit) if number(v) is not None else "unknown" for v in values]
        if len(differences) == 1:
            entry = differences[0]["measures"].get(name)
            cells += ["", ""] if not entry else [
                _signed(entry["difference"], unit, number(entry["before"]) or 0.0), _percent(entry)]
        rows.append((words, *cells))
    head = ("", *[s["name"] for s in subjects], *(("difference", "") if len(differences) == 1 else ()))
    return Table("Totals", head, tuple(rows)) if rows else None


def _bare(value: Any, unit: str) -> Any:
    return dict(value, unit=unit) if isinstance(value, Mapping) else value


def _signed(value: Mapping[str, Any], unit: str, whole: float) -> str:
    """A difference with its sign and its interval; what is nothing beside the whole is 0."""
    nominal = number(value) or 0.0
    low, high = number(value.get("low")) or 0.0, number(value.get("high")) or 0.0
    if max(abs(nominal), abs(low), abs(high)) <= NOISE * abs(whole):
        return "0"
    scale = scale_for(max(abs(nominal), abs(low), abs(high)), unit)
    digits = 2 if max(abs(low), abs(high), abs(nominal)) / scale.factor < 10 else 1

    def text(amount: float) -> str:
        return f"{'−' if amount < 0 else '+'}{abs(amount) / scale.factor:,.{digits}f}"

    interval = f" [{text(low)} to {text(high)}]" if low != high else ""
    return f"{text(nominal)[0]}{scale.before}{text(nominal)[1:]}{scale.after}{interval}"


def _percent(entry: Mapping[str, Any]) -> str:
    ratio = number(entry.get("ratio"))
    if ratio is None or abs(ratio - 1.0) <= NOISE:
        return ""
    return f"{100 * (ratio - 1):+.0f} %".replace("-", "−")


def inputs(difference: Mapping[str, Any], title: str, verbose: bool) -> Bullets | None:
    """Fields that differ, as given; those that follow from them with -v."""
    given = [_change(c) for c in difference["inputs"]]
    follows = [f"{_change(c)} (follows)" for c in difference["follows"]]
    shown = (given + follows) if verbose or not given else given
    if not shown:
        return Bullets(f"{title}What changed in what was asked", ("nothing",))
    count = f"{len(follows)} defaults follow" if len(follows) > 1 else "one default follows"
    more = [f"{count} (-v)"] if follows and given and not verbose else []
    return Bullets(f"{title}What changed in what was asked", (*shown, *more))


def _change(change: Mapping[str, Any]) -> str:
    sign, path = change["sign"], change["path"]
    before, after = _value(path, change["before"]), _value(path, change["after"])
    if sign == "~":
        return f"~ {path}: {before} → {after}"
    return f"{_SIGNS[sign]} {path}: {after if sign == '+' else before}"


def _value(path: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("name") or "a model of its own")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "not given" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    if path.endswith("tokens"):
        return si(float(value), "").replace(" ", "").replace("G", "B")
    for ending, unit in (("_bytes_per_s", "B/s"), ("_bytes", "B")):
        if path.endswith(ending):
            return si(float(value), unit)
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.6g}"


def why(difference: Mapping[str, Any], title: str) -> Table | None:
    """The effect of each change alone, and what only comes of them together: the column adds up."""
    rows = [row for row in difference["why"] if "error" not in row]
    if len(difference["why"]) < 2:
        return None
    names = [n for n in ("usd", "elapsed_s", "energy_j", "co2e_kg") if n in difference["measures"]]
    cells = []
    for row in rows:
        change = row["change"]
        label = "together, beyond each alone" if change is None else _change(change)
        cells.append((label, *[_plain(row.get(n), _NAMES[n][1]) for n in names]))
    total = ("all", *[_plain(number(difference["measures"][n]["difference"]), _NAMES[n][1]) for n in names])
    cells += [(f"{_change(row['change'])}: cannot be planned alone", *[""] * len(names))
              for row in difference["why"] if "error" in row]
    return Table(f"{title}What does it: each change alone", ("", *[_NAMES[n][0] for n in names]), tuple(cells), total)


def _plain(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    text = one(abs(value), unit)
    return f"{'−' if value < 0 else '+'}{text}" if value else "0"


def lines(difference: Mapping[str, Any], title: str, verbose: bool) -> Bullets | None:
    """The items of the plans that differ, the largest first, with the part of amount and of price."""
    rows = difference["lines"]
    whole = sum(abs(number(r["usd"]["difference"]) or 0.0) for r in rows if r["usd"])
    large = rows if verbose else [r for r in rows if _matters(r, whole)][:LINES]
    items = [_line(row) for row in large]
    if len(large) < len(rows):
        items.append(f"{len(rows) - len(large)} smaller ones (-v)")
    return Bullets(f"{title}Lines", tuple(items)) if items else None


def _matters(row: Mapping[str, Any], whole: float) -> bool:
    if row["usd"] is None or row["sign"] != "~":
        return True
    return bool(abs(number(row["usd"]["difference"]) or 0.0) > TINY * whole) if whole else True


def _line(row: Mapping[str, Any]) -> str:
    name = f"{_SIGNS[row['sign']]} {row['phase']} {parts.words(row['item'])}: "
    entry, unit = next(((row[n], _NAMES[n][1]) for n in ("usd", "energy_j") if row[n] and (
        number(row[n]["before"]) or number(row[n]["after"]))), (None, ""))
    if entry is None:
        return name + "price unknown"
    before, after = (one(_bare(entry[k], unit), unit, interval=False) for k in ("before", "after"))
    said = {"+": after, "-": before}.get(row["sign"], f"{before} → {after}")
    return name + said + _because(row["why"])


def _because(reasons: Sequence[Mapping[str, Any]]) -> str:
    """How far amount and price moved, by resource."""
    said = []
    for reason in reasons:
        amount, price = reason["amount_ratio"] - 1.0, (reason.get("price_ratio") or 1.0) - 1.0
        name = _AMOUNTS.get(reason["resource"], parts.words(reason["resource"]))
        found = [f"{name} {100 * amount:+.0f} %"] if abs(amount) > 0.005 else []
        found += [f"price {100 * price:+.0f} %"] if abs(price) > 0.005 else []
        said += [", ".join(found)] if found else []
    return f" ({'; '.join(said)})".replace("-", "−") if said else ""
