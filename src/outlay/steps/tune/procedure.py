"""What an algorithm adds to a training step: passes of other models, responses written, weights sent."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.derive import add_all, derive
from outlay.physics import kvcache
from outlay.physics import rollout as ro
from outlay.steps.inputs import Hardware, Layout, Recipe
from outlay.steps.layers import HALF
from outlay.steps.train.time import train_time
from outlay.steps.tune.trained import Procedure, Rollout

Num = Any  # float, array or Quantity
CRITIC_PASSES = ("forward_s", "backward_s", "recompute_s", "tensor_comm_s", "context_comm_s", "expert_comm_s",
                 "pipeline_bubble_s", "pipeline_comm_s", "data_comm_s", "optimizer_s")


class RolloutMemory(Struct, frozen=True, eq=False):
    """Bytes of a device while responses are written: what stays of training, the engine's weights and cache."""

    resident: Num
    weights: Num
    cache: Num  # of one whole sequence, the least the engine can work with
    at_once: Num  # sequences a replica holds in the memory that is left


def procedure_times(arch: Architecture, hw: Hardware, recipe: Recipe, layout: Layout, procedure: Procedure,
                    base: dict[str, Num], at_once: Num = None) -> dict[str, Num]:
    """Seconds of a step beside training, by who works."""
    parts: dict[str, Num] = {}
    if procedure.own_forwards:
        parts["logprob_s"] = _times("log-probabilities of the trained model", _reading(base), procedure.own_forwards)
    for one in procedure.companions:
        if one.trained:
            trained = add_all("training of the critic", "s", *(base[name] for name in CRITIC_PASSES))
            parts["critic_s"] = add_all("critic", "s", trained, _times("values of the critic", _reading(base),
                                                                        one.forwards))
            continue
        quiet = replace(recipe, offload="none", tuning=replace(
            recipe.tuning, adapted=frozenset(), quantised=False, made_whole=False, optimizer_in_backward=False))
        times = base if one.architecture is arch else train_time(one.architecture, hw, quiet, layout)
        parts[f"{one.role}_s"] = _times(f"passes of the {one.role}", _reading(times), one.forwards)
    if procedure.rollout is not None:
        parts |= rollout_times(arch, hw, procedure.rollout, at_once)
    return parts


def _reading(times: dict[str, Num]) -> Num:
    """A pass without gradient: the forward part and a third of what both directions wait for."""
    return derive(_reading_s, "forward pass of a step", "s", forward_s=times["forward_s"],
                  tensor_s=times["tensor_comm_s"], context_s=times["context_comm_s"], expert_s=times["expert_comm_s"],
                  bubble_s=times["pipeline_bubble_s"], data_s=times["data_comm_s"])


def _reading_s(forward_s: Any, tensor_s: Any, context_s: Any, expert_s: Any, bubble_s: Any, data_s: Any) -> Any:
    """Forward compute, and a third of communication and waiting, which backward doubles."""
    return forward_s + (tensor_s + context_s + expert_s + bubble_s + data_s) / 3.0


def _times(label: str, each: Num, often: float) -> Num:
    return derive(_product, label, "s", each=each, often=often)


def _product(each: Any, often: float) -> Any:
    """One pass times how often it is made."""
    return each * often


def kv_token_bytes(arch: Architecture) -> float:
    """Cache bytes of one token over all layers, in 16 bits."""
    total = 0.0
    for kind, count in arch.groups:
        if kind.mixer == "attention":
            total += count * kvcache.attention_elements(kind.kv_heads, kind.head_dim, kind.v_head_dim, kind.shared_kv)
        elif kind.mixer == "mla":
            total += count * kvcache.latent_elements(kind.kv_lora_rank, kind.qk_rope_head_dim)
    return HALF * total


def rollout_memory(arch: Architecture, hw: Hardware, rollout: Rollout, resident: Num) -> RolloutMemory:
    """Memory of a device while it writes."""
    weights = HALF * arch.parameters / rollout.tensor
    kv = kv_token_bytes(arch) / rollout.tensor
    left = derive(_left, "memory left for the cache", "bytes", memory_bytes=hw.memory_bytes, resident=resident,
                  weights=weights)
    at_once = derive(_at_once, "sequences a replica holds", "", left_bytes=left,
                     sequence_bytes=kv * (rollout.prompt + rollout.mean))
    return RolloutMemory(resident, weights, kv * (rollout.longest_prompt + rollout.longest), at_once)


def _left(memory_bytes: Any, resident: Any, weights: Any) -> Any:
    """Nine tenths of a device's memory, less what is there already."""
    return np.maximum(0.9 * memory_bytes - resident - weights, 0.0)


def _at_once(left_bytes: Any, sequence_bytes: Any) -> Any:
    """Whole sequences that fit; below one the engine cannot work."""
    return left_bytes / max(sequence_bytes, 1.0)


def rollout_times(arch: Architecture, hw: Hardware, rollout: Rollout, at_once: Num) -> dict[str, Num]:
    """Prompts read, responses written with their long tail, weights sent to the engine; at_once None: no limit."""
    each = rollout.sequences / (rollout.devices / rollout.tensor)
    rate = derive(_product, "arithmetic of a writing device", "FLOP/s", each=hw.peak_flop_per_s_16bit,
                  often=rollout.utilisation)
    flop = 2.0 * arch.active_parameters / rollout.tensor
    held = each
    if at_once is not None:
        held = derive(_together, "sequences written together", "", each=each, at_once=at_once)
    bandwidth = derive(_product, "memory bandwidth of a writing device", "B/s", each=hw.memory_bytes_per_s,
                       often=hw.efficiency.value("memory.utilisation"))
    one = derive(ro.decode_s, "responses of one fill of the cache", "s", sequences=held, prompt=rollout.prompt,
                 mean=rollout.mean, longest=rollout.longest, weights_bytes=HALF * arch.parameters / rollout.tensor,
                 kv_token_bytes=kv_token_bytes(arch) / rollout.tensor, token_flop=flop, memory_bytes_per_s=bandwidth,
                 flop_per_s=rate, step_s=rollout.step_s)
    fills = derive(ro.rounds, "fills of the cache", "", sequences=each, at_once=held)
    written = derive(_product, "writing responses", "s", each=one, often=fills)
    read = derive(ro.prefill_s, "reading prompts", "s", tokens=each * rollout.prompt, token_flop=flop, flop_per_s=rate)
    link = hw.fast_bytes_per_s if rollout.colocate else hw.slow_bytes_per_s
    sync = derive(ro.sync_s, "weights sent to the engine", "s",
                  weights_bytes=HALF * arch.parameters / rollout.tensor, link_bytes_per_s=link)
    return {"rollout_s": add_all("rollout", "s", read, written), "sync_s": sync}


def _together(each: Any, at_once: Any) -> Any:
    """Sequences of a replica, as many as its cache holds."""
    return np.minimum(each, at_once)
