"""A serving phase's device, engine and model as the time model sees them, with what left-out runs took beyond it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.catalog import Catalog
from outlay.derive import Quantity, derive, uncertain, value_of
from outlay.errors import Inconsistent
from outlay.physics.calibration import load_point
from outlay.physics.roofline import half_rate_grid
from outlay.resolve.drafter import FIELD as DRAFTING
from outlay.resolve.drafter import Drafter
from outlay.resolve.efficiency import borrowed, rate_below_full
from outlay.resolve.engines import Engine, version_of
from outlay.resolve.fleet import DeviceFacts
from outlay.resolve.notes import Notes
from outlay.resolve.own_runs import POWER, OwnRuns, Point, own_runs
from outlay.resolve.serve.relatives import held_clock
from outlay.resolve.serve.sampling import sampling_s
from outlay.resolve.serve.time import (
    HOST,
    PENALTIES,
    SLOW_SHARE,
    dated_scope,
    is_seen,
    launches,
    residual_age,
    shape_of,
    time_constants,
    time_device,
    time_residual,
    version_constant,
)
from outlay.resolve.serve.untold import constants as pool_constants
from outlay.resolve.workload import is_live
from outlay.scenario import Fleet, Serve
from outlay.steps.inputs import Hardware
from outlay.steps.serve.inputs import ServeRecipe
from outlay.steps.serve.time_inputs import LAUNCHES, EngineTime, TimeDevice

FITTED = (
    "vllm",
    "sglang",
    "tensorrt-llm",
)  # engines with constants of their own; others are held to their one stream
PER_S = "output_tokens_per_s"
IN_POOLS = " in two pools"  # behind the engine, of runs with prompts and answers on devices of their own
PATCHES = 4.0  # of an image behind each token it becomes (Qwen2.5-VL, arXiv:2502.13923: two by two are merged)
EARLY = (0, 6)  # versions before it launched a step kernel by kernel
EARLY_SCOPES = {"vllm": "vllm@0.4"}
OWN_DEFAULT = "the engine's own default, as requests come by themselves; published recipes of loops set more"
NARROW_EXPERTS = (0.9, 1.5)  # bytes of a weight in 8 bits, with its scales
HOST_LINK = "host_link_bytes_per_s"
PRECISION_BYTES = {"bf16": 2.0, "fp8": 1.0, "nvfp4": 0.5625}
GIVEN_PEAKS = {"bf16": "bf16", "fp16": "bf16", "fp8": "fp8", "fp4": "nvfp4"}


class Speed(Struct, frozen=True):
    """What `steps.serve.time` is given, and the residual of each number by whether requests stay on one pool."""

    device: TimeDevice
    engine: EngineTime
    shape: str
    seen: bool
    fitted: bool  # the engine has constants of its own, and the device kernels that were measured
    seed: int
    adapter_layer_s: float = 0.0  # what adapters add to a layer of a step, beside reading them
    image_flop: float = 0.0  # of encoding a request's images
    own: OwnRuns | None = None  # what a person measured of this model, device and engine
    weight_bytes: float = 2.0
    key: tuple[str, str, str] = ("", "", "")  # model, device, engine
    pools: bool = False  # prompts and answers on devices of their own: `own` are then runs of such
    own_pools: OwnRuns | None = None  # runs of two pools, beside those of whole replicas
    penalties: bool = False  # asked for with each request
    today: EngineTime | None = None  # as the newest version runs, where an age is asked for: what rooflines are of
    plain: EngineTime | None = None  # as it is usually run, where more is asked: drafting, cached prefixes, sampling...
    known: Mapping[str, Quantity] = field(default_factory=dict)  # the device's bandwidth and peaks, with their sources
    age: str = ""  # whose residual holds, where it is not that of the engine in `key`
    untold: str = ""  # whose residual holds where nobody tells the replicas of two pools

    @property
    def kept_under(self) -> tuple[str, str, str]:
        """What a person's own runs are kept under."""
        model, device, engine = self.key
        return model, device, engine + IN_POOLS * self.pools

    def as_pools(self) -> Speed:
        """The same where prompts and answers are on devices of their own."""
        return self if self.pools else replace(self, pools=True, own=self.own_pools)

    def residual(self, number: str, pools: bool = False, at: Point | None = None, devices: float = 0.0) -> Quantity:
        """Measured over predicted, of published runs that were left out of the fit; of one's own runs where there are.

        at: where the load lies (`place`), which says how alike those runs are. devices: of a replica; with penalties
        and one device it is the host that may set the pace, and published runs say how far.
        """
        engine = (self.age or self.key[2]) + (HOST if self.penalties and devices == 1 else "")
        low, middle, high = time_residual(number, self.shape, pools, self.seen, engine)
        if pools and self.untold:  # what else such runs do not tell, beside their replicas
            low, middle, high = pool_constants()[self.untold, number]
        name = number.removesuffix("_s").replace("_", " ")
        kind = self.shape + ", two pools" * pools + ", of a device or engine not fitted" * (not self.seen)
        source = f"serve_time_constants {number}_residual: published runs of models left out, {kind}"
        value, basis = min(max(1.0, low), high), "derived"
        own = self.own if pools is self.pools else None
        factor = None if own is None else own.factor(number, (low, middle, high), at)
        if own is not None and factor is not None:  # its middle is in the model already (`nominal`)
            value, low, high, basis = 1.0, factor.low / factor.value, factor.high / factor.value, "measured"
            source = own.told(number)
        label, key = f"{name}, measured over predicted", f"serve.{number}.{self.shape}"
        if number != PER_S:
            return uncertain(value, low, high, "ratio", label, source, seed=self.seed, key=key, basis=basis)
        # What is slow a token is slow at its fullest: throughput shares the draw of the time a token takes.
        key = f"serve.tpot_s.{self.shape}"
        longer = uncertain(1.0 / value, 1.0 / high, 1.0 / low, "ratio", f"{label}, as a time", source, seed=self.seed,
                           key=key, basis=basis)
        found: Quantity = derive(_one_over, label, "ratio", ratio=longer)
        return found

    def published(self, number: str) -> tuple[float, float, float]:
        """Measured over predicted of published runs left out of the fit: 10th, 50th, 90th percentile."""
        return time_residual(number, self.shape, self.pools, self.seen)

    def nominal(self, number: str, in_flight: Any, prompt: Any, output: Any, devices: float) -> Any:
        """The factor of one's own runs on a number of a replica, by requests in flight (an array or one); else 1."""
        if self.own is None or number not in self.own.ratios:
            return 1.0
        prior = time_residual(number, self.shape, self.pools, self.seen)
        return self.own.by_load(number, prior, in_flight, prompt, output, devices, self.weight_bytes)

    def own_power(self, residual: Quantity, at: Point | None) -> Quantity:
        """Measured over predicted power: of one's own runs where there are, else as it is."""
        prior = (residual.low, residual.value, residual.high)
        factor = None if self.own is None else self.own.factor(POWER, prior, at)
        if self.own is None or factor is None:
            return residual
        return uncertain(factor.value, factor.low, factor.high, "ratio", residual.label, self.own.told(POWER),
                         seed=self.seed, key="power.residual", basis="measured")

    def place(self, in_flight: float, prompt: float, output: float, devices: float) -> Point | None:
        """Where a load on a replica lies among those of one's own runs; None where there are none."""
        return None if self.own is None else load_point(in_flight, prompt, output, devices, self.weight_bytes)


