"""What a composition is given: hardware, a training recipe and a layout, every value already resolved.

Numbers may be plain floats, NumPy arrays of one common shape (a search) or `Quantity` (an explained plan).
Strings and booleans are categories: branches outside array code, so a search groups by them.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from outlay.derive import Num


class Hardware(Struct, frozen=True):
    """A fleet of equal devices as physics sees it. Links are bytes per second per device and direction."""

    device: str
    vendor: str
    peak_flop_per_s: Num  # dense, at the precision of the matrix multiplications
    peak_flop_per_s_16bit: Num  # dense bf16/fp16: attention and what is kept out of fp8
    memory_bytes: Num  # what the driver shows
    memory_bytes_per_s: Num
    devices: int
    devices_per_node: int
    scale_up_devices: int  # devices in the fast domain (a node, an NVL72 rack, a TPU slice)
    fast_bytes_per_s: Num  # inside the fast domain
    slow_bytes_per_s: Num  # between fast domains
    host_link_bytes_per_s: Num
    host_memory_bytes: Num
    power_w: Num = 0.0  # rated or capped power of one device
    power_limit_ratio: Num = 1.0  # cap over rated; 1 when not capped
    efficiency: Any = None  # steps.efficiency.Efficiency: utilisation grids, latencies, overlaps


class Recipe(Struct, frozen=True):
    """How a step is computed, apart from where: lengths, batch, precisions, optimiser, framework."""

    sequence_length: int  # memory also takes an array, one length a row of a search
    global_batch: int
    precision: str = "bf16"  # bf16 | fp16 | fp32 | fp8 | mxfp8 | nvfp4 | mxfp4
    optimizer: str = "adamw"  # adamw | adamw-8bit | muon | sgd | adafactor ...
    framework: str = "megatron"  # megatron | deepspeed | fsdp | torchtitan | maxtext | ...
    attention: str = "flash"  # flash | unfused
    fused_cross_entropy: bool = False
    compile: bool = False
    weight_bytes: float = 2.0  # per parameter, each; 0 where not kept
    gradient_bytes: float = 4.0
    master_bytes: float = 4.0
    optimizer_bytes: float = 8.0
    offload: str = "none"  # none | optimizer | all
    packing: bool = False
    packed_lengths: tuple[float, float] = (0.0, 0.0)  # mean and mean square of packed document lengths; 0 = one
    options: dict[str, Any] = field(default_factory=dict)
    tuning: Any = None  # steps.tune.trained.Tuning: what a fine-tune trains; None trains every parameter

    @property
    def row_tokens(self) -> Num:
        """Tokens of a row as a number to compute with: one, or one a row of a search."""
        length: Any = self.sequence_length
        return length if getattr(length, "ndim", 0) else float(length)


class Layout(Struct, frozen=True):
    """How one step is laid over the devices; devices = tensor · pipeline · context · data."""

    tensor: Num = 1
    pipeline: Num = 1
    data: Num = 1
    context: Num = 1
    expert: Num = 1
    expert_tensor: Num = 1
    virtual_pipeline: Num = 1
    shard: Num = 1  # ZeRO/FSDP group inside data; smaller than data = hybrid sharding
    micro_batch: Num = 1
    sequence_parallel: bool = False
    zero: int = 0
    recompute: str = "none"  # none | selective | full
    schedule: str = "1f1b"  # 1f1b | interleaved | zero_bubble | dualpipe | gpipe
    first_stage_layers: int = 0  # 0 = even
    last_stage_layers: int = 0
