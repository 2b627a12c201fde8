"""Prices of tokens by provider and model: a dated snapshot of an openly licensed collection, made small.

`token_prices_checked.csv` holds when the collection's authors last compared a price with its provider's page.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from catalog_build.common import number, read_csv, shippable, write_if_changed

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "src"))

from outlay.catalog.names import plain
from outlay.catalog.token_prices import COLUMNS

SOURCE = "genai-prices 0.2.3 (pydantic, MIT)"
MODES = {"base": "base", "variant:processing=batch": "batch", "variant:service_tier=flex": "flex",
         "variant:service_tier=priority": "priority"}
PRICES = {"input_mtok": "in", "cache_read_mtok": "cached", "cache_write_mtok": "write", "output_mtok": "out"}
# what providers put before and behind a model's own name
VENDORS = re.compile(r"^(meta|metallama|mistralai|mistral(?=mi)|qwen(?=qwen)|google|openai|moonshotai|deepseekai|"
                     r"databricks|microsoft|nvidia|zaiorg|minimaxai|cf|accountsfireworksmodels)(?=[a-z])")
ENDINGS = re.compile(r"^(instruct|chat|it|turbo|lite|instant|versatile|reference|maas|hf|fp8|fp4|bf16|awq|int4|fast|"
                     r"specdec|tput|latest|v\d{1,2}|0131|0324|0528|2507|2508)*$")


def write(data_dir: Path, out: Path) -> str:
    """Write token_prices.csv; returns a line saying how many rows were kept and how many name a known model."""
    known = _known(out / "model.csv")
    checked = {(r["provider"], r["model"]): r["checked"]
               for r in read_csv(Path(__file__).with_name("token_prices_checked.csv"))}
    dropped: Counter[str] = Counter()
    rows = sorted(_rows(data_dir / "api_token_prices.csv", known, checked, dropped))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    write_if_changed(out / "token_prices.csv", text.getvalue())
    served = sum(bool(row[2]) for row in rows)
    why = ", ".join(f"{n} {reason}" for reason, n in sorted(dropped.items()))
    return f"token prices: {len(rows)} rows, {served} of a catalogued model; left out: {why}"


def _rows(path: Path, known: Mapping[str, str], checked: Mapping[tuple[str, str], str],
          dropped: Counter[str]) -> Iterator[tuple[str, ...]]:
    for row in shippable(path):
        mode = MODES.get(row["kind"])
        if mode is None:
            dropped["of other variants"] += 1
            continue
        if not float(row["input_mtok"] or 0) > 0 or not float(row["output_mtok"] or 0) > 0:
            dropped["without a price of text in and out"] += 1
            continue
        yield (row["provider"], row["model"], served(row["model"], known), mode, row["effective_from"],
               hours(row["time_of_day_utc"]), number(round(float(row["input_mtok"]), 6)), _tidy(row["cache_read_mtok"]),
               _tidy(row["cache_write_mtok"]), number(round(float(row["output_mtok"]), 6)),
               _request(row["requests_kcount"]), tiers(row["tiers"]), row["context_window"],
               checked.get((row["provider"], row["model"]), ""), "1" if row["deprecated"] else "", SOURCE)


def _tidy(text: str) -> str:
    return number(round(float(text), 6)) if text else ""


def _request(per_thousand: str) -> str:
    return number(float(per_thousand) / 1000.0) if per_thousand else ""


def hours(text: str) -> str:
    """Hours of the day in UTC as a start and an end: "0.5-16.5"."""
    found = re.fullmatch(r"(\d\d):(\d\d):00\+00:00-(\d\d):(\d\d):00\+00:00", text)
    if found is None:
        return ""
    a, b, c, d = map(int, found.groups())
    return f"{number(a + b / 60)}-{number(c + d / 60)}"


def tiers(text: str) -> str:
    """Prices above a number of input tokens: "200000:in=4,out=15", in the order of the numbers."""
    found: dict[int, list[str]] = {}
    for part in filter(None, (p.strip() for p in text.split(";"))):
        name, _, steps = part.partition(" tiers>")
        if name in PRICES:
            for step in steps.split("/"):
                start, _, price = step.partition(":")
                found.setdefault(int(start), []).append(f"{PRICES[name]}={number(round(float(price), 6))}")
    return ";".join(f"{start}:{','.join(sorted(found[start]))}" for start in sorted(found))


def served(name: str, known: Mapping[str, str]) -> str:
    """The catalogue's model behind a provider's name for it, or nothing when the words do not say so.

    Dates and precisions in a name count as endings: it is the same shape, not the same quality.
    """
    words = re.sub(r"v(\d)p(\d)", r"\1.\2", name.lower().split("/")[-1].split(":free")[0])
    key = plain(words)
    while found := VENDORS.match(key):
        key = key[found.end():]
    fits = [k for k in known if key.startswith(k) and ENDINGS.match(key[len(k):])]
    return known[max(fits, key=len)] if fits else ""


def _known(path: Path) -> dict[str, str]:
    """Plain spellings of catalogued models: their ids, and the last part of their repository's name."""
    found: dict[str, str] = {}
    for row in read_csv(path):
        if row["parameter"] == "name":
            found.setdefault(plain(row["id"]), row["id"])
        elif row["parameter"] == "hf_id":
            found.setdefault(plain(row["value"].split("/")[-1]), row["id"])
    return found