def _one_over(ratio: Any) -> Any:
    """A rate from a time."""
    return 1.0 / ratio


def resolve_speed(
    given: Serve,
    arch: Architecture,
    fleet: Fleet,
    facts: DeviceFacts,
    hardware: Hardware,
    engine: Engine,
    recipe: ServeRecipe,
    drafter: Drafter,
    limit: float,
    catalog: Catalog,
    notes: Notes,
    seed: int,
    without: str,
) -> Speed:
    """limit: requests an attention rank runs at once, at most."""
    link = _host_link(recipe, hardware, catalog, notes, seed)
    device = replace(_device(fleet, facts, hardware, catalog), host_bytes_per_s=value_of(link))
    name = _engine_scope(engine)
    drafted, acceptance = _drafting(given, catalog, notes, seed)
    parts = {part: value_of(each) for part, each in recipe.part_bytes.items()}
    constants = time_constants(name, device.generation, without=without)
    sampled_s = sampling_s(given, engine, arch, drafted, notes, without)
    if NARROW_EXPERTS[0] <= parts["experts"] < NARROW_EXPERTS[1]:
        constants["expert_layer_s"] += version_constant(name, "experts", without)
    usual = dict(constants)
    constants["sequence_s"] += sampled_s
    if not recipe.graphs and engine.number("graphs_bytes"):
        constants |= _eager(name, constants, notes, without)
    times = EngineTime(
        part_bytes=parts,
        cache_bytes=value_of(recipe.cache_bytes),
        constants=constants,
        max_num_batched_tokens=max(recipe.max_num_batched_tokens, 1.0),
        max_num_seqs=max(float(limit), 1.0),
        drafted=drafted,
        acceptance=acceptance,
        prefix_hit=float(given.prefix_cache_hit or 0.0),
        draft_share=_draft_share(drafter, recipe, arch),
        joint_rows=_joint_rows(engine, facts),
        widened=engine.number(f"widened_experts_{device.generation}", engine.number("widened_experts", 1.0)),
        reserve=engine.number("schedule_reserve"),
        host_bytes=recipe.host_weight_bytes,
        own_steps=_own_steps(engine, recipe),
        holds=_holds(given, engine, notes),
        gathers=_gathers(given, engine, arch, notes),
    )
    measured = borrowed(facts) <= 1.0
    seen = measured and is_seen(engine.id, device.generation, without)
    extra = _adapter_layer_s(recipe, catalog, notes), _image_flop(given, arch, catalog, notes)
    key = (arch.name, facts.id, name)  # with the age of an engine whose constants are of its own
    split = given.disaggregated is not None
    own = own_runs(arch.name, facts.id, name + IN_POOLS * split, catalog, notes) if not without else None
    beside = None if without or split else own_runs(arch.name, facts.id, name + IN_POOLS, catalog, Notes())
    narrowest = min((value_of(each) for each in recipe.part_bytes.values()), default=2.0)
    beyond = drafted or times.prefix_hit or any(extra) or constants != usual
    plain = replace(times, constants=usual, drafted=0.0, acceptance=0.0, prefix_hit=0.0) if beyond else None
    return Speed(device, times, shape_of(arch), seen, measured and engine.id in FITTED, seed, *extra, own, narrowest,
                 key, split, beside, given.sampling == PENALTIES, _today(name, plain or times, device, without), plain,
                 {GIVEN_PEAKS.get(n, n): peak for n, peak in facts.peaks.items()}
                 | {"memory_bytes_per_s": facts.memory_bytes_per_s, HOST_LINK: link}, residual_age(name, without))


