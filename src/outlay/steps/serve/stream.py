"""One request alone on a replica: time to the first token, time of each further one."""

from __future__ import annotations

import math
from typing import Any

from msgspec import Struct

from outlay.architecture import Architecture, LayerKind
from outlay.derive import add_all, derive, value_of
from outlay.model_size import layer_parts, model_parts
from outlay.physics import stream as st
from outlay.physics.roofline import look_up
from outlay.physics.weights import WIDE_BYTES
from outlay.steps.serve.cache import state_bytes, tokens_bytes
from outlay.steps.serve.inputs import ServeLayout, ServeRecipe, StreamDevice, part_names

Value = Any
UNMEASURED_SHARE = 0.8
PACKED = ("int4", "awq-int4", "gptq-int4", "nf4", "nf4-dq", "fp4", "fp4-dq", "mxfp4")  # unpacked before use


class OneStream(Struct, frozen=True, eq=False):
    """first_s: the prompt; token_s: each further token, at a context."""

    first_s: Value
    token_s: Value


def one_stream(
    arch: Architecture,
    device: StreamDevice,
    recipe: ServeRecipe,
    layout: ServeLayout,
    prompt: float,
    context: float,
) -> OneStream:
    """Times of a request with `prompt` tokens, and of one more token at `context` of them."""
    reads: list[Value] = []
    here = 1.0 - host_share(arch, recipe)
    for kind, count in arch.groups:
        layers = count * here
        for parameters, part in active_parameters(kind, arch):
            if parameters and layers:
                one = _read(parameters / layout.tensor, part, device, recipe)
                reads.append(_scaled(one, layers, "reading weights"))
        kept = tokens_bytes(kind, recipe, layout, context) + state_bytes(kind) / layout.tensor
        if kept and layers:
            reads.append(_scaled(_read_cache(kept, device), layers, "reading the cache"))
    if here < 1.0:
        reads.append(_on_host(arch, recipe, layout, context))
    parts = model_parts(arch)
    reads.append(_read((parts.head or parts.embedding) / layout.tensor, "head", device, recipe))
    total = add_all("reading weights and cache", "s", *reads)
    token = _token(arch, recipe, layout, total)
    first = _prompt(arch, device, recipe, layout, prompt, token)
    if here < 1.0:
        passes = math.ceil(prompt / value_of(recipe.max_num_batched_tokens))
        first = add_all("time to the first token", "s", first, derive(
            st.streamed_prompt_s, "weights of the host's layers, to the device", "s", passes=passes,
            size_bytes=_host_bytes(arch, recipe, whole=True),
            host_link_bytes_per_s=recipe.constant("host_link_bytes_per_s")))
    return OneStream(first, token)


def host_share(arch: Architecture, recipe: ServeRecipe) -> float:
    """Of the layers, those left on the host."""
    if recipe.device_layers is None:
        return 0.0
    return max(arch.layers - recipe.device_layers, 0) / arch.layers


def _host_bytes(arch: Architecture, recipe: ServeRecipe, whole: bool) -> float:
    """Weights of the host's layers: all of them, or those that one token passes through."""
    size = 0.0
    for kind, count in arch.groups:
        parts = layer_parts(kind, arch.hidden, arch.norm)
        for parameters, part in active_parameters(kind, arch):
            all_of = float(parts.experts) if whole and part == "experts" else parameters
            size += count * all_of * value_of(recipe.part_bytes[part])
    return size * host_share(arch, recipe)


def _on_host(arch: Architecture, recipe: ServeRecipe, layout: ServeLayout, context: float) -> Value:
    """One token in the host's layers: their weights and what is cached there, at the rate of its memory."""
    kept = sum(count * (tokens_bytes(kind, recipe, layout, context) + state_bytes(kind)) for kind, count in arch.groups)
    size = _host_bytes(arch, recipe, whole=False) + value_of(kept) * host_share(arch, recipe)
    return derive(st.host_layers_s, "layers on the host", "s", size_bytes=size,
                  host_memory_bytes_per_s=recipe.constant("host_memory_bytes_per_s"))


