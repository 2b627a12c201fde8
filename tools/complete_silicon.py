"""Complete the silicon table with what its runs' public configurations say: replicas of pools, ranks, drafted tokens.

python tools/complete_silicon.py TRUTH CLONE OUT

CLONE is a clone of github.com/SemiAnalysisAI/InferenceX (Apache-2.0) with its history: every version of its
configurations up to the table's date is read, none of its results. A row is completed where one configuration has its
device, image, precision, lengths, concurrency and devices of each pool. OUT is a folder for the completed table, which
`outlay validate OUT` and `tools/fit_serve_time.py OUT` read as they read TRUTH.
"""

from __future__ import annotations

import argparse
import csv
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

TABLE = "aiconfigurator_silicon.csv"
FILE = ".github/configs/nvidia-master.yaml"
UNTIL = "2026-04-12"
MODELS = {"dsr1": "deepseek", "gptoss": "gpt-oss"}
FRAMEWORKS = {"dynamo-trt": "trtllm", "dynamo-trtllm": "trtllm", "dynamo-sglang": "sglang"}
DRAFTED = re.compile(r"mtp(\d)")
STEPS = 2  # that drafting takes in SGLang's scripts where the name of a configuration does not say
Key = tuple[str, ...]


def git(clone: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", str(clone), *words], capture_output=True, text=True, check=True).stdout


def configurations(clone: Path) -> dict[Key, set[tuple[str, dict[str, int]]]]:
    """By what a row prints: image, and what it does not."""
    found: dict[Key, dict[str, tuple[str, dict[str, int]]]] = defaultdict(dict)
    for commit in git(clone, "log", "--format=%H", f"--until={UNTIL}", "--", FILE).split():
        for name, whole in (yaml.load(git(clone, "show", f"{commit}:{FILE}"), yaml.CSafeLoader) or {}).items():
            for key, each in _points(name, whole):
                found[key][repr((whole["image"], each))] = whole["image"], each
    return {key: list(each.values()) for key, each in found.items()}  # type: ignore[misc]


def _points(name: str, whole: Mapping[str, Any]) -> Iterator[tuple[Key, dict[str, int]]]:
    model, precision, device = name.split("-")[:3]
    if whole.get("framework") not in FRAMEWORKS or model not in MODELS:
        return
    for lengths in whole["seq-len-configs"]:
        for point in lengths["search-space"]:
            if "decode" not in point:
                continue
            sides = {side: _side(point[side]) for side in ("prefill", "decode")}
            drafted = 0
            if point.get("spec-decoding", "none") == "mtp":
                told = DRAFTED.search(" ".join(map(str, point["prefill"].get("additional-settings", []))))
                drafted = int(told[1]) if told else STEPS
            each = {"prefill_workers": sides["prefill"]["replicas"], "decode_workers": sides["decode"]["replicas"],
                    "prefill_ranks": sides["prefill"]["ranks"], "decode_ranks": sides["decode"]["ranks"],
                    "drafted": drafted}
            for count in point["conc-list"]:
                yield (MODELS[model], precision, device, FRAMEWORKS[whole["framework"]], str(lengths["isl"]),
                       str(lengths["osl"]), str(count), str(sides["prefill"]["devices"]),
                       str(sides["decode"]["devices"])), each


def _side(pool: Mapping[str, Any]) -> dict[str, int]:
    """Attention ranks are as many as devices where they are on: the configuration's tp then counts devices."""
    devices = max(int(pool["tp"]), 1)
    return {"replicas": int(pool["num-worker"]), "devices": devices, "ranks": devices if pool["dp-attn"] else 1}


def completed(row: dict[str, str], known: Mapping[Key, Any]) -> dict[str, int] | None:
    """What the one configuration of this row's image says, if there is one."""
    if row["scenario"] != "disagg" or re.search(r"prefill_workers=\d", row["notes"]):
        return None
    engine, _, version = row["engine_version"].partition(" ")
    devices = []
    for side in "PD":
        widths = [int(match[1]) for field in ("tp", "dp") if (match := re.search(rf"{side}(\d+)", row[field]))]
        devices.append(str(max(widths[0], 1) * max(widths[1], 1)))
    if devices == ["1", "1"] and "deepseek" in row["model"].lower():
        return None  # nothing was printed: one device cannot hold it
    model = "deepseek" if "deepseek" in row["model"].lower() else "gpt-oss" if "gpt-oss" in row["model"] else ""
    key = (model, "fp4" if "fp4" in row["precision"] else row["precision"], row["gpu"].partition("_")[0], engine,
           row["input_len"], row["output_len"], row["concurrency"], *devices)
    ways = [each for image, each in known.get(key, []) if version and version in image]
    return ways[0] if ways and all(way == ways[0] for way in ways) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("truth", "clone", "out"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for file in given.truth.glob("*.csv"):
        shutil.copyfile(file, given.out / file.name)
    known = configurations(given.clone)
    with open(given.truth / TABLE, newline="", encoding="utf-8") as file_:
        rows = list(csv.DictReader(file_))
    count = 0
    for row in rows:
        each = completed(row, known)
        if each is not None:
            count += 1
            told = "; ".join(f"{name}={value}" for name, value in each.items())
            row["notes"] = re.sub(r"prefill_bs= prefill_workers= decode_bs= decode_workers=", told, row["notes"])
    with open(given.out / TABLE, "w", newline="", encoding="utf-8") as file_:
        writer = csv.DictWriter(file_, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print(f"{count} of {sum(row['scenario'] == 'disagg' for row in rows)} rows with two pools completed")


if __name__ == "__main__":
    main()
