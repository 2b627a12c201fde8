"""The scenario's `model:` mapping → an `Architecture`, with every default stated.

Two forms: shapes (`layers, hidden, …`), or totals only (`parameters, active_parameters`), from which typical
shapes are inferred. Beyond the documented fields, any order of layers can be given: `layer_kinds` maps
letters to the fields of `LayerKind` that differ from the model's own kind, and `layer_pattern` is a word of
those letters that repeats until `layers` is reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from msgspec.structs import replace

from outlay.architecture import Architecture, LayerKind, Norm
from outlay.errors import Inconsistent
from outlay.model_size import model_parts
from outlay.readers.fields import Fields, Note, reject_unknown
from outlay.readers.infer import shapes_from_totals
from outlay.readers.layer_kinds import base_kind, layer_runs

MODEL_FIELDS = frozenset((
    "layers", "hidden", "heads", "kv_heads", "head_dim", "v_head_dim", "ffn", "gated", "vocab",
    "tied_embeddings", "biases", "positions", "max_positions", "experts", "experts_per_token", "expert_ffn",
    "shared_expert_ffn", "dense_layers", "sliding_window", "full_attention_every", "mla", "ssm", "mtp_layers",
    "expert_imbalance", "parameters", "active_parameters", "norm", "norms_per_layer", "final_norm",
    "embedding_norm", "position_offset", "head_bias", "qk_norm", "mlp_bias", "qkv_bias", "out_bias",
    "router_bias", "shared_gate", "output_gate", "attention_sinks", "shared_kv", "indexer_heads",
    "indexer_head_dim", "indexer_topk", "expert_hidden", "layer_kinds", "layer_pattern", "vision_parameters", "name",
    "hf_id", "aliases",
))
_NEEDED = ("layers", "hidden")
_MAX_POSITIONS = 4096


def architecture_from_mapping(fields: Mapping[str, Any], name: str = "model",
                              path: str = "model") -> tuple[Architecture, list[Note]]:
    """Build the one Architecture; also the assumptions made, as {what, value, why, source}.

    >>> llama, _ = architecture_from_mapping({"layers": 32, "hidden": 4096, "heads": 32, "kv_heads": 8,
    ...                                       "ffn": 14336, "vocab": 128256})
    >>> llama.parameters
    8030261248
    """
    given = {k: v for k, v in dict(fields).items() if v is not None and v != ""}
    reject_unknown(given, MODEL_FIELDS, path)
    notes: list[Note] = []
    inferred = "parameters" in given and not given.keys() & {"layers", "hidden"}
    if inferred:
        given = shapes_from_totals(Fields(given, path, notes), notes)
    read = Fields(given, path, notes)
    missing = [f for f in _NEEDED if f not in given]
    if missing:
        raise Inconsistent(f"the model needs {' and '.join(missing)} (or only parameters, optionally with "
                           "active_parameters)", f"{path}.{missing[0]}")
    layers, hidden = read.count("layers", most=10_000), read.count("hidden", most=10**6)
    kind = base_kind(read, hidden)
    runs = layer_runs(read, kind, layers, hidden)
    arch = _build(read, name, hidden, runs, inferred)
    return _with_totals(arch, read, inferred), notes


def _build(read: Fields, name: str, hidden: int, runs: tuple[tuple[LayerKind, int], ...],
           inferred: bool) -> Architecture:
    positions = read.choice("positions", ("rope", "learned", "alibi", "none"), "rope")
    learned = positions == "learned"
    max_positions = read.count("max_positions", _MAX_POSITIONS if learned else 0, least=int(learned),
                               most=10**9, why="rows of the position table, which were not given",
                               silent=not learned)
    tied = read.flag("tied_embeddings", False, why="most models above 2B parameters keep a separate head")
    return Architecture(
        name=name,
        hidden=hidden,
        vocab=read.count("vocab", 128_256, most=10**8, why="not given; the Llama 3 vocabulary stands in"),
        runs=runs,
        tied_embeddings=tied,
        parameters=0,
        active_parameters=0,
        max_positions=max_positions,
        positions=positions,
        biases=read.choice("biases", ("none", "qkv", "all"), "none", silent=True),
        mtp_layers=read.count("mtp_layers", 0, least=0, most=100, silent=True),
        expert_imbalance=read.real("expert_imbalance", 1.0, least=1.0, most=1000.0),
        inferred=inferred,
        norm=read.choice("norm", get_args(Norm), "rms"),  # type: ignore[arg-type]
        final_norm=read.flag("final_norm", True, silent=True),
        embedding_norm=read.flag("embedding_norm", False, silent=True),
        position_rows=learned * (max_positions + read.count("position_offset", 0, least=0, most=10**6,
                                                            silent=True)),
        head_bias=read.flag("head_bias", False, silent=True),
        vision_parameters=read.count("vision_parameters", 0, least=0, most=10**13, silent=True),
    )


def _with_totals(arch: Architecture, read: Fields, inferred: bool) -> Architecture:
    """Counted totals; with inferred shapes the user's own totals stand."""
    parts = model_parts(arch)
    total, active = parts.total, parts.active
    if inferred:
        total = read.count("parameters", most=10**16)
        active = read.count("active_parameters", total, most=10**16, silent=True)
    else:
        _check_stated(read, "parameters", total)
        _check_stated(read, "active_parameters", active)
    return replace(arch, parameters=total, active_parameters=active, mtp_parameters=parts.mtp)


def _check_stated(read: Fields, field: str, counted: int) -> None:
    if field not in read.given:
        return
    stated = read.count(field, most=10**16)
    if abs(stated - counted) > 0.2 * counted:
        raise Inconsistent(f"{field} is {stated:,} and the shapes hold {counted:,}; leave one of them out",
                           read.at(field))
    if stated != counted:
        read.note(field, counted, f"counted from the shapes; {stated:,} was given")
