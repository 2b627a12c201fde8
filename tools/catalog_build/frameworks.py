"""Bytes per parameter each training framework keeps, by precision, and what it turns on by itself."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from catalog_build.common import CATALOG_DATE, Row

KIND = "framework"


class States(NamedTuple):
    """Bytes per parameter: weights kept between steps, gradients, fp32 master copy."""

    weight: float
    gradient: float
    master: float
    note: str


class Framework(NamedTuple):
    id: str
    name: str
    aliases: str
    source: str
    states: dict[str, States]
    fused_cross_entropy: bool
    compile: bool
    distributed_optimizer: bool
    note: str


_MEGATRON = {
    "bf16": States(2, 4, 4, "bf16 weights, fp32 gradient accumulation, fp32 master: 18 with AdamW"),
    "fp16": States(
        2, 4, 4, "fp16 weights, fp32 gradients and master: 18 with AdamW, as arXiv:2205.05198 figure 1 shows"
    ),
    "fp32": States(4, 4, 0, "the weights are the master: 16 with AdamW"),
    "fp8": States(2, 4, 4, "weights stay bf16 and are cast each step, unless fp8 parameters are asked for"),
    "mxfp8": States(2, 4, 4, "weights stay bf16; both scaled layouts are made each step"),
    "nvfp4": States(2, 4, 4, "weights stay bf16 and are cast each step"),
}
_DEEPSPEED = {
    "bf16": States(2, 2, 4, "bf16 weights and gradients, fp32 master: 16 with AdamW"),
    "fp16": States(
        2, 2, 4, "fp16 weights and gradients, fp32 master: 16 with AdamW (ZeRO, arXiv:1910.02054)"
    ),
    "fp32": States(4, 4, 0, "the weights are the master"),
    "fp8": States(2, 2, 4, "as bf16; casts are made each step"),
}
_SHARDED = {
    "bf16": States(4, 4, 0, "fp32 shards are weights and master; the bf16 copy lives only while gathered"),
    "fp16": States(4, 4, 0, "fp32 shards; the fp16 copy lives only while gathered"),
    "fp32": States(4, 4, 0, "the weights are the master"),
    "fp8": States(4, 4, 0, "fp32 shards, gathered in fp8 or bf16"),
    "mxfp8": States(4, 4, 0, "fp32 shards, cast each step"),
}
_PURE = {
    "bf16": States(2, 2, 0, "weights, gradients and states all bf16: lossy at small learning rates"),
    "fp32": States(4, 4, 0, "the weights are the master"),
}
_MEG = "Megatron-LM docs, distributed optimizer (theoretical memory table)"
_FSDP = "PyTorch FSDP2 docs, MixedPrecisionPolicy; torchtitan docs"
FRAMEWORKS = (
    Framework(
        "megatron",
        "Megatron-LM / Megatron Core",
        "megatron-lm|megatron-core|mcore",
        _MEG,
        _MEGATRON,
        False,
        False,
        True,
        "",
    ),
    Framework(
        "nemo",
        "NVIDIA NeMo / Megatron-Bridge",
        "megatron-bridge|nemo-framework",
        _MEG,
        _MEGATRON,
        True,
        False,
        True,
        "Megatron Core inside",
    ),
    Framework(
        "deepspeed",
        "DeepSpeed",
        "zero|megatron-deepspeed",
        "DeepSpeed docs, ZeRO; arXiv:1910.02054",
        _DEEPSPEED,
        False,
        False,
        True,
        "",
    ),
    Framework(
        "fsdp",
        "PyTorch FSDP",
        "fsdp2|pytorch-fsdp|pytorch|litgpt",
        _FSDP,
        _SHARDED,
        False,
        False,
        True,
        "",
    ),
    Framework(
        "llm-foundry",
        "MosaicML llm-foundry",
        "composer|mosaic|mosaicml",
        "llm-foundry, MPT model: loss_fn is fused_crossentropy unless set",
        _SHARDED,
        True,
        False,
        True,
        "PyTorch FSDP inside",
    ),
    Framework(
        "torchtitan", "torchtitan", "titan", _FSDP, _SHARDED, False, False, True, "compile is off by default"
    ),
    Framework(
        "ddp",
        "PyTorch DDP with autocast",
        "pytorch-ddp|nanogpt|huggingface|transformers|accelerate|trl|hf-trainer",
        "PyTorch AMP docs",
        _SHARDED,
        False,
        False,
        False,
        "fp32 weights, cast under autocast; nothing is sharded",
    ),
    Framework(
        "maxtext",
        "MaxText (JAX)",
        "jax|axlearn|levanter",
        "MaxText docs, weight_dtype float32",
        _SHARDED,
        False,
        True,
        True,
        "compiled by XLA",
    ),
    Framework(
        "pure-bf16",
        "Everything in bf16",
        "bf16-pure|torchtune",
        "torchtune docs, dtype bf16",
        _PURE,
        False,
        False,
        False,
        "",
    ),
)


class Optimizer(NamedTuple):
    id: str
    name: str
    aliases: str
    state_bytes: float
    master_needed: bool
    source: str
    note: str


OPTIMIZERS = (
    Optimizer(
        "adamw",
        "AdamW",
        "adam|adamw_torch|fused_adam|adamw_torch_fused",
        8,
        True,
        "arXiv:1711.05101",
        "fp32 mean and variance",
    ),
    Optimizer(
        "adamw-8bit",
        "8-bit AdamW",
        "adam-8bit|adamw8bit|adamw_8bit|adamw_bnb_8bit|paged_adamw_8bit",
        2,
        True,
        "arXiv:2110.02861",
        "one byte each for mean and variance; block scales under 1 %",
    ),
    Optimizer(
        "muon",
        "Muon",
        "muonclip",
        4,
        True,
        "kellerjordan.github.io/posts/muon; arXiv:2502.16982",
        "fp32 momentum; embeddings, head and norms stay with AdamW (8)",
    ),
    Optimizer(
        "sgd",
        "SGD with momentum",
        "sgd-momentum|momentum",
        4,
        True,
        "PyTorch docs, torch.optim.SGD",
        "fp32 momentum",
    ),
    Optimizer(
        "sgd-plain", "SGD without momentum", "sgd-no-momentum", 0, True, "PyTorch docs, torch.optim.SGD", ""
    ),
    Optimizer("lion", "Lion", "", 4, True, "arXiv:2302.06675", "fp32 momentum"),
    Optimizer(
        "adafactor",
        "Adafactor",
        "",
        0.02,
        True,
        "arXiv:1804.04235",
        "row and column sums only: about (rows + columns)/(rows x columns) of 4 bytes",
    ),
    Optimizer(
        "shampoo",
        "Shampoo / SOAP",
        "soap",
        16,
        True,
        "arXiv:1802.09568; arXiv:2409.11321",
        "Adam states and factored preconditioners of about the same size for square matrices",
    ),
)


def build(data_dir: Path, models_dir: Path) -> list[Row]:
    rows = []
    for f in FRAMEWORKS:
        rows += [
            Row(f.id, "name", f.name, "text", f.source, CATALOG_DATE, "published", note=f.note),
            Row(
                f.id, "aliases", f.aliases, "list", "names people and launchers use", CATALOG_DATE, "derived"
            ),
        ]
        for precision, s in f.states.items():
            for part, value in (("weight", s.weight), ("gradient", s.gradient), ("master", s.master)):
                rows.append(
                    Row(
                        f.id,
                        f"{precision}.{part}_bytes",
                        value,
                        "byte",
                        f.source,
                        CATALOG_DATE,
                        "published",
                        note=s.note,
                    )
                )
        for flag in ("fused_cross_entropy", "compile", "distributed_optimizer"):
            rows.append(
                Row(
                    f.id,
                    flag,
                    float(getattr(f, flag)),
                    "bool",
                    f.source,
                    CATALOG_DATE,
                    "published",
                    note="what it does unless told otherwise",
                )
            )
    return rows
