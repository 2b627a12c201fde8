"""GGUF headers: sizes as llama.cpp prints them, shapes as published, hostile files refused at once."""

from __future__ import annotations

import os
import random
import struct
import time
import tracemalloc
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outlay.errors import OutlayError, Unreadable, Unsupported
from outlay.readers import architecture_from_mapping, model_from_path
from outlay.readers.gguf.header import MAX_ITEMS, read_gguf
from outlay.readers.gguf.model import model_from_gguf
from outlay.readers.gguf.types import BY_NAME, GGML_TYPES

make = SimpleNamespace(**run_path(str(Path(__file__).with_name("gguf_support.py"))))
published = SimpleNamespace(**run_path(str(Path(__file__).with_name("gguf_models.py"))))
SMALL: dict[str, Any] = {"layers": 2, "hidden": 256, "heads": 4, "kv_heads": 2, "ffn": 512, "vocab": 512}


def test_llama_8b_q4_k_m_as_llama_cpp_prints_it(tmp_path: Path) -> None:
    """llama.cpp prints 4.58 GiB and 4.89 BPW for this model; Meta's card counts 8,030,261,248 parameters."""
    file = read_gguf(make.write(tmp_path / "m.gguf", *make.llama()))
    assert round(file.weights_bytes / 2**30, 2) == 4.58
    assert round(file.bits_per_weight, 2) == 4.89
    assert file.main_type == "q4_k" and set(file.bytes_by_type) == {"q4_k", "q6_k", "f32"}
    assert sum(file.bytes_by_group.values()) == file.weights_bytes
    assert len(file.bytes_by_layer) == 32
    fields, remarks = model_from_path(tmp_path / "m.gguf")
    assert architecture_from_mapping(fields)[0].parameters == 8_030_261_248
    assert not remarks


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("q4_0", 4.5),
        ("q8_0", 8.5),
        ("q6_k", 6.5625),
        ("iq4_xs", 4.25),
        ("q2_k", 2.625),
        ("q3_k", 3.4375),
        ("q5_k", 5.5),
        ("iq2_xxs", 2.0625),
        ("iq1_s", 1.5625),
        ("mxfp4", 4.25),
        ("tq2_0", 2.0625),
        ("bf16", 16),
    ],
)
def test_bits_per_weight_as_published(name: str, bits: float) -> None:
    """The figures in llama.cpp's quantize help and tensor-type notes."""
    assert BY_NAME[name].bits_per_weight == bits


@pytest.mark.parametrize("name", published.PUBLISHED)
def test_shapes_from_keys_and_tensors_count_as_published(tmp_path: Path, name: str) -> None:
    """Experts, latent attention, windows, sinks, state-space and linear attention, output gates."""
    build, parameters = published.PUBLISHED[name]
    family, keys, tensors = build()
    keys = {"general.architecture": family} | {f"{family}.{key}": value for key, value in keys.items()}
    file = read_gguf(make.write(tmp_path / "m.gguf", keys, tensors))
    fields, remarks = model_from_gguf(file)
    assert file.elements == architecture_from_mapping(fields)[0].parameters == parameters
    assert not remarks


