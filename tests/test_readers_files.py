"""Files others wrote: read when sound, refused by name, fast and in little memory when not."""

from __future__ import annotations

import json
import os
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlay.errors import OutlayError, Unreadable, Unsupported
from outlay.readers import architecture_from_mapping, model_from_path, read_hf_config, read_safetensors
from outlay.readers.json_file import CONFIG_BYTES
from outlay.readers.safetensors import HEADER_BYTES

CONFIG: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 100, "max_position_embeddings": 128,
}
TENSOR = {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}


def weights(path: Path, header: Any, data: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def test_safetensors_totals(tmp_path: Path) -> None:
    header = {"__metadata__": {"format": "pt"}, "a": TENSOR,
              "b": {"dtype": "F32", "shape": [], "data_offsets": [12, 16]}}
    facts, remarks = read_safetensors(weights(tmp_path / "m.safetensors", header, bytes(16)))
    assert facts == {"tensors": 2, "parameters": 7, "parameters_by_dtype": {"BF16": 6, "F32": 1}, "bytes": 16}
    assert not remarks


def test_sharded_index(tmp_path: Path) -> None:
    names = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 24}, "weight_map": {"a": names[0],
                                                                                "b": names[1]}}))
    facts, remarks = read_safetensors(index)
    assert facts == {"tensors": 2, "bytes": 24}
    assert "2 shards are missing" in remarks[0]
    for name, tensor in zip(names, "ab"):
        weights(tmp_path / name, {tensor: TENSOR}, bytes(12))
    assert read_safetensors(index) == ({"tensors": 2, "parameters": 12, "parameters_by_dtype": {"BF16": 12},
                                        "bytes": 24}, [])


def tensor(**changes: Any) -> dict[str, Any]:
    return {"a": TENSOR | changes}


@pytest.mark.parametrize(("header", "length", "message"), [
    (tensor(), 2**63, "header of 9,223,372,036,854,775,808 bytes"),
    (tensor(), 2**64 - 1, "header of"),
    (tensor(), 10_000_000_000, "the limit is"),
    (tensor(), HEADER_BYTES, "truncated"),
    (tensor(dtype="BF17"), None, "dtype 'BF17'"),
    (tensor(dtype=7), None, "dtype 7"),
    (tensor(shape=[-2, 3]), None, "shape"),
    (tensor(shape=[2.5, 3]), None, "shape"),
    (tensor(shape=[True, 6]), None, "shape"),
    (tensor(shape="23"), None, "shape"),
    (tensor(shape=[2**40, 2**40]), None, "does not fill"),
    (tensor(shape=[1] * 40), None, "shape"),
    (tensor(data_offsets=[0, 13]), None, "does not fill"),
    (tensor(data_offsets=[12, 0]), None, "does not fill"),
    (tensor(data_offsets=[100, 112]), None, "ends at byte"),
    (tensor(data_offsets=[0]), None, "data_offsets"),
    (tensor() | {"b": TENSOR}, None, "overlap"),
    ({"a": 3}, None, "not a mapping"),
    ([1, 2], None, "not a mapping"),
    (b'{"a": ' * 5000, None, "nested"),
    (b"[" * 100_000, None, "nested"),
    (b'{"a": {}, "a": {}}', None, "twice"),
    (b'{"a": NaN}', None, "NaN"),
    (b'{"a": ' + b"9" * 5000 + b"}", None, "5000 digits"),
    (b"\xff\xfe\x00", None, "UTF-8"),
    (b"{", None, "not JSON"),
    (b"", None, "not JSON"),
])
def test_broken_weights(tmp_path: Path, header: Any, length: int | None, message: str) -> None:
    path = weights(tmp_path / "m.safetensors", header, bytes(12), length)
    with pytest.raises(Unreadable) as caught:
        read_safetensors(path)
    assert message in caught.value.message
    assert len(caught.value.message) < 600


@pytest.mark.parametrize("size", [0, 3, 8])
def test_truncated_weights(tmp_path: Path, size: int) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(struct.pack("<Q", 50)[:size])
    with pytest.raises(Unreadable):
        read_safetensors(path)


def test_a_huge_sparse_file_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", 10_000_000_000))
        file.truncate(10_000_000_008)
    tracemalloc.start()
    begun = time.perf_counter()
    with pytest.raises(Unreadable, match="the limit is"):
        read_safetensors(path)
    elapsed = time.perf_counter() - begun
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert elapsed < 1
    assert peak < 1_000_000


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    for path in (tmp_path, tmp_path / "pipe.safetensors", Path("/dev/zero"), tmp_path / "none.safetensors"):
        with pytest.raises(Unreadable):
            read_safetensors(path)


@pytest.mark.parametrize("name", ["../m.safetensors", "/etc/passwd", "", 3, None, ".", "a\0b"])
def test_an_index_reaches_only_beside_itself(tmp_path: Path, name: Any) -> None:
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(Unreadable, match="beside the index"):
        read_safetensors(index)


def test_model_from_folder_file_and_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    parameters = architecture_from_mapping(read_hf_config(CONFIG)[0])[0].parameters
    for path in (tmp_path, tmp_path / "config.json"):
        fields, remarks = model_from_path(path)
        assert architecture_from_mapping(fields)[0].parameters == parameters
        assert not remarks
    path = weights(tmp_path / "model.safetensors", {"a": TENSOR}, bytes(12))
    fields, remarks = model_from_path(path)
    assert fields["layers"] == 2
    assert "6 elements" in remarks[-1]