def _today(name: str, usual: EngineTime, device: TimeDevice, without: str) -> EngineTime | None:
    """An engine as its newest version runs; None where that is what is asked for."""
    engine = name.partition("@")[0]
    if name == engine:
        return None
    return replace(usual, constants=time_constants(engine, device.generation, without=without))


def _host_link(recipe: ServeRecipe, hardware: Hardware, catalog: Catalog, notes: Notes, seed: int) -> Any:
    """What the host's memory is read at over its link, where weights stay there; told once."""
    if not recipe.host_weight_bytes:
        return hardware.host_link_bytes_per_s
    fact = catalog.find("default", "serve.host_link_share").fact("value")
    notes.assume("serve.cpu_offload_bytes_per_device, share of the host's link", float(fact.value), fact.note,
                 fact.source)
    return derive(_reached, "reading from the host", "bytes/s", host_link_bytes_per_s=hardware.host_link_bytes_per_s,
                  share=fact.quantity(seed).named("share of the link that is reached"))


def _reached(host_link_bytes_per_s: Any, share: Any) -> Any:
    """A link's rate, as far as it is reached."""
    return host_link_bytes_per_s * share


def _eager(name: str, constants: dict[str, float], notes: Notes, without: str) -> dict[str, float]:
    """What launching decode steps kernel by kernel takes the host."""
    found = launches(name, constants, without)
    if found:
        notes.assume("serve.enforce_eager, launching a layer", found[LAUNCHES[0]],
                     "seconds of the host, as vLLM took before it captured graphs; slower kernels of a model that is "
                     "not compiled are not counted", "serve_time_constants: vllm@0.4 layer_s, all prompt_layer_s")
    return found


