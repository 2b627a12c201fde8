"""The constants of the training-time model: starting values, ranges, and which are fitted to step times."""

from __future__ import annotations

from msgspec import Struct


class Constant(Struct, frozen=True):
    value: float
    minimum: float
    maximum: float
    free: bool
    unit: str
    note: str

    @property
    def how(self) -> str:
        return "measured" if "NCCL fit" in self.note else "assumed"


def ratio(value: float, note: str, free: bool = False, low: float = 0.02, high: float = 1.5) -> Constant:
    return Constant(value, low, high, free, "ratio", note)


def seconds(value: float, note: str, free: bool = False, low: float = 1e-7, high: float = 1.0) -> Constant:
    return Constant(value, low, high, free, "s", note)


def joule(value: float, note: str, free: bool = False) -> Constant:
    return Constant(value, 3e11, 2e15, free, "FLOP/J", note)


PER_JOULE = "multiply-adds that the power budget feeds in sustained training"
MATMUL = "matrix multiplications in a training step against the benchmark loop of the grid"
EXPERTS = "grouped multiplications of experts against a single one"
MAMF = "achieved by the best shapes (ml-engineering's MAMF table) over the donor grid's .78"
CORE = "share of the 16-bit dense peak reached by the attention core"
CONSTANTS: dict[tuple[str, str], Constant] = {
    ("all", "matmul.16bit"): ratio(0.95, MATMUL),
    ("ampere", "matmul.16bit"): ratio(1.1, MATMUL, True, 0.6, 1.2),
    ("hopper", "matmul.16bit"): ratio(1.1, MATMUL, True, 0.6, 1.2),
    ("blackwell", "matmul.16bit"): ratio(1.1, MATMUL, True, 0.6, 1.2),
    ("all", "matmul.8bit"): ratio(1.0, MATMUL + ", 8 bits", True, 0.6, 1.6),
    ("all", "matmul.4bit"): ratio(1.0, MATMUL + ", 4 bits", True, 0.6, 1.8),
    ("all", "experts.16bit"): ratio(0.9, EXPERTS + "; SimuMax's measured B200 kernels"),
    ("all", "experts.8bit"): ratio(0.8, EXPERTS + ", 8 bits", True, 0.2, 1.6),
    ("all", "experts.4bit"): ratio(0.8, EXPERTS + ", 4 bits: as 8 bits"),
    ("all", "experts.rows_half"): Constant(
        170.0,
        1.0,
        1e4,
        False,
        "",
        "rows on 4096 x 4096 weights at which a grouped kernel is half as good; SimuMax, B200",
    ),
    ("hopper", "experts.rows_half"): Constant(
        400.0, 50.0, 4e3, True, "", "the same where a group is a loop of single products on several streams"
    ),
    ("all", "kernel.gap_s"): seconds(2e-6, "idle between two kernels of a stream"),
    ("ampere", "attention.forward"): ratio(0.55, CORE + ", forward", False, 0.2, 0.9),
    ("hopper", "attention.forward"): ratio(0.55, CORE + ", forward", True, 0.2, 0.9),
    ("blackwell", "attention.forward"): ratio(0.55, CORE + ", forward", True, 0.2, 0.9),
    ("all", "attention.forward"): ratio(0.45, CORE + ", forward"),
    ("all", "attention.backward_ratio"): ratio(0.8, "utilisation of the backward core over the forward one"),
    ("fsdp-compile/hopper", "attention.forward"): ratio(
        0.45, CORE + ", forward; PyTorch scaled dot product attention", True
    ),
    ("torchtitan", "traffic.ratio"): ratio(1.8, "passes of norms and activations over their least traffic, eager"),
    ("fsdp/hopper", "attention.forward"): ratio(0.25, CORE + ", forward; kernels that do not skip masked blocks", True),
    ("all", "unfused.forward"): ratio(0.4, "batched multiplications of unfused attention, share of peak"),
    ("all", "scan.forward"): ratio(0.15, "state-space scan in chunks, share of peak"),
    ("all", "memory.utilisation"): ratio(0.80, "share of memory bandwidth reached by streaming kernels"),
    ("all", "routing.ratio"): ratio(1.3, "passes over tokens routed to experts over their least traffic", True, 0.3, 6),
    ("legacy", "traffic.ratio"): ratio(1.0, "passes of norms and activations over their least traffic", True, 0.3, 5),
    ("megatron", "traffic.ratio"): ratio(1.0, "passes of norms and activations over their least traffic", True, 0.3, 5),
    ("fsdp", "traffic.ratio"): ratio(
        1.8, "passes of norms and activations over their least traffic, eager", True, 0.5, 5
    ),
    ("fsdp-compile", "traffic.ratio"): ratio(
        0.8, "passes of norms and activations over their least traffic, compiled", True, 0.3, 4
    ),
    ("xla", "traffic.ratio"): ratio(0.8, "passes of norms and activations over their least traffic, compiled"),
    ("all", "context.imbalance"): ratio(0.0, "context ranks balanced in pairs"),
    ("fsdp", "context.imbalance"): ratio(0.8, "context ranks cut in order", True, 0.02, 1.0),
    ("fsdp/ampere", "attention.forward"): ratio(0.3, CORE + ", forward; kernels that do not skip masked blocks", True),
    ("all", "host.backward"): ratio(1.5, "host time of a backward layer over a forward one"),
    ("all", "host.layer_s"): seconds(200e-6, "host time to launch one layer one way", False),
    ("megatron", "host.layer_s"): seconds(1.8e-3, "host time to launch one layer one way", True),
    ("all", "host.memory_bytes_per_s"): Constant(
        4e10, 1e9, 1e12, False, "B/s", "a device's share of host memory bandwidth in the processor's update"
    ),
    ("legacy", "host.layer_s"): seconds(400e-6, "host time to launch one layer one way", True),
    ("fsdp", "host.layer_s"): seconds(400e-6, "host time to launch one layer one way"),
    ("xla", "host.layer_s"): seconds(1e-6, "compiled as one program"),
    ("all", "recompute.selective"): ratio(0.0, "other kernels recomputed beside the attention core", False, 0.0, 1.0),
    ("fsdp", "recompute.selective"): ratio(0.4, "kernels recomputed under selective checkpointing", True, 0.05, 1.0),
    ("fsdp-compile", "recompute.selective"): ratio(
        0.4, "kernels recomputed under selective checkpointing", False, 0.05, 1.0
    ),
    ("all", "flop_per_joule.16bit"): joule(1e15, "not known to be limited by power"),
    ("all", "flop_per_joule.8bit"): joule(1e15, "not known to be limited by power"),
    ("all", "flop_per_joule.4bit"): joule(1e15, "not known to be limited by power"),
    ("hopper", "flop_per_joule.16bit"): joule(0.95e12, PER_JOULE, True),
    ("hopper", "flop_per_joule.8bit"): joule(1.8e12, PER_JOULE, True),
    ("ampere", "flop_per_joule.16bit"): joule(0.7e12, PER_JOULE, True),
    ("blackwell", "flop_per_joule.16bit"): joule(1.06e12, PER_JOULE, True),
    ("blackwell", "flop_per_joule.8bit"): joule(2.4e12, PER_JOULE, True),
    ("blackwell", "flop_per_joule.4bit"): joule(4.5e12, PER_JOULE, True),
    ("all", "power.exponent"): ratio(0.45, "clock against power cap", False),
    ("all", "link.reduce"): ratio(0.7, "bus bandwidth of an all-reduce over the link rate (NCCL fits, 8 devices)"),
    ("hopper", "link.reduce"): ratio(
        0.83, "bus bandwidth of an all-reduce over the link rate (NCCL fit 374 of 450 GB/s)"
    ),
    ("ampere", "link.reduce"): ratio(
        0.63, "bus bandwidth of an all-reduce over the link rate (NCCL fit 190 of 300 GB/s)"
    ),
    ("blackwell", "link.reduce"): ratio(
        0.65, "bus bandwidth of an all-reduce over the link rate (NCCL fit 584 of 900 GB/s)"
    ),
    ("all", "link.gather"): ratio(
        0.62, "bus bandwidth of gather and scatter over the link rate (NCCL fits 169/300, 289/450, 541/900)"
    ),
    ("all", "link.all_to_all"): ratio(
        0.57, "bus bandwidth of all-to-all over the link rate (NCCL fits 172/300, 274/450, 483/900)"
    ),
    ("all", "link.message"): ratio(0.7, "point-to-point over the link rate"),
    ("all", "network.reduce"): ratio(0.8, "bus bandwidth between domains over the adapter rate", True, 0.4, 1.0),
    ("all", "network.gather"): ratio(0.8, "bus bandwidth between domains over the adapter rate", False, 0.3, 1.0),
    ("all", "network.all_to_all"): ratio(0.6, "all-to-all between domains over the adapter rate", True, 0.2, 1.0),
    ("all", "network.message"): ratio(0.8, "point-to-point between domains over the adapter rate"),
    ("all", "link.latency_s"): seconds(20e-6, "latency of a collective inside the domain (NCCL fits 9-27 us)"),
    ("all", "network.hop_s"): seconds(6e-6, "latency of a ring per domain it passes", True, 1e-6, 6e-5),
    ("all", "network.latency_s"): seconds(20e-6, "latency of a collective per doubling of domains"),
    ("all", "overlap.tensor"): ratio(0.3, "share of tensor-parallel communication hidden", True, 0.0, 0.95),
    ("legacy", "overlap.tensor"): ratio(0.0, "no overlap in 2022"),
    ("xla", "overlap.shard"): ratio(0.95, "share of sharding traffic hidden by the compiler"),
    ("tpu", "link.gather"): ratio(0.9, "bandwidth of gather and scatter over the torus links"),
    ("xla", "recompute.selective"): ratio(0.4, "kernels recomputed when matrix products are kept", False, 0.05, 1.0),
    ("xla", "overlap.tensor"): ratio(0.8, "share of tensor-parallel communication hidden by the compiler"),
    ("all", "overlap.context"): ratio(0.8, "share of context-parallel communication hidden"),
    ("all", "overlap.expert"): ratio(0.1, "share of expert communication hidden", True, 0.001, 0.95),
    ("all", "overlap.shard"): ratio(0.85, "share of sharding traffic hidden", True, 0.3, 1.0),
    ("all", "overlap.data"): ratio(0.8, "share of gradient reduction hidden behind the last backward pass"),
    ("legacy", "overlap.data"): ratio(0.0, "gradients reduced after the backward pass"),
    ("all", "overlap.pipeline"): ratio(0.5, "share of stage messages hidden"),
    ("megatron", "overlap.pipeline"): ratio(0.6, "share of stage messages hidden", True, 0.02, 0.98),
    ("legacy", "overlap.pipeline"): ratio(0.0, "stage messages block"),
    ("all", "step.fixed_s"): seconds(10e-3, "data, logging, gradient norm"),
    ("all", "step.jitter"): ratio(0.005, "wait for the slowest, per doubling of nodes", True, 0.0005, 0.03),
    ("tpu", "matmul.16bit"): ratio(
        0.82, "share of peak of matrix multiplications on whole-graph compiled TPU", True, 0.4, 0.83
    ),
    ("tpu", "experts.rows_half"): Constant(0.0, 0.0, 1e4, False, "", "compiled for its shapes"),
    ("tpu", "experts.16bit"): ratio(0.6, "share of peak of experts on TPU"),
    ("tpu", "attention.forward"): ratio(0.4, CORE),
    ("cdna2", "matmul.16bit"): ratio(0.65, MAMF),
    ("cdna3", "matmul.16bit"): ratio(0.77, MAMF + ": MI325X .60 of peak"),
    ("cdna3", "flop_per_joule.16bit"): joule(0.75e12, "MAMF of MI300X and MI325X over their power, less a tenth"),
    ("cdna3", "flop_per_joule.8bit"): joule(1.5e12, "MLPerf Llama 2 70B LoRA: MI300X 5 % behind H100"),
    ("cdna4", "flop_per_joule.16bit"): joule(1.0e12, "MAMF of MI355X over its power, less a tenth"),
    ("cdna4", "flop_per_joule.8bit"): joule(2.0e12, "twice the 16-bit figure"),
    ("cdna4", "matmul.16bit"): ratio(0.87, MAMF + ": MI355X .68 of peak"),
}
