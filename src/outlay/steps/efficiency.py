"""How much of a device's limits training software reaches: measured grids and a few fitted constants.

A constant belongs to a scope, most particular first: a framework class, a device generation, or "all".
`resolve` builds an Efficiency from catalogue rows; nothing is looked up here.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from outlay.derive import Num
from outlay.physics.roofline import Grid, flat_grid
from outlay.steps.inputs import Recipe

GRID_OF_PRECISION = {
    "bf16": "bf16",
    "fp16": "bf16",
    "fp32": "bf16",
    "tf32": "bf16",
    "fp8": "fp8",
    "mxfp8": "fp8",
    "nvfp4": "nvfp4",
    "mxfp4": "nvfp4",
    "fp4": "nvfp4",
    "int8": "fp8",
}
ELEMENT_BYTES = {
    "fp32": 4.0,
    "tf32": 4.0,
    "bf16": 2.0,
    "fp16": 2.0,
    "fp8": 1.0,
    "mxfp8": 1.03125,
    "int8": 1.0,
    "nvfp4": 0.5625,
    "mxfp4": 0.53125,
    "fp4": 0.5,
}
SHARDED = (
    "fsdp",
    "torchtitan",
    "composer",
    "llm-foundry",
    "torchtune",
    "accelerate",
    "trl",
    "axolotl",
    "transformers",
    "llama-factory",
    "unsloth",
    "litgpt",
)
PARENT = {
    "fsdp-compile": "fsdp",
    "torchtitan": "fsdp-compile",
    "tune": "fsdp",  # fine-tuning stacks: PyTorch eager with adapters
    "tune-compile": "fsdp-compile",
    "tune-deepspeed": "tune",
    "tune-megatron": "megatron",
}  # whose constants a framework class takes where it has none of its own


def width_of(precision: str) -> str:
    """The width of arithmetic that decides which measured kernels stand behind a time.

    >>> width_of("bf16"), width_of("mxfp8"), width_of("nvfp4")
    ('16bit', '8bit', '4bit')
    """
    return {"bf16": "16bit", "fp8": "8bit", "nvfp4": "4bit"}[GRID_OF_PRECISION.get(precision, "bf16")]


class Efficiency(Struct, frozen=True, eq=False):
    """Utilisation grids by precision and constants by (scope, name), for one device."""

    generation: str
    grids: Mapping[str, Grid]
    constants: Mapping[tuple[str, str], Num]

    def grid(self, precision: str) -> Grid:
        wanted = GRID_OF_PRECISION.get(precision, "bf16")
        return self.grids.get(wanted) or self.grids["bf16"]

    def value(self, name: str, framework: str = "") -> Num:
        """The constant in its most particular scope: framework on generation, framework, generation, all."""
        kin = [framework]
        while kin[-1] in PARENT:
            kin.append(PARENT[kin[-1]])
        scopes = [f"{one}/{self.generation}" for one in kin] + kin + [self.generation, "all"]
        for scope in scopes:
            found = self.constants.get((scope, name))
            if found is not None:
                return found
        raise KeyError(f"no constant {name} for {framework or 'any framework'} on {self.generation}")

    def with_grids(self, changed: Mapping[str, Grid]) -> Efficiency:
        return Efficiency(self.generation, {**self.grids, **changed}, self.constants)

    def with_constants(self, changed: Mapping[tuple[str, str], Num]) -> Efficiency:
        return Efficiency(self.generation, self.grids, {**self.constants, **changed})


def framework_class(recipe: Recipe) -> str:
    """The kind of training software, as far as its efficiency differs.

    legacy: Megatron and Megatron-DeepSpeed before flash attention; megatron: fused kernels, grouped experts,
    overlapped collectives; fsdp: PyTorch eager with sharded parameters and an attention kernel that does not
    skip masked blocks (the measured runs are of 2023); fsdp-compile: under torch.compile, with one that
    does; torchtitan: the same without compilation; xla: whole-graph compilation.

    >>> framework_class(Recipe(2048, 8, attention="unfused"))
    'legacy'
    >>> framework_class(Recipe(2048, 8, framework="torchtitan"))
    'torchtitan'
    """
    name = recipe.framework.lower()
    if recipe.tuning is not None and name in ("megatron", "nemo", "megatron-bridge"):
        return "tune-megatron"
    if recipe.tuning is not None and name == "deepspeed":
        return "tune-deepspeed"
    if recipe.tuning is not None:
        return "tune-compile" if recipe.compile else "tune"
    if name in ("maxtext", "jax", "xla", "pax", "axlearn", "tpu"):
        return "xla"
    if name in SHARDED:
        return "fsdp-compile" if recipe.compile else "torchtitan" if name == "torchtitan" else "fsdp"
    return "legacy" if recipe.attention == "unfused" else "megatron"


GENERATIONS = {
    "a100_sxm": "ampere",
    "h100_sxm": "hopper",
    "h200_sxm": "hopper",
    "b200_sxm": "blackwell",
    "b300_sxm": "blackwell",
    "gb200": "blackwell",
    "gb300": "blackwell",
    "l40s": "gddr",
    "rtx_pro_6000_server": "gddr",
    "b60": "gddr",
}
ARCHITECTURES = {
    "ampere-hbm": "ampere",
    "ampere": "gddr",
    "ada": "gddr",
    "blackwell-gddr": "gddr",
    "blackwell-ultra": "blackwell",
}  # an architecture not named here is its own generation


def device_efficiency(
    family: str,
    vendor: str,
    grids: Mapping[str, Grid],
    constants: Mapping[tuple[str, str], Num],
    architecture: str = "",
) -> Efficiency:
    """Efficiency of a device from its (or its donor's) grids; whole-graph compiled devices have a flat one.

    Constants fitted to a generation hold for that architecture alone: a device that only borrows a family's
    grid takes the constants of all devices.

    >>> flat = device_efficiency("h100_sxm", "google", {}, {}, "tpu")
    >>> flat.generation, sorted(flat.grids)
    ('tpu', ['bf16'])
    >>> device_efficiency("a100_sxm", "nvidia", {}, {}, "volta").generation
    'volta'
    """
    if architecture:
        generation = ARCHITECTURES.get(architecture, architecture)
    elif vendor.lower() == "google":
        generation = "tpu"
    else:
        generation = GENERATIONS.get(family, "other") if vendor.lower() == "nvidia" else "other"
    if generation == "tpu" or not grids:
        grids = {"bf16": flat_grid(1.0, "no kernel table: the fitted ratio alone")}
    return Efficiency(generation, grids, constants)
