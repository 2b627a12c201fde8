"""The records a user fills in. Frozen; None means "not given" and `resolve` says what it became.

Every number is SI; `scenario_io` reads human units into them by the `kind` each field carries here. The types
below are the one description of the fields: loading, messages, the JSON Schema and the docs are made from them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from outlay.scenario_kinds import (
    Axis,
    Bytes,
    BytesPerS,
    Cadence,
    CountOrZero,
    Degree,
    Factor,
    FlopPerS,
    Fraction,
    Hourly,
    Layers,
    Length,
    Part,
    Positive,
    Rate,
    Record,
    Seconds,
    SecondsOrZero,
    Share,
    Usd,
    UsdPerHour,
    UsdPerKwh,
    Watts,
    Width,
)
from outlay.scenario_kinds import number as _number
from outlay.scenario_life import Data, Life, Maintain
from outlay.scenario_pay import Pay
from outlay.scenario_serve import Autoscale

Precision = Literal["fp32", "bf16", "fp16", "fp8", "mxfp8", "nvfp4", "mxfp4", "fp4"]
StateType = Literal["fp32", "bf16", "fp16", "fp8", "int8", "none"]
Optimizer = Literal["adamw", "adam", "adamw-8bit", "paged-adamw-8bit", "muon", "sgd", "sgd-momentum", "adafactor",
                    "lion"]
Framework = Literal["megatron", "deepspeed", "fsdp", "torchtitan", "nemo", "megatron-bridge", "llm-foundry",
                    "maxtext", "transformers", "torchtune", "litgpt"]


class MlaShape(Record, frozen=True):
    kv_lora_rank: Width
    qk_rope_head_dim: Width
    qk_nope_head_dim: Width
    v_head_dim: Width
    q_lora_rank: CountOrZero | None = None


class SsmShape(Record, frozen=True):
    kind: Literal["mamba1", "mamba2", "gdn", "kda"]
    every: Degree | None = None
    layers: CountOrZero | None = None
    state: Width | None = None
    heads: Width | None = None
    head_dim: Width | None = None
    conv: Width | None = None
    groups: Width | None = None


class Model(Record, frozen=True):
    """A decoder described by its dimensions, or only by its totals (shapes are then inferred)."""

    name: str | None = None
    layers: Annotated[int, _number("count", 1, 10_000, integer=True)] | None = None
    hidden: Width | None = None
    heads: Width | None = None
    kv_heads: Width | None = None
    head_dim: Width | None = None
    ffn: CountOrZero | None = None
    gated: bool | None = None
    vocab: Width | None = None
    tied_embeddings: bool | None = None
    biases: Literal["none", "qkv", "all"] | None = None
    positions: Literal["rope", "learned", "alibi", "none"] | None = None
    max_positions: Axis | None = None
    experts: CountOrZero | None = None
    experts_per_token: CountOrZero | None = None
    expert_ffn: CountOrZero | None = None
    shared_expert_ffn: CountOrZero | None = None
    dense_layers: Layers | None = None
    sliding_window: CountOrZero | None = None
    full_attention_every: CountOrZero | None = None
    mla: MlaShape | None = None
    ssm: SsmShape | None = None
    mtp_layers: Layers | None = None
    expert_imbalance: Annotated[float, _number("count", 1, 1000)] | None = None
    parameters: Positive | None = None
    active_parameters: Positive | None = None
    norm: Literal["rms", "layer"] | None = None
    layer_kinds: dict[str, Any] | None = None  # kinds of a hybrid by a letter each, see layer_pattern
    layer_pattern: str | None = None  # one letter a layer, first to last


class Device(Record, frozen=True):
    """A device of the user's own, or a catalogued one with some values replaced (then `name` is its name)."""

    name: str | None = None
    memory_bytes: Bytes | None = None
    memory_bytes_per_s: BytesPerS | None = None
    flops_per_s: dict[str, FlopPerS] | None = None
    power_w: Watts | None = None
    link_bytes_per_s: BytesPerS | None = None


class Fleet(Record, frozen=True):
    device: str | Device
    devices: Degree = 1
    devices_per_node: Degree | None = None
    scale_up_devices: Degree | None = None
    intra_node_bytes_per_s: BytesPerS | None = None
    inter_node_bytes_per_s: BytesPerS | None = None
    host_memory_bytes: Bytes | None = None
    host_link_bytes_per_s: BytesPerS | None = None
    device_memory_bytes: Bytes | None = None
    device_power_limit_w: Watts | None = None
    power_w_per_device: Watts | None = None
    tenure: Literal["rent", "own"] | None = None
    provider: str | None = None
    commitment: Literal["on_demand", "spot", "1y", "3y"] | None = None
    usd_per_device_hour: UsdPerHour | None = None
    usd_per_device: Usd | None = None
    discount: Annotated[float, _number("fraction", 0, 0.99)] | None = None
    utilization: Share | None = None
    network_price_share: Part | None = None  # owned: network over the price of all; 0 for a machine by itself
    space_usd_per_kw_month: Usd | None = None  # owned: building, power and cooling without energy; 0 at home
    lifetime: Cadence | None = None
    failures_per_device_hour: Factor | None = None