def _own_steps(engine: Engine, recipe: ServeRecipe) -> bool:
    """Whether prompts run in steps of their own; of "whole_first" only while a step takes the longest one whole."""
    schedule = engine.text("schedule", "mixed")
    whole = recipe.max_num_batched_tokens >= recipe.max_model_len
    return schedule == "prefill_first" or (schedule == "whole_first" and whole)


def _joint_rows(engine: Engine, facts: DeviceFacts) -> float:
    """Rows a running request's token is padded to beside a prompt; 0 where its attention has a kernel of its own."""
    architecture = "" if facts.entry is None else str(facts.entry.value("architecture", ""))
    joint = architecture in engine.text("joint_attention_on").split("|")
    return engine.number("joint_attention_rows") if joint else 0.0


def _holds(given: Serve, engine: Engine, notes: Notes) -> tuple[tuple[float, float], ...]:
    """Decode steps that the server lets pass before it takes up what has come, by the requests in it."""
    own, usual = given.hold_steps, engine.text("hold_steps_by_requests")
    if own is None:
        found = tuple((float(start), float(steps)) for start, _, steps in
                      (each.partition(":") for each in filter(None, usual.split("|"))))
        if any(steps for _, steps in found):
            if is_live(given):
                notes.assume("serve.hold_steps", 1, OWN_DEFAULT, engine.source("hold_steps_by_requests"))
                return ()
            told = ", ".join(f"{steps:g} from {start:g} requests on" for start, steps in found)
            notes.assume("serve.hold_steps", told, engine.facts["hold_steps_by_requests"].note,
                         engine.source("hold_steps_by_requests"))
        return found
    if own and not usual:
        raise Inconsistent(f"serve.hold_steps: {engine.name} takes requests up at every step; leave it out",
                           "serve.hold_steps")
    return ((0.0, float(own)),)


def _gathers(given: Serve, engine: Engine, arch: Architecture, notes: Notes) -> float:
    """Decode steps that the server holds prompts back at most, until every attention rank has one."""
    name, own = "gather_steps", given.gather_steps
    sides = given.disaggregated
    ranks = max(each.data or 1 for each in ((given,) if sides is None else (sides.prefill, sides.decode)))
    waits = ranks > 1 and any(kind.mlp == "moe" for kind, _ in arch.groups)
    if own and name not in engine.facts:
        raise Inconsistent(f"serve.{name}: {engine.name} holds no prompts back for other ranks; leave it out",
                           f"serve.{name}")
    if own and not waits:
        raise Inconsistent(f"serve.{name}: only attention ranks of a mixture (serve.data above 1) wait for each other; "
                           "leave it out", f"serve.{name}")
    if own is not None or name not in engine.facts:
        return float(own or 0.0)
    if waits:
        if is_live(given):
            notes.assume(f"serve.{name}", 0, OWN_DEFAULT, engine.source(name))
            return 0.0
        notes.assume(f"serve.{name}", f"{engine.number(name):g}, until every attention rank has a prompt",
                     engine.facts[name].note, engine.source(name))
    return engine.number(name)


def _adapter_layer_s(recipe: ServeRecipe, catalog: Catalog, notes: Notes) -> float:
    """Small kernels that adapters add to a layer of a step."""
    if not recipe.adapters:
        return 0.0
    fact = catalog.find("default", "serve.adapter_layer_s").fact("value")
    notes.assume("serve.adapters, kernels of a layer", float(fact.value), fact.note, fact.source)
    return float(fact.value)


