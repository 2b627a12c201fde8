"""Every legal layout of a training step over a fleet: columns of integers, grouped by category.

Two kinds of rules. Structural ones no software can break (the product of the splits is the fleet, heads and
batch divide). Search rules keep a search to what is run in practice; they are dropped when what the user gave
leaves nothing under them. All of it is array arithmetic; no layout is visited one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from outlay.architecture import Architecture
from outlay.planner.layouts.rules import (
    SEARCH_RULES,
    Column,
    Facts,
    Mask,
    context_allowed,
    divisors,
    fullest_stage,
    layout_facts,
    open_axis,
    pipeline_allowed,
    tensor_allowed,
)
from outlay.steps.inputs import Hardware, Layout, Recipe

if TYPE_CHECKING:
    from outlay.scenario import Layout as GivenLayout

Table = dict[str, Column]
RECOMPUTE = ("none", "selective", "full")
SCHEDULES_WITH_CHUNKS = ("interleaved", "zero_bubble")
MANY_DIVISORS = 64  # a batch or fleet with more than this is searched at its small and binary divisors


class Block(Struct, frozen=True, eq=False):
    """Layouts that share their categories; `columns` are equally long.

    Rows with virtual stages in a block of schedule 1f1b are interleaved: the formulas tell the two apart by
    virtual_pipeline alone, so a search need not.
    """

    zero: int
    schedule: str
    recompute: str
    sequence_parallel: bool
    columns: Mapping[str, NDArray[np.float64]]  # whole numbers as floats, so that no product overflows
    first_stage_layers: int = 0
    last_stage_layers: int = 0
    devices: NDArray[np.float64] | None = None  # of each row, where a space covers several fleets

    def __len__(self) -> int:
        return len(self.columns["tensor"])

    def schedule_of(self, rows: Any) -> str:
        """The schedule's own name for one row, the block's for many."""
        if self.schedule == "1f1b" and isinstance(rows, (int, np.integer)):
            return "interleaved" if self.columns["virtual_pipeline"][rows] > 1 else "1f1b"
        return self.schedule

    def layout(self, rows: Any = slice(None)) -> Layout:
        """These rows as a Layout of arrays; one row as ints."""
        if isinstance(rows, (int, np.integer)):
            values: dict[str, Any] = {name: int(column[rows]) for name, column in self.columns.items()}
        else:
            values = {name: column[rows] for name, column in self.columns.items()}
        return Layout(**values, zero=self.zero, schedule=self.schedule_of(rows), recompute=self.recompute,
                      sequence_parallel=self.sequence_parallel, first_stage_layers=self.first_stage_layers,
                      last_stage_layers=self.last_stage_layers)


class Space(Struct, frozen=True, eq=False):
    """All blocks; `rules` says what was pruned before anything was evaluated."""

    blocks: tuple[Block, ...]
    rules: tuple[str, ...]

    def __len__(self) -> int:
        return sum(len(block) for block in self.blocks)

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks)


def layout_space(arch: Architecture, hw: Hardware, recipe: Recipe,
                 given: Mapping[str, Any] | None = None) -> Space:
    """Every legal layout with the given fields held; empty when they contradict each other."""
    facts, given = layout_facts(arch, hw, recipe), given or {}
    blocks = _blocks(facts, given, search=True)
    if blocks:
        return Space(tuple(blocks), SEARCH_RULES)
    return Space(tuple(_blocks(facts, given, search=False)), ())


def given_fields(fixed: GivenLayout | Layout | None) -> dict[str, Any]:
    """The fields of a partial layout that are set."""
    if fixed is None:
        return {}
    names = [*Layout.__struct_fields__]
    return {name: value for name in names if (value := getattr(fixed, name, None)) is not None}


def _blocks(facts: Facts, given: Mapping[str, Any], search: bool) -> list[Block]:
    base = _experts(facts, given, _micro_batches(facts, given, _splits(facts, given, search)), search)
    recompute = [given["recompute"]] if "recompute" in given else list(RECOMPUTE)
    ends = int(given.get("first_stage_layers", 0)), int(given.get("last_stage_layers", 0))
    blocks = []
    for schedule, chunked in _scheduled(facts, given, base, search):
        for zero, table in _zero_tables(facts, given, chunked, search):
            for parallel, rows in _sequence_parallel(facts, given, table, search):
                if len(rows["tensor"]):
                    columns = {name: column.astype(np.float64) for name, column in rows.items()}
                    blocks += [Block(zero, schedule, kept, parallel, columns, *ends) for kept in recompute]
    return blocks


def _thinned(values: Column, many: int) -> Column:
    """Of more than `many` divisors: the small ones, and those with no factor but two beyond."""
    if len(values) <= many:
        return values
    kept: Column = values[(values <= many) | (values & (values - 1) == 0)]
    return kept


def _candidates(given: Mapping[str, Any], name: str, otherwise: Sequence[int] | Column) -> Column:
    return np.array([given[name]] if name in given else otherwise, dtype=np.int32)


def _cross(table: Table, **new: Column) -> Table:
    """Every row with every value; several new columns of one length go together."""
    count, rows = len(next(iter(new.values()))), len(table["tensor"])
    wide = {name: np.repeat(column, count) for name, column in table.items()}
    return wide | {name: np.tile(values, rows) for name, values in new.items()}


def _keep(table: Table, mask: Mask) -> Table:
    return {name: column[mask] for name, column in table.items()}


def _splits(facts: Facts, given: Mapping[str, Any], search: bool) -> Table:
    """tensor · pipeline · context · data = devices."""
    world = divisors(facts.devices)
    one = np.ones(1, dtype=np.int32)
    axis = {name: _candidates(given, name, world if open_axis(facts, name) or not search else one)
            for name in ("tensor", "pipeline", "context")}
    masks = (tensor_allowed(facts, axis["tensor"], search and "tensor" not in given),
             pipeline_allowed(facts, given, axis["pipeline"], search),
             context_allowed(facts, axis["context"], search and "context" not in given))
    axis = {name: values[mask] for (name, values), mask in zip(axis.items(), masks, strict=True)}
    grid = np.meshgrid(axis["tensor"], axis["pipeline"], axis["context"], indexing="ij")
    table: Table = {name: part.ravel() for name, part in zip(axis, grid, strict=True)}
    used = table["tensor"].astype(np.int64) * table["pipeline"] * table["context"]
    mask = facts.devices % used == 0
    table["data"] = (facts.devices // used).astype(np.int32)
    return _keep(table, mask & np.isin(table["data"], _candidates(given, "data", world)))


def _micro_batches(facts: Facts, given: Mapping[str, Any], table: Table) -> Table:
    """data · micro_batch divides the global batch."""
    sizes = _candidates(given, "micro_batch", _thinned(divisors(facts.batch), MANY_DIVISORS))
    wide = _cross(table, micro_batch=sizes)
    return _keep(wide, facts.batch % (wide["data"].astype(np.int64) * wide["micro_batch"]) == 0)


def _experts(facts: Facts, given: Mapping[str, Any], table: Table, search: bool) -> Table:
    """expert divides the experts; expert · expert_tensor divides tensor · context · data."""
    searched = facts.experts > 1 and (open_axis(facts, "expert") or not search)
    expert = _candidates(given, "expert", divisors(facts.experts) if searched else [1])
    expert = expert[facts.experts % expert == 0]
    inside = divisors(facts.devices) if searched else np.ones(1, dtype=np.int32)
    inside = _candidates(given, "expert_tensor", inside)
    pairs = np.meshgrid(expert, inside, indexing="ij")
    wide = _cross(table, expert=pairs[0].ravel(), expert_tensor=pairs[1].ravel())
    world = wide["tensor"].astype(np.int64) * wide["context"] * wide["data"]
    mask = world % (wide["expert"].astype(np.int64) * wide["expert_tensor"]) == 0
    if search and "expert_tensor" not in given:
        folded = (wide["expert_tensor"] == wide["tensor"]) & open_axis(facts, "expert_tensor")
        mask &= (wide["expert_tensor"] == 1) | folded
    return _keep(wide, mask)


def _schedules(facts: Facts, given: Mapping[str, Any]) -> tuple[str, ...]:
    if "schedule" in given:
        return (given["schedule"],)
    if given.get("virtual_pipeline", 1) > 1:
        return ("interleaved",)
    return facts.rules.schedules


def _scheduled(facts: Facts, given: Mapping[str, Any], base: Table,
               search: bool) -> Iterator[tuple[str, Table]]:
    """Each schedule with its rows; interleaved ones join those of 1F1B."""
    tables = {name: _virtual_stages(facts, given, base, name, search) for name in _schedules(facts, given)}
    if "1f1b" in tables and "interleaved" in tables:
        more = tables.pop("interleaved")
        tables["1f1b"] = {name: np.concatenate([column, more[name]]) for name, column in tables["1f1b"].items()}
    yield from tables.items()


def _virtual_stages(facts: Facts, given: Mapping[str, Any], table: Table, schedule: str,
                    search: bool) -> Table:
    """Chunks a stage: one for plain schedules, divisors of its layers for interleaving."""
    full = fullest_stage(facts, given, table["pipeline"])
    alone = table["pipeline"] == 1
    if schedule == "interleaved" or (schedule in SCHEDULES_WITH_CHUNKS and "virtual_pipeline" in given):
        whole = sorted({1}.union(*(divisors(layers).tolist() for layers in set(full[~alone].tolist()))))
        wide = _cross(table | {"full": full}, virtual_pipeline=_candidates(given, "virtual_pipeline", whole))
        chunks, alone = wide["virtual_pipeline"], wide["pipeline"] == 1
        mask = np.where(alone, (chunks == 1) & ("schedule" in given), chunks <= wide["full"])
        if schedule == "interleaved":
            mask &= alone | (chunks > 1)
        if search:
            mask &= wide["full"] % chunks == 0
            micro_batches = facts.batch // (wide["data"].astype(np.int64) * wide["micro_batch"])
            mask &= alone | (schedule != "interleaved") | (micro_batches % wide["pipeline"] == 0)
        wide.pop("full")
        return _keep(wide, mask)
    wide = _cross(table, virtual_pipeline=_candidates(given, "virtual_pipeline", [1]))
    keep = wide["virtual_pipeline"] == 1
    if schedule == "dualpipe":  # the two directions share ranks in pairs
        keep &= wide["pipeline"] % 2 == 0
    if schedule not in ("1f1b",) and "schedule" not in given:
        keep &= wide["pipeline"] > 1
    return _keep(wide, keep)


def _zero_tables(facts: Facts, given: Mapping[str, Any], table: Table,
                 search: bool) -> Iterator[tuple[int, Table]]:
    """Each ZeRO stage with its rows: stage 0 shards nothing, the others over data or a part of it."""
    replicated, sharded = _cross(table, shard=np.ones(1, dtype=np.int32)), None
    for zero in [given["zero"]] if "zero" in given else range(4):
        if zero == 0:
            rows = replicated if given.get("shard", 1) == 1 else _keep(replicated, replicated["data"] < 0)
        else:
            sharded = sharded if sharded is not None else _shards(facts, given, table)
            rows = sharded
        if search and "zero" not in given:
            offered = np.array([zero in facts.rules.zero, zero in facts.rules.zero_with_pipeline])
            piped = rows["pipeline"] > 1
            rows = _keep(rows, np.where(piped, offered[1], offered[0]))
        elif search and "pipeline" not in given:
            rows = _keep(rows, (rows["pipeline"] == 1) | (zero in facts.rules.zero_with_pipeline))
        yield zero, rows


def _shards(facts: Facts, given: Mapping[str, Any], table: Table) -> Table:
    """The group that weights or states are split over: a divisor of data, data itself unless searched."""
    if "shard" not in given and ("data" in given or not facts.rules.hybrid_shard):
        rows = table | {"shard": table["data"]}
    else:
        groups = _candidates(given, "shard", _thinned(divisors(facts.devices), 16))
        rows = _cross(table, shard=groups)
        rows = _keep(rows, rows["data"] % rows["shard"] == 0)
        if "shard" not in given:  # data itself always, also where its divisors were thinned
            rest = _keep(table, ~np.isin(table["data"], groups))
            rest = rest | {"shard": rest["data"]}
            rows = {name: np.concatenate([rows[name], rest[name]]) for name in rows}
    whole = (rows["data"] == 1) & ((rows["context"] > 1) | ("zero" in given))
    return _keep(rows, (rows["shard"] > 1) | whole)


def _sequence_parallel(facts: Facts, given: Mapping[str, Any], table: Table,
                       search: bool) -> Iterator[tuple[bool, Table]]:
    """Sequence parallelism needs tensor > 1; without it the field has no meaning and is off."""
    split = table["tensor"] > 1
    wanted = given.get("sequence_parallel")
    plain = _keep(table, ~split) if wanted else table
    if search and wanted is None and facts.rules.experts_need_sequence_parallel:
        plain = _keep(plain, (plain["tensor"] == 1) | (plain["expert"] == 1))
    yield False, plain
    if wanted is not False:
        yield True, _keep(table, split)
