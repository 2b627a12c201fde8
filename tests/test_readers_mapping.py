"""The `model:` mapping: defaults are stated, contradictions named, shapes inferred from totals."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from outlay.errors import BadValue, Inconsistent, OutlayError, UnknownField
from outlay.model_size import model_parts
from outlay.readers import MODEL_FIELDS, architecture_from_mapping

LLAMA = {"layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8, "ffn": 14336, "vocab": 128256}


def changed(**changes: Any) -> dict[str, Any]:
    return LLAMA | changes


def test_defaults_are_stated() -> None:
    arch, notes = architecture_from_mapping({"layers": 2, "hidden": 256})
    stated = {note["what"]: note["value"] for note in notes}
    assert stated == {"model.gated": True, "model.heads": 2, "model.kv_heads": 2, "model.ffn": 768,
                      "model.vocab": 128256, "model.tied_embeddings": False}
    assert all(note["why"] for note in notes)
    assert arch.groups[0][0].head_dim == 128


def test_ungated_default_is_four_times_hidden() -> None:
    arch, _ = architecture_from_mapping({"layers": 1, "hidden": 256, "heads": 2, "gated": False})
    assert arch.runs[0][0].ffn == 1024


@pytest.mark.parametrize(("fields", "error", "field"), [
    (changed(heads=33), Inconsistent, "model.heads"),
    (changed(kv_heads=5), Inconsistent, "model.kv_heads"),
    (changed(layers=0), BadValue, "model.layers"),
    (changed(layers=-3), BadValue, "model.layers"),
    (changed(layers=float("nan")), BadValue, "model.layers"),
    (changed(layers=10**9), BadValue, "model.layers"),
    (changed(hidden=4096.5), BadValue, "model.hidden"),
    (changed(hidden="wide"), BadValue, "model.hidden"),
    (changed(hidden=True), BadValue, "model.hidden"),
    (changed(vocab=10**40), BadValue, "model.vocab"),
    (changed(gated="maybe"), BadValue, "model.gated"),
    (changed(positions="rotary"), BadValue, "model.positions"),
    (changed(biases="some"), BadValue, "model.biases"),
    (changed(layer=3), UnknownField, "model.layer"),
    (changed(experts_per_token=2), Inconsistent, "model.experts"),
    (changed(experts=8, experts_per_token=9), Inconsistent, "model.experts_per_token"),
    (changed(experts=8, dense_layers=40), Inconsistent, "model.dense_layers"),
    (changed(full_attention_every=4), Inconsistent, "model.full_attention_every"),
    (changed(mla=3), BadValue, "model.mla"),
    (changed(mla={"rank": 3}), UnknownField, "model.mla.rank"),
    (changed(ssm={"kind": "mamba3"}), BadValue, "model.ssm.kind"),
    (changed(ssm={"kind": "mamba2", "layers": 99}), BadValue, "model.ssm.layers"),
    (changed(layer_pattern="AB"), Inconsistent, "model.layer_kinds"),
    (changed(layer_pattern="AB", layer_kinds={"A": {}}), BadValue, "model.layer_pattern"),
    (changed(layer_pattern="A", layer_kinds={"A": {"wing": 1}}), UnknownField, "model.layer_kinds.A.wing"),
    (changed(expert_imbalance=0.5), BadValue, "model.expert_imbalance"),
    (changed(parameters=70e9), Inconsistent, "model.parameters"),
    ({"layers": 32}, Inconsistent, "model.hidden"),
    ({}, Inconsistent, "model.layers"),
    ({"parameters": 7e9, "active_parameters": 8e9}, Inconsistent, "model.active_parameters"),
    ({"parameters": -7e9}, BadValue, "model.parameters"),
])
def test_what_is_wrong_is_named(fields: dict[str, Any], error: type[OutlayError], field: str) -> None:
    with pytest.raises(error) as caught:
        architecture_from_mapping(fields)
    assert caught.value.field == field
    assert len(caught.value.message) < 400


def test_a_misspelt_field_names_its_neighbour() -> None:
    with pytest.raises(UnknownField, match="did you mean kv_heads"):
        architecture_from_mapping(changed(kv_head=8))


def test_sliding_window_with_full_layers() -> None:
    """Gemma 3 27B: five sliding layers to each full one, 62 layers (model card)."""
    arch, _ = architecture_from_mapping(changed(layers=62, sliding_window=1024, full_attention_every=6))
    windows = {kind.window: times for kind, times in arch.groups}
    assert windows == {1024: 52, 0: 10}
    assert arch.runs[0] == (arch.runs[0][0], 5)


def test_hybrid_by_pattern_and_by_documented_fields() -> None:
    """Every second layer state-space, by either spelling."""
    ssm = {"kind": "mamba2", "every": 2, "heads": 64, "head_dim": 64, "state": 128, "conv": 4, "groups": 8}
    by_field, _ = architecture_from_mapping(changed(ssm=ssm))
    mixer = {k: v for k, v in ssm.items() if k not in ("kind", "every")} | {"mixer": "mamba2"}
    by_word, _ = architecture_from_mapping(changed(layer_kinds={"M": mixer, "A": {}}, layer_pattern="MA"))
    assert by_field == by_word
    assert [kind.mixer for kind, _ in by_field.groups] == ["mamba2", "attention"]


def test_numbers_from_a_table_are_numbers() -> None:
    """Catalogue rows hold floats, 1/0 and JSON text."""
    rows = {k: float(v) for k, v in LLAMA.items()} | {"gated": 1.0, "tied_embeddings": 0.0}
    assert architecture_from_mapping(rows)[0].parameters == 8_030_261_248  # meta-llama/Meta-Llama-3-8B
    latent = changed(mla='{"kv_lora_rank": 512, "q_lora_rank": 1536}')
    assert architecture_from_mapping(latent)[0].runs[0][0].mixer == "mla"


@settings(deadline=None)
@given(total=st.floats(1e7, 5e12), sparsity=st.floats(0.02, 1.0))
@example(total=6868172800.0, sparsity=0.02)  # many small experts, whose router is a tenth of what is active
def test_inferred_shapes_hold_what_was_given(total: float, sparsity: float) -> None:
    total, active = int(total), int(total * sparsity)
    arch, notes = architecture_from_mapping({"parameters": total, "active_parameters": active})
    assert arch.inferred
    assert (arch.parameters, arch.active_parameters) == (total, active)
    assert any("typical" in note["why"] for note in notes)
    if active > 5e7:
        counted = model_parts(arch)
        assert counted.active == pytest.approx(active, rel=0.1)
        assert counted.total == pytest.approx(total, rel=0.25)


_TEXT = st.text("abn0.1-[{ ", max_size=6)
_VALUES = st.one_of(st.none(), st.booleans(), st.integers(-10, 10**6), st.floats(), _TEXT,
                    st.lists(st.integers(-2, 9), max_size=3),
                    st.dictionaries(_TEXT, st.integers(), max_size=2))


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(sorted(MODEL_FIELDS)), _VALUES, max_size=10))
def test_any_mapping_is_read_or_refused_by_name(fields: dict[str, Any]) -> None:
    base = LLAMA if fields.get("hidden") is None else {}
    try:
        arch, _ = architecture_from_mapping(base | fields)
    except OutlayError as error:
        assert error.field.startswith("model")
    else:
        assert arch.parameters >= arch.active_parameters > 0