def test_weights_alone_give_totals(tmp_path: Path) -> None:
    fields, remarks = model_from_path(weights(tmp_path / "m.safetensors", {"a": TENSOR}, bytes(12)))
    assert fields == {"parameters": 6}
    assert "inferred" in remarks[-1]


def test_paths_that_hold_no_model(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    for path, error in ((tmp_path, Unreadable), (tmp_path / "list.json", Unreadable),
                        (tmp_path / "model.gguf", Unreadable),
                        (tmp_path / "model.bin", Unsupported), (tmp_path / "none.json", Unreadable)):
        with pytest.raises(error):
            model_from_path(path)


@pytest.mark.parametrize(("changes", "message"), [
    ({"hidden_size": None}, "lacks hidden_size"),
    ({"vocab_size": None}, "lacks padded_vocab_size or vocab_size"),
    ({"hidden_size": -64}, "hidden_size is -64"),
    ({"hidden_size": "64"}, "hidden_size is '64'"),
    ({"hidden_size": 10**12}, "hidden_size is"),
    ({"hidden_size": 65}, "not a multiple"),
    ({"num_hidden_layers": 2.5}, "num_hidden_layers is 2.5"),
    ({"num_attention_heads": 0}, "num_attention_heads is 0"),
    ({"tie_word_embeddings": "yes"}, "tie_word_embeddings is 'yes'"),
    ({"layer_types": ["full_attention"], "sliding_window": 8}, "1 entries for 2 layers"),
    ({"layer_types": 7, "sliding_window": 8}, "it must be a list"),
    ({"model_type": 3}, "model_type is 3"),
    ({"quantization_config": 3}, "must be a mapping"),
])
def test_broken_configurations(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_hf_config(CONFIG | changes)
    assert message in caught.value.message


def test_other_kinds_of_model_are_named() -> None:
    with pytest.raises(Unsupported, match="bert"):
        read_hf_config({"model_type": "bert", "hidden_size": 768})
    with pytest.raises(Unsupported):
        read_hf_config(CONFIG | {"model_type": "t5", "is_encoder_decoder": True})


def test_an_unknown_family_is_read_as_llama_and_said() -> None:
    fields, notes = read_hf_config(CONFIG | {"model_type": "frontier-9"})
    assert fields == read_hf_config(CONFIG)[0]
    assert notes[0]["value"] == "frontier-9"


def test_a_configuration_too_large(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(b" " * (CONFIG_BYTES + 1))
    with pytest.raises(Unreadable, match="larger than"):
        read_hf_config(path)


_TEXT = st.text("abn0.1-[{ ", max_size=6)
_LEAF = st.one_of(st.none(), st.booleans(), st.integers(-(10**6), 10**6), st.integers(), st.floats(), _TEXT)
_JSON = st.recursive(_LEAF, lambda inner: st.one_of(st.lists(inner, max_size=4),
                                                    st.dictionaries(_TEXT, inner, max_size=4)), max_leaves=8)
_FAMILIES = ("llama", "qwen3_moe", "deepseek_v3", "deepseek_v4", "glm_moe_dsa", "gemma3", "gemma4", "falcon",
             "mpt",
             "dbrx", "jamba", "mamba", "mamba2", "nemotron_h", "qwen3_5_moe", "minimax", "step3p7",
             "kimi_linear",
             "nemotron-nas", "mimo_v2_flash", "gpt2", "opt", "bloom", "phi", "gpt_oss", "llama4", "chatglm")
_KEYS = (*CONFIG, "layer_types", "sliding_window", "num_experts", "num_experts_per_tok",
         "moe_intermediate_size",
         "n_embd", "kv_lora_rank", "head_dim", "text_config", "vision_config", "hybrid_override_pattern",
         "block_configs", "linear_attn_config", "attn_config", "compress_ratios", "moe_layer_freq")


@settings(deadline=None, max_examples=300)
@given(family=st.sampled_from(_FAMILIES), changes=st.dictionaries(st.sampled_from(_KEYS), _JSON, max_size=5))
def test_any_configuration_is_read_or_refused(family: str, changes: dict[str, Any]) -> None:
    try:
        fields, _ = read_hf_config(CONFIG | {"model_type": family} | changes)
        architecture_from_mapping(fields)
    except OutlayError as error:
        assert error.message


@settings(deadline=None, max_examples=200)
@given(cut=st.integers(0, 400), at=st.integers(0, 200), byte=st.integers(0, 255), header=_JSON)
def test_any_weights_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, cut: int, at: int,
                                         byte: int,
                                         header: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.safetensors"
    weights(path, {"a": TENSOR, "b": header}, bytes(12))
    data = bytearray(path.read_bytes())
    if at < len(data):
        data[at] = byte
    path.write_bytes(bytes(data[: max(0, len(data) - cut)] if cut < 200 else data))
    try:
        facts, _ = read_safetensors(path)
    except OutlayError as error:
        assert error.message
    else:
        assert facts["parameters"] >= 0