def test_mixture_with_latent_attention(tmp_path: Path) -> None:
    keys, tensors = make.llama(**SMALL)
    keys = {k.replace("llama.", "deepseek2."): v for k, v in keys.items()} | {
        "general.architecture": "deepseek2",
        "deepseek2.expert_count": 8,
        "deepseek2.expert_used_count": 2,
        "deepseek2.leading_dense_block_count": 1,
        "deepseek2.attention.kv_lora_rank": 64,
        "deepseek2.attention.key_length": 48,
        "deepseek2.attention.value_length": 32,
        "deepseek2.rope.dimension_count": 16,
        "deepseek2.expert_feed_forward_length": 128,
    }
    tensors = [t for t in tensors if not (t[0].startswith("blk.1.ffn_") and "norm" not in t[0])]
    tensors += [
        ("blk.1.ffn_gate_inp.weight", (256, 8), "f32"),
        ("blk.1.ffn_up_exps.weight", (256, 128, 8), "f16"),
        ("blk.1.ffn_gate_exps.weight", (256, 128, 8), "f16"),
        ("blk.1.ffn_down_exps.weight", (128, 256, 8), "f16"),
        ("blk.1.ffn_down_shexp.weight", (128, 256), "f16"),
    ]
    fields, _ = model_from_gguf(read_gguf(make.write(tmp_path / "m.gguf", keys, tensors)))
    assert fields["mla"] == {
        "kv_lora_rank": 64,
        "q_lora_rank": 0,
        "qk_rope_head_dim": 16,
        "qk_nope_head_dim": 32,
        "v_head_dim": 32,
    }
    assert (fields["experts"], fields["experts_per_token"], fields["expert_ffn"]) == (8, 2, 128)
    assert fields["dense_layers"] == 1 and fields["shared_expert_ffn"] == 128 and fields["ffn"] == 512


def test_sliding_window_patterns(tmp_path: Path) -> None:
    keys, tensors = make.llama(**(SMALL | {"layers": 12}))
    gemma = {k.replace("llama.", "gemma3."): v for k, v in keys.items()} | {
        "general.architecture": "gemma3",
        "gemma3.attention.sliding_window": 1024,
    }
    fields, _ = model_from_gguf(read_gguf(make.write(tmp_path / "g.gguf", gemma, tensors)))
    assert (fields["sliding_window"], fields["full_attention_every"]) == (1024, 6)
    named = gemma | {"gemma3.attention.sliding_window_pattern": [True, False] * 6}
    fields, _ = model_from_gguf(read_gguf(make.write(tmp_path / "h.gguf", named, tensors)))
    assert fields["full_attention_every"] == 2
    other = keys | {"llama.attention.sliding_window": 4096}
    fields, remarks = model_from_gguf(read_gguf(make.write(tmp_path / "l.gguf", other, tensors)))
    assert "sliding_window" not in fields and "window" in remarks[0]


def test_split_files_are_one_model(tmp_path: Path) -> None:
    keys, tensors = make.llama(**SMALL)
    split = keys | {"split.count": 2, "split.tensors.count": len(tensors)}
    make.write(tmp_path / "m-00001-of-00002.gguf", split | {"split.no": 0}, tensors[:5])
    one = read_gguf(tmp_path / "m-00001-of-00002.gguf")
    assert one.missing_files == 1 and "1 of 2" in one.remarks[0]
    make.write(tmp_path / "m-00002-of-00002.gguf", {"split.no": 1, "split.count": 2}, tensors[5:])
    for name in ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf"):
        both = read_gguf(tmp_path / name)
        assert both.missing_files == 0 and len(both.tensors) == len(tensors) and both.architecture == "llama"
    make.write(tmp_path / "m-00002-of-00002.gguf", {"split.no": 1}, tensors[4:])
    with pytest.raises(Unreadable, match="in two of its files"):
        read_gguf(tmp_path / "m-00001-of-00002.gguf")


