"""Why a given layout cannot be, and the nearest values that can."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.errors import Inconsistent, near
from outlay.planner.layouts.rules import (
    Facts,
    context_allowed,
    divisors,
    fullest_stage,
    layout_facts,
    pipeline_allowed,
    tensor_allowed,
)
from outlay.planner.layouts.space import Space, layout_space
from outlay.steps.inputs import Hardware, Recipe

# The field to name when several given ones contradict each other: the first whose release helps.
RELEASE_ORDER = ("data", "shard", "micro_batch", "expert_tensor", "expert", "virtual_pipeline", "schedule",
                 "context", "pipeline", "tensor", "first_stage_layers", "last_stage_layers", "zero")
CAUSES = {
    "data": "the splits must multiply to the devices, and data · micro_batch divide the global batch",
    "shard": "the shard group must divide data, and needs ZeRO 1 or more",
    "micro_batch": "data · micro_batch must divide the global batch",
    "expert": "expert must divide the experts, and expert · expert_tensor divide tensor · context · data",
    "expert_tensor": "expert · expert_tensor must divide tensor · context · data",
    "virtual_pipeline": "interleaving needs pipeline above 1 and no more chunks than a stage has layers",
    "schedule": "only an interleaved schedule has virtual stages above 1; dualpipe needs an even pipeline",
    "context": "tensor · pipeline · context · data must be the devices",
    "pipeline": "tensor · pipeline · context · data must be the devices",
    "tensor": "tensor · pipeline · context · data must be the devices",
    "first_stage_layers": "the other stages must hold equal layers",
    "last_stage_layers": "the other stages must hold equal layers",
    "zero": "ZeRO shards over data and context, which are 1 here",
}


def require_layouts(arch: Architecture, hw: Hardware, recipe: Recipe, given: Mapping[str, Any],
                    path: str = "pretrain") -> Space:
    """Every legal layout, at least one; Inconsistent names the field and the nearest values otherwise."""
    facts = layout_facts(arch, hw, recipe)
    _check_alone(facts, given, f"{path}.layout")
    _check_product(facts, given, f"{path}.layout")
    _check_batch(facts, given, path)
    space = layout_space(arch, hw, recipe, given)
    if not len(space):
        raise _contradiction(arch, hw, recipe, given, path)
    return space


def _check_alone(facts: Facts, given: Mapping[str, Any], path: str) -> None:
    """Fields that are impossible whatever the others are."""
    world = divisors(facts.devices)

    def fail(name: str, why: str, allowed: Any) -> None:
        hint = near(given[name], allowed)
        raise Inconsistent(f"{path}.{name}: {given[name]} {why}; {hint}", f"{path}.{name}")

    for name, allowed, reason in (
            ("tensor", tensor_allowed(facts, world, False), _heads_reason(facts, given.get("tensor", 1))),
            ("pipeline", pipeline_allowed(facts, given, world, False), _stage_reason(facts, given)),
            ("context", context_allowed(facts, world, False),
             _context_reason(facts, given.get("context", 1)))):
        if name not in given or given[name] in world[allowed]:
            continue
        if reason:
            fail(name, reason, world[allowed])
        fail(name, f"does not divide the {facts.devices} devices", world[allowed])
    for name in ("expert", "expert_tensor"):
        if facts.experts == 1 and given.get(name, 1) > 1:
            fail(name, "needs a mixture of experts, and this model has none", [1])
    if facts.experts % given.get("expert", 1):
        fail("expert", f"does not divide {facts.experts} experts", divisors(facts.experts))
    if "data" in given and given["data"] % given.get("shard", 1):
        fail("shard", f"does not divide data {given['data']}", divisors(given["data"]))
    if given.get("shard") == 1 and given.get("zero", 0) > 0 and given.get("data", 1) > 1:
        fail("shard", f"leaves ZeRO {given['zero']} nothing to share out (zero: 0 keeps whole copies)",
             divisors(given["data"]))
    if given.get("virtual_pipeline", 1) > 1:
        _check_chunks(facts, given, fail)


def _check_chunks(facts: Facts, given: Mapping[str, Any], fail: Any) -> None:
    pipeline = given.get("pipeline")
    if pipeline == 1:
        fail("virtual_pipeline", "needs pipeline above 1, and it is 1", [1])
    if given.get("schedule") in ("1f1b", "gpipe"):
        fail("virtual_pipeline", f"has no meaning in the {given['schedule']} schedule (interleaved has)", [1])
    if pipeline is not None:
        layers = int(fullest_stage(facts, given, np.array([pipeline], dtype=np.int32))[0])
        if given["virtual_pipeline"] > layers:
            fail("virtual_pipeline", f"is more than the {layers} layers of a stage", divisors(layers))


def _heads_reason(facts: Facts, tensor: int) -> str:
    wrong = [heads for heads in facts.head_counts if heads % tensor]
    return f"does not divide {wrong[0]} heads" if wrong else ""


def _stage_reason(facts: Facts, given: Mapping[str, Any]) -> str:
    if given.get("first_stage_layers") or given.get("last_stage_layers"):
        return f"stages cannot share {facts.layers} layers equally with the given first and last stage"
    return f"is more than the {facts.layers} layers" if given.get("pipeline", 1) > facts.layers else ""


def _context_reason(facts: Facts, context: int) -> str:
    if context > 1 and not facts.attention:
        return "needs attention layers, and this model has none"
    return f"does not divide the sequence of {facts.sequence}" if facts.sequence % context else ""


def _check_product(facts: Facts, given: Mapping[str, Any], path: str) -> None:
    """The given splits must multiply to the devices, or leave a whole number for the open ones."""
    names = [name for name in ("tensor", "pipeline", "context", "data") if name in given]
    used = prod(int(given[name]) for name in names)
    complete = len(names) == 4
    if facts.devices % used == 0 and not (complete and used != facts.devices):
        return
    name = next(n for n in ("data", "context", "pipeline", "tensor") if n in names)
    rest = used // given[name]
    works = [facts.devices // rest] if facts.devices % rest == 0 else []
    if works and not complete:
        works = divisors(works[0]).tolist()
    told = " · ".join(f"{n} {given[n]}" for n in names)
    verb = "is not" if complete else "does not divide"
    raise Inconsistent(f"{path}.{name}: {told} = {used} {verb} the {facts.devices} devices of the fleet; "
                       f"for {name} {near(given[name], works)}", f"{path}.{name}")


def _check_batch(facts: Facts, given: Mapping[str, Any], path: str) -> None:
    """data · micro_batch must divide the global batch, data given or left over by the other splits."""
    names = ("tensor", "pipeline", "context")
    complete = all(name in given for name in names)
    implied = facts.devices // prod(int(given[name]) for name in names) if complete else 1
    data, micro_batch = given.get("data", implied), given.get("micro_batch", 1)
    if facts.batch % data == 0 and facts.batch % micro_batch == 0:
        return
    if facts.batch % micro_batch:
        name, value, works = "layout.micro_batch", micro_batch, divisors(facts.batch)
    elif "data" in given and not complete:
        works = np.intersect1d(divisors(facts.batch), divisors(facts.devices))
        name, value = "layout.data", data
    else:
        down = facts.batch // data * data
        hint = near(facts.batch, [b for b in (down, down + data) if b])
        raise Inconsistent(f"{path}.global_batch: {facts.batch} is not a multiple of data {data}; {hint}",
                           f"{path}.global_batch")
    raise Inconsistent(f"{path}.{name}: {value} does not divide the global batch of {facts.batch}; "
                       f"{near(value, works)}", f"{path}.{name}")


def _contradiction(arch: Architecture, hw: Hardware, recipe: Recipe, given: Mapping[str, Any],
                   path: str) -> Inconsistent:
    """Open one given field at a time; the first that helps is named with its nearest values."""
    for name in RELEASE_ORDER:
        if name not in given:
            continue
        values = _values_of(arch, hw, recipe, {k: v for k, v in given.items() if k != name}, name)
        if values:
            numbers = isinstance(given[name], int)
            hint = near(given[name], values) if numbers else f"{' or '.join(map(str, values))} works"
            return Inconsistent(f"{path}.layout.{name}: {given[name]} contradicts the other given fields "
                                f"({CAUSES[name]}); {hint}", f"{path}.layout.{name}")
    batches = _working_batches(arch, hw, recipe, given)
    if batches:
        return Inconsistent(f"{path}.global_batch: {recipe.global_batch} sequences cannot be shared by "
                            f"{hw.devices} devices this way; {near(recipe.global_batch, batches)}",
                            f"{path}.global_batch")
    return Inconsistent(f"{path}.layout: no layout of {hw.devices} devices agrees with the given fields "
                        f"({', '.join(f'{k} {v}' for k, v in given.items()) or 'none'})", f"{path}.layout")


def _values_of(arch: Architecture, hw: Hardware, recipe: Recipe, given: Mapping[str, Any],
               name: str) -> list[Any]:
    space = layout_space(arch, hw, recipe, given)
    if name == "zero":
        return sorted({block.zero for block in space})
    if name == "schedule":
        ends = {block: (np.argmin(v), np.argmax(v)) for block in space for v in [block.columns["virtual_pipeline"]]}
        return sorted({block.schedule_of(row) for block, rows in ends.items() for row in rows})
    if name in ("first_stage_layers", "last_stage_layers"):
        return [0] if len(space) else []
    return sorted({int(v) for block in space for v in np.unique(block.columns[name])})


def _working_batches(arch: Architecture, hw: Hardware, recipe: Recipe, given: Mapping[str, Any]) -> list[int]:
    """Multiples of the smallest data-parallel sizes that make the batch divide."""
    found = set()
    for data in divisors(hw.devices).tolist():
        unit = int(given.get("data", data)) * int(given.get("micro_batch", 1))
        multiple = max(unit, recipe.global_batch // unit * unit)
        for batch in (multiple, multiple + unit):
            if batch not in found and len(layout_space(arch, hw, replace(recipe, global_batch=batch),
                                                       given)):
                found.add(batch)
    return sorted(found)