def _image_flop(given: Serve, arch: Architecture, catalog: Catalog, notes: Notes) -> float:
    """Arithmetic of encoding a request's images."""
    work = given.workload
    if work is None or not work.images:
        return 0.0
    if not arch.vision_parameters:
        notes.warn(f"serve.workload.images: no vision tower of {arch.name} is known; only its tokens count")
    tokens = float(work.image_tokens or catalog.find("default", "serve.image_tokens").value("value"))
    return 2.0 * arch.vision_parameters * PATCHES * tokens * float(work.images)


def _device(fleet: Fleet, facts: DeviceFacts, hardware: Hardware, catalog: Catalog) -> TimeDevice:
    """The catalogued device, or one of the user's own with the kernels of the default family; links as given."""
    peaks = {GIVEN_PEAKS[n]: v.value for n, v in facts.peaks.items() if n in GIVEN_PEAKS}
    peaks.setdefault("bf16", value_of(hardware.peak_flop_per_s_16bit))
    entry = facts.entry or catalog.find("device", "h100-sxm5-80gb")
    cap, rated = fleet.device_power_limit_w, facts.power_w
    clock = 1.0 if rated is None else held_clock(facts.entry, rated.value, rated.value if cap is None else cap)
    host = hardware.devices_per_node if fleet.intra_node_bytes_per_s is None else None  # a given link says what it is
    found = time_device(entry, facts.memory_bytes_per_s.value, peaks, clock, host)
    if facts.entry is None:
        found = replace(found, generation="other")
    times = rate_below_full(facts)
    if times > 1.0 and borrowed(facts) > 1.0:
        found = replace(found, grids={name: half_rate_grid(grid, times, full_rows=_ridge_rows(found, name, times))
                                      for name, grid in found.grids.items()})
    found = replace(found, scale_up_devices=hardware.scale_up_devices)
    if fleet.intra_node_bytes_per_s is not None or facts.entry is None:
        usual = float(entry.value("link_bytes_per_s", 0.0) or 0.0)
        ratio = value_of(hardware.fast_bytes_per_s) / usual if usual else 1.0
        found = replace(found, reduce=_scaled(found.reduce, ratio), exchange=_scaled(found.exchange, ratio))
    if fleet.inter_node_bytes_per_s is not None:
        found = replace(found, slow_bytes_per_s=SLOW_SHARE * fleet.inter_node_bytes_per_s)
    return found


def _ridge_rows(device: TimeDevice, name: str, times: float) -> float:
    """Rows from which arithmetic, at the full tensor rate, takes longer than reading the weights."""
    peak = device.peaks.get(name, device.peaks["bf16"])
    size = PRECISION_BYTES.get(name, 1.0)
    return float(0.5 * size * times * peak / device.memory_bytes_per_s)


def _scaled(links: Any, ratio: float) -> Any:
    return replace(links, bytes_per_s=tuple(rate * ratio for rate in links.bytes_per_s))


def _engine_scope(engine: Engine) -> str:
    """The engine, or its early form where a version says so and there is one."""
    version = version_of(engine.version)
    if version and version < EARLY:
        return EARLY_SCOPES.get(engine.id, engine.id)
    return dated_scope(engine.id, version)


def _drafting(given: Serve, catalog: Catalog, notes: Notes, seed: int) -> tuple[float, float]:
    """Tokens drafted a step and the chance that each is kept."""
    own = given.speculative
    if own is None:
        return 0.0, 0.0
    tokens, chance = own.tokens, own.acceptance
    if tokens is None:
        fact = catalog.find("default", "serve.drafted_tokens").fact("value")
        tokens = int(float(fact.value))
        notes.assume(f"{DRAFTING}.tokens", tokens, fact.note, fact.source)
    if chance is None:
        fact = catalog.find("default", f"serve.acceptance.{own.method}").fact("value")
        chance = float(fact.value)
        notes.assume(f"{DRAFTING}.acceptance", chance, fact.note, fact.source)
    return float(tokens), float(chance)


def _draft_share(drafter: Drafter, recipe: ServeRecipe, arch: Architecture) -> float:
    """A drafted token's reading over that of the model's active weights."""
    active = arch.active_parameters * value_of(recipe.part_bytes.get("mlp", 2.0))
    return min(drafter.read_bytes / active, 1.0) if active else 0.0