class Site(Record, frozen=True):
    location: str | None = None
    building: Literal["data_center", "room"] | None = None  # room: one's own, without a plant that cools it
    pue: Annotated[float, _number("count", 1, 10)] | None = None
    wue_l_per_kwh: Factor | None = None
    grid_kgco2e_per_kwh: Factor | None = None
    grid_direct_kgco2e_per_kwh: Factor | None = None
    grid_water_l_per_kwh: Factor | None = None
    electricity_usd_per_kwh: UsdPerKwh | None = None


class Layout(Record, frozen=True):
    """How one step is laid over the devices; what is left out is searched."""

    tensor: Degree | None = None
    sequence_parallel: bool | None = None
    pipeline: Degree | None = None
    virtual_pipeline: Degree | None = None
    first_stage_layers: Layers | None = None
    last_stage_layers: Layers | None = None
    data: Degree | None = None
    shard: Degree | None = None
    context: Degree | None = None
    expert: Degree | None = None
    expert_tensor: Degree | None = None
    zero: Annotated[int, _number("count", 0, 3, integer=True)] | None = None
    micro_batch: Degree | None = None
    recompute: Literal["none", "selective", "full"] | None = None
    schedule: Literal["1f1b", "interleaved", "zero_bubble", "dualpipe", "gpipe"] | None = None


class Pretrain(Record, frozen=True):
    tokens: Positive | None = None
    sequence_length: Axis | None = None
    global_batch: Axis | None = None
    precision: Precision | None = None
    optimizer: Optimizer | None = None
    framework: Framework | None = None
    framework_version: str | None = None
    attention: Literal["flash", "unfused"] | None = None
    fused_cross_entropy: bool | None = None
    compile: bool | None = None
    master_weights: StateType | bool | None = None
    gradient_precision: StateType | None = None
    optimizer_precision: StateType | None = None
    packing: bool | None = None
    document_tokens: Positive | None = None
    offload: Literal["none", "optimizer", "all"] | None = None
    layout: Layout | None = None
    device_hours: Positive | None = None
    checkpoint_interval: Seconds | None = None
    checkpoints_kept: CountOrZero | None = None
    checkpoint_write_bytes_per_s: BytesPerS | None = None
    evaluation_share: Fraction | None = None
    warm_up: SecondsOrZero | None = None
    goodput: Share | None = None
    experiments: Annotated[float, _number("count", 1, 1e6)] | None = None


class Rollout(Record, frozen=True):
    engine: str | None = None
    tensor: Degree | None = None
    samples: Degree | None = None
    max_response: Axis | None = None
    colocate: bool | None = None


TuneFramework = Literal["megatron", "deepspeed", "fsdp", "torchtitan", "nemo", "megatron-bridge", "llm-foundry",
                        "maxtext", "transformers", "torchtune", "litgpt", "trl", "peft", "accelerate", "axolotl",
                        "llama-factory", "unsloth"]


class Finetune(Record, frozen=True):
    method: str | None = None
    base_precision: str | None = None
    precision: Precision | None = None
    rank: Degree | None = None
    target_modules: list[str] | None = None
    modules_to_save: list[str] | None = None
    sequence_length: Axis | None = None
    packing: bool | None = None
    micro_batch: Degree | None = None
    gradient_accumulation: Degree | None = None
    global_batch: Axis | None = None
    examples: Positive | None = None
    tokens: Positive | None = None
    epochs: Annotated[float, _number("count", 1e-4, 1e4)] | None = None
    gradient_checkpointing: bool | None = None
    optimizer: Optimizer | None = None
    framework: TuneFramework | None = None
    layout: Layout | None = None
    algorithm: Literal["sft", "dpo", "orpo", "kto", "ppo", "grpo", "distill"] | None = None
    longest: Positive | None = None
    mean: Positive | None = None
    data_file: str | None = None
    replay_share: Part | None = None  # of the tokens trained, drawn again from the earlier mixture
    rollout: Rollout | None = None
    reference: str | bool | None = None
    teacher: str | None = None
    offload: Literal["none", "optimizer", "all"] | None = None
    frozen_layers: CountOrZero | None = None  # the first ones, embedding included
    virtual_tokens: Degree | None = None  # of prompt and prefix tuning
    attention: Literal["flash", "unfused"] | None = None
    fused_cross_entropy: bool | None = None
    compile: bool | None = None
    optimizer_in_backward: bool | None = None
    activation_offload: bool | None = None


class Speculative(Record, frozen=True):
    method: Literal["mtp", "draft", "ngram", "eagle"]
    tokens: Degree | None = None
    acceptance: Fraction | None = None
    draft_model: str | None = None


class Pool(Record, frozen=True):
    tensor: Degree | None = None
    pipeline: Degree | None = None
    expert: Degree | None = None
    data: Degree | None = None
    replicas: Degree | None = None
    max_num_seqs: Degree | None = None