def _token(arch: Architecture, recipe: ServeRecipe, layout: ServeLayout, reads_s: Value) -> Value:
    """Reading, small kernels, hops and all-reduces of one token, and what left-out runs took beyond them."""
    alone = derive(
        st.token_time_s,
        "time of one token",
        "s",
        reads_s=reads_s,
        layers=arch.layers,
        layer_s=recipe.constant("stream_layer_s"),
        expert_layers=sum(n for k, n in arch.groups if k.experts),
        expert_layer_s=recipe.constant("stream_expert_layer_s"),
        hops=layout.pipeline - 1,
        hop_s=recipe.constant("stream_hop_s"),
    )
    together = derive(
        st.all_reduce_time_s,
        "all-reduces of one token",
        "s",
        layers=arch.layers,
        devices=layout.tensor,
        each_s=recipe.constant("stream_allreduce_s"),
    )
    modelled = add_all("time of one token", "s", alone, together)
    return derive(
        _times, "time of one token", "s", each=modelled, count=recipe.constant("stream_residual", 1.0)
    )


def _read_cache(size: float, device: StreamDevice) -> Value:
    share = UNMEASURED_SHARE
    if device.cache_sizes:
        share = st.share_at(size, device.cache_sizes, device.cache_shares)
    return derive(
        st.read_time_s,
        "reading the cache",
        "s",
        size_bytes=size,
        memory_bytes_per_s=device.memory_bytes_per_s,
        utilisation=share,
    )


def _scaled(each: Value, count: float, label: str) -> Value:
    return derive(_times, label, "s", each=each, count=count)


def active_parameters(kind: LayerKind, arch: Architecture) -> list[tuple[float, str]]:
    """Parameters of the matrices one token passes through in one layer, kernel by kernel, and their part."""
    parts = layer_parts(kind, arch.hidden, arch.norm)
    mixer, _ = part_names(kind)
    attention = float(parts.attention + parts.attention_replicated)
    return [
        (attention * 0.6, mixer),
        (attention * 0.4, mixer),
        (parts.mlp * 2 / 3, "mlp"),
        (parts.mlp / 3, "mlp"),
        (float(parts.experts_active), "experts"),
        (float(parts.shared), "shared"),
        (float(parts.router), "router"),
    ]


def _read(parameters: float, part: str, device: StreamDevice, recipe: ServeRecipe) -> Value:
    """Reading one kernel's weights; packed ones at the share left by unpacking."""
    each = recipe.part_bytes[part]
    size = parameters * each
    share = recipe.constants.get("stream_utilization")
    if share is None:
        is_packed = recipe.precision in PACKED and each < WIDE_BYTES
        share = derive(
            st.kernel_share,
            "share of bandwidth",
            "",
            measured=look_up(device.weights, 1.0, size),
            limit=device.weight_share,
            packed=recipe.constant("stream_packed_share", 1.0) if is_packed else 1.0,
        )
    return derive(
        st.read_time_s,
        "reading weights",
        "s",
        size_bytes=size,
        memory_bytes_per_s=device.memory_bytes_per_s,
        utilisation=share,
    )


def _prompt(
    arch: Architecture,
    device: StreamDevice,
    recipe: ServeRecipe,
    layout: ServeLayout,
    prompt: float,
    token: Value,
) -> Value:
    """The prompt: arithmetic at the share of peak measured for its rows, and never less than one token's reading."""
    parts = model_parts(arch)
    width = (
        sum(k.heads * k.head_dim * n for k, n in arch.groups if k.mixer in ("attention", "mla")) / arch.layers
    )
    share = look_up(device.weights, prompt, 2.0 * arch.hidden**2 * 4)
    flop = st.prompt_flop(float(parts.layers_active), prompt, width, arch.layers)
    return derive(
        _first,
        "time to the first token",
        "s",
        flop=flop,
        devices=layout.tensor,
        peak_flop_per_s=device.peak_flop_per_s,
        utilisation=share,
        slower=recipe.constant("stream_prompt_ratio", 1.0),
        token_s=token,
    )


def _first(
    flop: Value, devices: Value, peak_flop_per_s: Value, utilisation: Value, slower: Value, token_s: Value
) -> Value:
    """Arithmetic of the prompt over what the devices sustain, and the first token itself."""
    return slower * flop / (devices * peak_flop_per_s * utilisation) + token_s


def _times(each: Value, count: Value) -> Value:
    """One layer's time, for as many as there are."""
    return each * count
