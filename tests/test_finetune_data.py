"""Row lengths from a person's own file, prompts of reinforcement learning, replay in continued pre-training."""

from __future__ import annotations

import json
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlay import OutlayError, plan
from outlay.readers.row_lengths import RowLengths, row_lengths

SMALL = {"layers": 8, "hidden": 1024, "heads": 16, "kv_heads": 4, "ffn": 4096, "gated": True, "vocab": 32000}
LENGTHS = (100, 200, 300, 1000)


def result(**fields: Any) -> Any:
    return plan({"model": SMALL, "fleet": fields.pop("fleet", "1xa100-sxm4-80gb"), "site": "aws:us-east-1",
                 "finetune": {"sequence_length": 1024, "method": "lora", **fields}})


def tune(**fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = result(**fields).phases["finetune"]
    return found


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows in the format of the file's ending."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=2))
    else:
        import pyarrow as pa
        from pyarrow import parquet

        table = pa.Table.from_pylist(rows)
        if path.suffix == ".parquet":
            parquet.write_table(table, path, row_group_size=3)
        else:
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
    return path


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet", "arrow"])
@pytest.mark.parametrize("row", [
    lambda n: {"length": n, "text": "not counted"},
    lambda n: {"input_ids": [1] * n},
    lambda n: {"text": "x" * (4 * n)},
    lambda n: {"messages": [{"role": "", "content": "x" * (2 * n)}, {"role": "", "content": "y" * (2 * n)}]},
    lambda n: {"tokens": [7] * n, "id": "abc"},
])
def test_every_format_says_the_same(tmp_path: Path, ending: str, row: Any) -> None:
    found = row_lengths(str(write(tmp_path / f"rows.{ending}", [row(n) for n in LENGTHS])), "finetune.data_file")
    assert found == RowLengths(LENGTHS, (1, 1, 1, 1), 1000)


def test_lengths_are_read_from_a_file(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.parquet", [{"length": n} for n in LENGTHS])
    phase = tune(data_file=str(rows))
    assert phase["tokens"] == 1600
    assert phase["steps"].value == pytest.approx(4)
    short = tune(longest=300, mean=200, examples=1000)
    assert phase["memory_per_device_bytes"].value > short["memory_per_device_bytes"].value


def test_rows_longer_than_the_sequence_are_said(tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", [{"length": n} for n in (*LENGTHS, 5000)])
    found = result(data_file=str(rows))
    assert any("1 of 5 rows are longer" in warning for warning in found.to_dict()["warnings"])
    assert found.phases["finetune"]["tokens"] == 1600 + 1024


@pytest.mark.parametrize("text", ["{", "[1, 2", "\x00\x01", "nonsense\n", "", "[]", '{"id": 3}\n', '["a"]\n["b"]'])
def test_a_broken_data_file_is_named(tmp_path: Path, text: str) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(text)
    with pytest.raises(OutlayError) as caught:
        tune(data_file=str(rows))
    assert caught.value.field == "finetune.data_file"


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1" + bytes(200) + b"PAR1", b"text", b""])
def test_a_broken_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    rows = tmp_path / "rows.parquet"
    rows.write_bytes(content)
    with pytest.raises(OutlayError) as caught:
        tune(data_file=str(rows))
    assert caught.value.to_dict()["kind"] == "unreadable"
    assert caught.value.field == "finetune.data_file"


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write(tmp_path / "rows.parquet", [{"length": 3}])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(OutlayError, match=r"outlay\[parquet\]"):
        tune(data_file=str(rows))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Python's own memory; Arrow's buffers are those of one row group."""
    rows = tmp_path / "rows.jsonl"
    with open(rows, "w") as handle:
        for i in range(40_000):
            handle.write(json.dumps({"text": "word " * (1 + i % 50), "id": i}) + "\n")
    tracemalloc.start()
    found = row_lengths(str(rows), "finetune.data_file")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.rows == 40_000
    assert peak < 8e6


def test_an_array_is_read_over_the_edges_of_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [3, 50, 7, 64, 1, 20] * 40
    rows = write(tmp_path / "rows.json", [{"length": 1000 + n} for n in sizes])
    monkeypatch.setattr("outlay.readers.row_lengths.BLOCK", 17)
    found = row_lengths(str(rows), "finetune.data_file")
    assert found.rows == len(sizes)
    assert found.moment(1, 10**6) == pytest.approx(1000 + np.mean(sizes))


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=40), st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_padding_lies_between_mean_and_longest(sizes: list[int], micro_batch: int) -> None:
    kinds, counts = np.unique(sizes, return_counts=True)
    read = RowLengths(tuple(map(int, kinds)), tuple(map(int, counts)), max(sizes))
    padded = read.padded_mean(micro_batch, 10**6)
    assert np.mean(sizes) - 1e-9 <= padded <= max(sizes) + 1e-9


@pytest.mark.parametrize("algorithm", ["ppo", "grpo"])
def test_prompts_come_from_a_file(tmp_path: Path, algorithm: str) -> None:
    """Memory by the longest prompt and response, tokens by the mean prompt, examples by the rows."""
    prompts = write(tmp_path / "prompts.parquet", [{"prompt": "x" * 4 * n} for n in LENGTHS[:3]])
    asked = {"algorithm": algorithm, "fleet": "2xa100-sxm4-80gb", "rollout": {"max_response": 512, "samples": 4}}
    read = tune(**asked, data_file=str(prompts))
    assert read["tokens"] == pytest.approx(3 * 4 * (200 + 256))
    as_long = tune(**asked, examples=3, mean=200 + 256, longest=300 + 512)
    assert read["memory_per_device_bytes"].value == pytest.approx(as_long["memory_per_device_bytes"].value)
    told = tune(**asked, data_file=str(prompts), mean=300)
    assert told["tokens"] == pytest.approx(3 * 4 * 300)
    with pytest.raises(OutlayError, match=r"finetune\.examples"):
        tune(**asked, data_file=str(prompts), examples=3)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_replay_adds_its_tokens_to_everything(method: str) -> None:
    """A tenth replayed: new tokens are nine tenths of what is trained (arXiv:2403.08763)."""
    asked = {"method": method, "packing": True, "tokens": 1e9, "epochs": 2.0}
    plain, more = result(**asked), result(**asked, replay_share=0.1)
    before, after = plain.phases["finetune"], more.phases["finetune"]
    assert after["tokens"] == pytest.approx(2e9 / 0.9)
    assert after["replayed_tokens"] == pytest.approx(2e8 / 0.9)
    assert after["step_time_s"].value == before["step_time_s"].value
    assert after["memory_per_device_bytes"].value == before["memory_per_device_bytes"].value
    for name in ("steps", "epoch_s"):
        assert after[name].value == pytest.approx(before[name].value / 0.9)
    for name in ("usd", "energy_j", "co2e_kg"):
        assert more.totals[name].value == pytest.approx(plain.totals[name].value / 0.9, rel=0.02)
    assert after["dataset_bytes"].value == pytest.approx(before["dataset_bytes"].value * (1 + 2 / 9))


def test_epochs_do_not_store_their_data_again() -> None:
    once, thrice = tune(examples=1000, epochs=1), tune(examples=1000, epochs=3)
    assert once["dataset_bytes"].value == thrice["dataset_bytes"].value