class Disaggregated(Record, frozen=True):
    prefill: Pool
    decode: Pool
    kv_transfer_bytes_per_s: BytesPerS | None = None


class Adapters(Record, frozen=True):
    count: Degree
    rank: Degree | None = None


class Slo(Record, frozen=True):
    ttft: Seconds | None = None
    tpot: Seconds | None = None
    e2e: Seconds | None = None
    percentile: Annotated[float, _number("percentile", 1, 99.99)] | None = None


class Workload(Record, frozen=True):
    concurrency: Degree | None = None
    rate: Rate | None = None
    batch: Degree | None = None
    users: Positive | None = None
    trace: str | None = None
    input: Length | None = None
    output: Length | None = None
    requests: Positive | None = None
    arrivals: str | None = None
    requests_per_user_hour: Factor | None = None
    images: Factor | None = None  # of a request, beside its input
    image_tokens: Positive | None = None  # that one becomes
    hourly: Hourly | None = None  # the load above is that of the busiest hour


class ServeOptions(Record, frozen=True):
    """What a search for a deployment goes through where no fleet is named."""

    devices: list[str] | None = None
    precisions: list[str] | None = None
    engines: list[str] | None = None
    max_devices: Degree | None = None
    disaggregated: Literal["only"] | bool | None = None  # prompts and answers on devices of their own


class Serve(Record, frozen=True):
    engine: str | None = None
    engine_version: str | None = None
    precision: str | None = None
    kv_precision: Literal["bf16", "fp16", "fp8", "int8", "q8_0", "q4_0"] | None = None
    tensor: Degree | None = None
    pipeline: Degree | None = None
    expert: Degree | None = None
    data: Degree | None = None
    decode_context_parallel: Degree | None = None
    replicas: Degree | None = None
    max_model_len: Axis | None = None
    memory_utilization: Share | None = None
    max_num_seqs: Degree | None = None
    max_num_batched_tokens: Degree | None = None
    enforce_eager: bool | None = None
    hold_steps: CountOrZero | None = None  # decode steps the server is set to let pass before it takes up requests
    gather_steps: CountOrZero | None = None  # steps prompts are held back at most until every attention rank has one
    sampling: Literal["greedy", "top-p", "penalties"] | None = None  # top-p: or top-k; penalties: of either kind too
    kv_cache_bytes_per_device: Bytes | None = None
    cpu_offload_bytes_per_device: Bytes | None = None  # weights kept on the host, read over its link (cpu-offload-gb)
    kv_unified: bool | None = None  # one cache of max_model_len tokens for all slots (llama.cpp -kvu)
    gpu_layers: CountOrZero | None = None  # layers on devices, the rest on the host (llama.cpp -ngl)
    prefix_cache_hit: Fraction | None = None
    speculative: Speculative | None = None
    disaggregated: Disaggregated | None = None
    adapters: Adapters | None = None
    slo: Slo | None = None
    hours: Factor | None = None
    workload: Workload | None = None
    scaling: Literal["fixed", "autoscale", "mixed"] | None = None
    cold_start: SecondsOrZero | None = None  # until a replica that is started answers
    autoscale: Autoscale | None = None
    router: Literal["round_robin", "least_loaded", "prefix"] | None = None  # of a replay: who gets the next request
    replay: bool | None = None  # times are those of a replay, request by request; false: of the closed form alone
    options: ServeOptions | None = None


class Limit(Record, frozen=True):
    """The most that something may take, of each measure named."""

    usd: Usd | None = None
    energy_j: Annotated[float, _number("energy_j", 0, 1e24)] | None = None
    co2e_kg: Annotated[float, _number("count", 0, 1e15)] | None = None
    water_l: Annotated[float, _number("count", 0, 1e15)] | None = None
    device_hours: Annotated[float, _number("count", 0, 1e15)] | None = None


class Currency(Record, frozen=True):
    """What money is shown in: `per_usd` units of it for one dollar. Inside, money stays in dollars."""

    code: str
    per_usd: Annotated[float, _number("count", 1e-9, 1e9)] | None = None
    as_of: str | None = None
    source: str | None = None


class Goal(Record, frozen=True):
    """What a search ranks by and must stay within; `budgets` by "total", phase or phase.item."""

    minimize: Literal["time", "money", "energy", "carbon"] | None = None
    deadline: Seconds | None = None
    budget: Usd | None = None
    budgets: dict[str, Limit | Usd] | None = None
    top: Degree | None = None


class Scenario(Record, frozen=True):
    """One question: a model, a fleet, a site and the phases of work asked about."""

    name: str | None = None
    model: str | Model | None = None
    fleet: str | Fleet | None = None
    site: str | Site | None = None
    data: Data | None = None
    pretrain: Pretrain | None = None
    finetune: Finetune | None = None
    serve: Serve | None = None
    maintain: Maintain | None = None
    life: Life | None = None
    pay: Pay | None = None
    goal: Goal | None = None
    currency: str | Currency | None = None
    tags: dict[str, str] | None = None
    seed: CountOrZero | None = None