HUGE = struct.pack("<Q", 2**63)
START = b"GGUF" + struct.pack("<IQQ", 3, 0, 1)
HOSTILE = {
    "empty": b"",
    "not one": b"PK\x03\x04" + bytes(40),
    "old": b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
    "big-endian": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "many tensors": b"GGUF" + struct.pack("<IQQ", 3, 2**62, 0),
    "many keys": b"GGUF" + struct.pack("<IQQ", 3, 0, 2**62),
    "long key": START + HUGE,
    "key not utf-8": START + make.text(b"\xff\xfe") + make.value(1),
    "long value": START + make.text("k") + struct.pack("<I", 8) + HUGE,
    "long array": START + make.text("k") + struct.pack("<II", 9, 4) + HUGE,
    "long string array": START + make.text("k") + struct.pack("<IIQ", 9, 8, MAX_ITEMS) + HUGE,
    "too many strings": START + make.text("k") + struct.pack("<II", 9, 8) + HUGE,
    "nested array": START + make.text("k") + struct.pack("<IIQ", 9, 9, 10**6),
    "unknown type": START + make.text("k") + struct.pack("<I", 77),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("size", [0, 10 * 2**30])
def test_hostile_headers_of_any_size_are_refused_fast_and_small(tmp_path: Path, name: str, size: int) -> None:
    path = tmp_path / "h.gguf"
    with path.open("wb") as file:
        file.write(HOSTILE[name])
        file.truncate(max(size, len(HOSTILE[name])))
    tracemalloc.start()
    begun = time.process_time()
    try:
        with pytest.raises((Unreadable, Unsupported)):
            read_gguf(path)
        assert time.process_time() - begun < 1
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("shape", "kind", "offset"),
    [
        ((0,), 0, 0),
        ((2**62, 4), 0, 0),
        ((33,), 8, 0),
        ((32,), 99, 0),
        ((32,), 4, 0),
        ((32,), 0, 7),
        ((32,), 0, 2**63),
        ((32,), 0, 4096),
        ((1, 1, 1, 1, 1), 0, 0),
    ],
)
def test_broken_tensors(tmp_path: Path, shape: tuple[int, ...], kind: int, offset: int) -> None:
    line = make.text("t") + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
    (tmp_path / "t.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + line + bytes(1024))
    with pytest.raises(Unreadable):
        read_gguf(tmp_path / "t.gguf")


def test_overlapping_and_repeated_tensors(tmp_path: Path) -> None:
    line = struct.pack("<IQIQ", 1, 32, 0, 0)
    for names, why in ((("a", "a"), "one name"), (("a", "b"), "overlap")):
        raw = b"GGUF" + struct.pack("<IQQ", 3, 2, 0) + b"".join(make.text(n) + line for n in names)
        (tmp_path / "t.gguf").write_bytes(raw + bytes(1024))
        with pytest.raises(Unreadable, match=why):
            read_gguf(tmp_path / "t.gguf")


def test_truncated_anywhere(tmp_path: Path) -> None:
    start, data = make.header(*make.llama(**SMALL))
    path = tmp_path / "m.gguf"
    for length in range(0, len(start) + data, (len(start) + data) // 40):
        path.write_bytes(start[:length] + bytes(max(0, length - len(start))))
        with pytest.raises(Unreadable):
            read_gguf(path)


def test_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f.gguf")
    for path in (tmp_path / "f.gguf", tmp_path, tmp_path / "none.gguf"):
        with pytest.raises(Unreadable):
            read_gguf(path)


def test_other_architectures_are_named(tmp_path: Path) -> None:
    for arch in ("bert", "rwkv7", ""):
        make.write(tmp_path / "m.gguf", {"general.architecture": arch, f"{arch}.block_count": 1}, [])
        with pytest.raises((Unsupported, Unreadable)):
            model_from_path(tmp_path / "m.gguf")
    keys, tensors = make.llama(**SMALL)
    make.write(tmp_path / "m.gguf", keys | {"general.type": "adapter"}, tensors)
    with pytest.raises(Unsupported, match="not a model"):
        model_from_path(tmp_path / "m.gguf")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**9))
def test_garbled_headers_never_crash(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    start, data = make.header(*make.llama(**SMALL))
    raw = bytearray(start)
    for _ in range(rng.randrange(1, 6)):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    path = tmp_path / "m.gguf"
    path.write_bytes(raw)
    os.truncate(path, len(raw) + data)
    try:
        fields, _ = model_from_gguf(read_gguf(path))
        architecture_from_mapping(fields)
    except OutlayError:
        pass


def test_every_type_has_whole_blocks() -> None:
    for kind in GGML_TYPES.values():
        assert kind.block_bytes > 0 and kind.block_elements > 0 and kind.name == kind.name.lower()
