"""How a model's weights are kept, by a name, a checkpoint's own name or a file → bytes of every part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from outlay.architecture import Architecture
from outlay.catalog import Catalog, Fact
from outlay.errors import UnknownName, suggestion
from outlay.model_size import layer_parts
from outlay.physics.weights import FORMATS, PARTS, WIDE_BYTES, part_bytes
from outlay.readers.launch.names import precision_in_name
from outlay.resolve.gguf_mix import MIXES, mix_part_bytes
from outlay.resolve.notes import Notes

FIELD = "serve.precision"
_ALIASES = {
    "awq": "awq-int4",
    "gptq": "gptq-int4",
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "float32": "fp32",
    "w8a8": "w8a8-int8",
    "w4a16": "int4",
    "w8a16": "int8",
    "bnb": "nf4",
    "bitsandbytes": "nf4",
    "fp8-block": "fp8",
    "fp8-dynamic": "fp8",
    "fp8-static": "fp8",
    "fp8-e4m3": "fp8",
    "fp8-e5m2": "fp8",
    "float8": "fp8",
    "float8-e4m3fn": "fp8",
    "gptq-4bit": "gptq-int4",
    "gptq-8bit": "gptq-int8",
    "awq-4bit": "awq-int4",
    "bnb-4bit": "nf4",
    "bnb-nf4": "nf4",
    "bnb-8bit": "int8",
    "int4-wo": "int4",
    "int8-wo": "int8",
}


def precision_name(text: str) -> str:
    """The contract's spelling of a precision; UnknownName with the nearest names otherwise.

    >>> precision_name("Q4_K_M"), precision_name("awq"), precision_name("BF16")
    ('q4_k_m', 'awq-int4', 'bf16')
    """
    plain = text.strip().lower()
    for form in (plain, plain.replace("_", "-"), plain.replace("-", "_")):
        form = _ALIASES.get(form, form)
        if form in FORMATS or form in MIXES:
            return form
    shown = text if len(text) <= 60 else text[:57] + "..."
    raise UnknownName(
        f"{FIELD}: no precision {shown!r}: it is one of {', '.join(FORMATS)} or of a GGUF file, such as "
        f"q4_k_m{suggestion(plain, [*FORMATS, *MIXES])}",
        FIELD,
    )


def resolve_precision(
    given: str | None, model: Any, arch: Architecture, catalog: Catalog, notes: Notes
) -> str:
    """The precision given, that of the checkpoint's name, the one it was published in, or 16 bits."""
    if given is not None:
        return precision_name(given)
    named = str(model) if isinstance(model, str) else str(getattr(model, "name", "") or "")
    said, usual = precision_in_name(named.removesuffix("/config.json")), _published(arch, catalog)
    if said is not None and (usual is None or usual.value != said):
        notes.assume(FIELD, said, f"the checkpoint's name says so: {named}")
        return said
    if usual is not None:
        notes.assume(FIELD, usual.value, "as published", usual.source)
        return str(usual.value)
    notes.assume(FIELD, "bf16", "most checkpoints are published in 16 bits")
    return "bf16"


def checkpoint_precision(name: str, arch: Architecture, catalog: Catalog) -> str:
    """What a checkpoint of this name holds, as its name or the catalogue says; empty where neither does."""
    usual = _published(arch, catalog)
    return precision_in_name(name) or ("" if usual is None else str(usual.value))


def _published(arch: Architecture, catalog: Catalog) -> Fact | None:
    entry = catalog.get("checkpoint", arch.name)
    return None if entry is None else entry.fact("precision")


def precision_part_bytes(precision: str, arch: Architecture) -> dict[str, float]:
    """Bytes of one weight in every part of the model."""
    if precision in FORMATS:
        return part_bytes(precision, any(kind.experts for kind, _ in arch.groups), _latent_output(arch))
    return mix_part_bytes(precision, arch)


def _latent_output(arch: Architecture) -> float:
    """Share of the weights of latent attention that is in its output projection."""
    whole, output = 0.0, 0.0
    for kind, layers in arch.groups:
        if kind.mixer == "mla":
            parts = layer_parts(kind, arch.hidden, arch.norm)
            whole += layers * (parts.attention + parts.attention_replicated)
            output += layers * kind.heads * (kind.v_head_dim or kind.head_dim) * arch.hidden
    return output / whole if whole else 0.0


def published_part_bytes(precision: str, arch: Architecture, catalog: Catalog) -> dict[str, float]:
    """The same of the checkpoint as published, whose experts may be kept in fewer bits than the rest."""
    found = precision_part_bytes(precision, arch)
    entry = catalog.get("checkpoint", arch.name)
    if entry is None or entry.value("precision") != precision or "other" not in entry:
        return found
    experts = float(entry.value("expert_bits", 8 * found["experts"])) / 8
    return precision_part_bytes(str(entry.value("other")), arch) | {"experts": experts}


def file_layers(model: Any, arch: Architecture) -> tuple[tuple[float, ...], dict[str, float], str]:
    """Of a GGUF file: bytes of every layer, bytes a weight of every part on the whole, and its main type."""
    from outlay.readers.gguf.header import read_gguf

    found = read_gguf(Path(str(model)).expanduser())
    layers = found.bytes_by_layer
    sizes = tuple(float(layers.get(index, 0)) for index in range(arch.layers))
    ends = {"token_embd.weight": "embedding", "output.weight": "head", "output_norm.weight": "norms"}
    inside = sum(t.elements for t in found.tensors if t.name.startswith("blk."))
    parts = dict.fromkeys(PARTS, sum(layers.values()) / inside if inside else WIDE_BYTES)
    for tensor in found.tensors:
        if tensor.name in ends and tensor.elements:
            parts[ends[tensor.name]] = tensor.size_bytes / tensor.elements
    if arch.tied_embeddings:
        parts["head"] = parts["embedding"]
    return sizes, parts, found.main_type


def is_gguf(model: Any) -> bool:
    """Whether the scenario's model is a GGUF file."""
    return isinstance(model, str) and model.lower().endswith(".gguf")
