"""The serving section → what its planner needs: engine, precisions, lengths, layout, each default told."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.catalog import Catalog
from outlay.derive import Num, Quantity, derive, exact, uncertain, value_of
from outlay.errors import BadValue, Inconsistent, UnknownName
from outlay.physics.kvcache import ELEMENT_BYTES
from outlay.physics.weights import WIDE_BYTES
from outlay.resolve.calendar import Defaults
from outlay.resolve.drafter import Drafter, resolve_drafter
from outlay.resolve.engines import Engine, find_engine, moving, version_gap
from outlay.resolve.fleet import DeviceFacts
from outlay.resolve.hourly import Tenures
from outlay.resolve.notes import Notes
from outlay.resolve.precision import (
    checkpoint_precision,
    file_layers,
    is_gguf,
    published_part_bytes,
    resolve_precision,
)
from outlay.resolve.serve.defaults import (
    PATH,
    STARTS_WITH_LESS,
    batching,
    captured,
    memory_share,
    needed_tokens,
    sequences_at_hand,
    serve_length,
    shares_cache,
)
from outlay.resolve.serve.layout import PoolLayout, pool_layouts, whole_layout
from outlay.resolve.serve.scale import with_most
from outlay.resolve.serve.speed import Speed, resolve_speed
from outlay.resolve.serve.untold import Untold, is_uncounted, resolve_untold, untold_scope
from outlay.resolve.stream import stream_device, with_stream_constants
from outlay.resolve.workload import Asked, resolve_workload
from outlay.scenario import Fleet, Scenario, Serve
from outlay.scenario_io import to_plain
from outlay.steps.inputs import Hardware
from outlay.steps.serve.inputs import ServeLayout, ServeRecipe, StreamDevice

_RANK = 16
LOCAL_ENGINE = "llama.cpp"
QUANTIZED = ("fp8", "nvfp4")  # weights that a quantization tool wrote beside what it says of the cache


class ServePhase(Struct, frozen=True):
    """A serving phase ready to plan; a degree of 0 is chosen by the planner."""

    recipe: ServeRecipe
    engine: Engine
    layout: ServeLayout
    tensor_given: bool
    replicas: int  # 0: as many as the fleet holds
    usable_bytes: Num
    shown: dict[str, Any]
    device: StreamDevice
    speed: Speed
    asked: Asked
    pools: tuple[PoolLayout, ...] = ()
    link_bytes_per_s: Num = 0.0  # between two pools
    model_id: str = ""  # as an engine is told it: a hub id, or a path
    checkpoint: str = ""  # precision of the weights behind that id, as far as it is known
    untold: Untold | None = None  # replicas of two pools, where nobody says how many there are
    tenures: Tenures | None = None  # prices by the hour and by the year, where the load is known by the hour
    draft_id: str = ""  # as an engine is told the model that drafts


def resolve_serve(
    scenario: Scenario,
    arch: Architecture | None,
    fleet: Fleet | None,
    facts: DeviceFacts | None,
    hardware: Hardware | None,
    defaults: Defaults,
    without: str = "",
) -> tuple[ServePhase, dict[str, Any]]:
    """Engine, precisions, lengths and layout of a serving phase, and how the scenario shows them."""
    model, catalog, notes, seed = scenario.model, defaults.catalog, defaults.notes, defaults.seed
    given = scenario.serve
    assert given is not None
    if arch is None:
        raise BadValue("model: needed to serve", "model")
    if fleet is None or facts is None or hardware is None:
        raise BadValue("fleet: needed to serve; for example 8xh100-sxm5-80gb", "fleet")
    given = with_most(given)
    engine = _engine_of(given, model, facts, catalog, notes, without)
    usable = usable_memory(fleet, facts.memory_bytes, engine, seed)
    size = fleet.device_memory_bytes or facts.memory_bytes.value
    shown: dict[str, Any] = to_plain(given) | {"engine": engine.id, "engine_version": engine.version}
    drafter = resolve_drafter(given.speculative, arch, catalog, notes)
    recipe = _recipe(given, model, arch, engine, size, facts.id, drafter, catalog, notes, seed, shown)
    recipe = _with_host(with_stream_constants(recipe, facts), arch, hardware, defaults)
    device = stream_device(
        facts, hardware.efficiency, _peak(facts, recipe, hardware.peak_flop_per_s), recipe.precision, catalog
    )
    if given.options is not None:
        notes.warn("serve.options: what a search goes through; a fleet is named, so nothing is searched for")
    pools = pool_layouts(given, fleet, arch)
    if pools and not engine.number("pools"):
        notes.warn(f"serve.disaggregated: {engine.name} {engine.version} does not run prompts and answers on devices "
                   "of their own; planned as if it did")
    layout = pools[-1].layout if pools else whole_layout(given, fleet, engine, arch)
    asked = resolve_workload(given, int(recipe.max_model_len), defaults)
    speed = resolve_speed(given, arch, fleet, facts, hardware, engine, recipe, drafter, float(shown["max_num_seqs"]),
                          catalog, notes, seed, without)
    untold = resolve_untold(given, fleet, is_uncounted(scenario.fleet), notes, seed)
    speed = speed if untold is None else replace(speed, untold=untold_scope(facts.id, without))
    drafting = given.speculative
    phase = ServePhase(
        recipe,
        engine,
        layout,
        given.tensor is not None,
        int(given.replicas or 0),
        usable,
        shown,
        device,
        speed,
        asked,
        pools,
        _between(given, hardware, notes),
        _model_id(model, arch, catalog),
        checkpoint_precision(_model_id(model, arch, catalog), arch, catalog),
        untold=untold,
        draft_id=_model_id(drafting.draft_model, arch, catalog) if drafting and drafting.draft_model else "",
    )
    return phase, shown


def _engine_of(
    given: Serve, model: Any, facts: DeviceFacts, catalog: Catalog, notes: Notes, without: str
) -> Engine:
    """The engine asked for, else the one that reads the file or runs on the device."""
    own = _runs_only_here(facts)
    local = is_gguf(model) or bool(own)
    wanted = given.engine or (LOCAL_ENGINE if local else None)
    engine = find_engine(wanted, given.engine_version, catalog, without)
    if given.engine is None:
        why = own or ("what reads such files" if local else "the engine most people serve with")
        notes.assume(PATH + "engine", engine.id, why, engine.source("name"))
    elif own and engine.id != LOCAL_ENGINE:
        notes.warn(f"serve.engine: {engine.name} has no kernels for {facts.id}; planned as if it had")
    told = given.engine_version
    if told is None or moving(told):
        why = "the version the catalogue describes" + (f", the newest it knows for {told!r}" if told else "")
        notes.assume(PATH + "engine_version", engine.version, why, engine.source("version"))
    elif gap := version_gap(engine, catalog):
        notes.warn(f"{PATH}engine_version: {gap}")
    return engine


def _runs_only_here(facts: DeviceFacts) -> str:
    """Why a device has a local engine of its own; empty where the usual engines run."""
    return "what runs on the GPU of Apple's chips" if facts.local_only else ""


def _peak(facts: DeviceFacts, recipe: ServeRecipe, fallback: Num) -> Num:
    """Peak of the precision the matrices are multiplied in; 16 bits where weights are widened first."""
    own = {"fp8": "fp8", "mxfp8": "fp8", "nvfp4": "fp4", "w8a8-int8": "int8"}.get(recipe.precision, "")
    for name in (own, "bf16", "fp16", "fp32"):
        if name in facts.peaks:
            return facts.peaks[name]
    return next(iter(facts.peaks.values()), fallback)


def usable_memory(fleet: Fleet, catalogued: Quantity, engine: Engine, seed: int) -> Num:
    """What the driver leaves to programs; a size the user gave is taken as that."""
    own = fleet.device_memory_bytes
    if own is not None and own != catalogued.value:
        return exact(own, "bytes", "device memory", "given in the scenario", basis="given")
    if "reserved_bytes" not in engine.facts:
        return catalogued
    reserve = engine.facts["reserved_bytes"].quantity(seed).named("driver reserve")
    left: Num = derive(
        _less, "memory left by the driver", "bytes", memory_bytes=catalogued, reserve_bytes=reserve
    )
    return left


def _less(memory_bytes: Any, reserve_bytes: Any) -> Any:
    """Device memory less what the driver keeps."""
    return memory_bytes - reserve_bytes


def _recipe(
    given: Serve,
    model: Any,
    arch: Architecture,
    engine: Engine,
    memory_bytes: float,
    device: str,
    drafter: Drafter,
    catalog: Catalog,
    notes: Notes,
    seed: int,
    shown: dict[str, Any],
) -> ServeRecipe:
    weights = _weights(given, model, arch, catalog, notes, shown)
    cache = _cache(given, engine, notes, seed, shown)
    length = serve_length(given, arch, notes, shown)
    if given.max_model_len is None and engine.text("pool") in STARTS_WITH_LESS:
        del shown["max_model_len"]  # given, it would be held to; by default it is only a limit
    sequences, tokens, prompt = sequences_at_hand(given, length)
    batched, seqs = batching(given, engine, memory_bytes, device, length, sequences, prompt, notes, shown)
    ready = captured(engine, memory_bytes, seqs)
    shared = shares_cache(given, engine, notes, shown)
    if engine.text("pool") == "context":
        sequences = int(seqs)
    adapters = given.adapters
    return ServeRecipe(
        engine=engine.id,
        pool=engine.text("pool"),
        constants=engine.constants(seed),
        max_model_len=float(length),
        max_num_seqs=_sampled(engine, ready, batched),
        max_num_batched_tokens=float(batched),
        memory_utilization=memory_share(given, engine, memory_bytes, batched, ready, notes, shown),
        sequences=float(sequences),
        shared_cache=shared,
        sequence_tokens=float(tokens),
        needed_tokens=needed_tokens(given, engine.text("pool"), tokens, length),
        graphs=_graphs(given, engine, notes),
        adapters=adapters.count if adapters else 0,
        adapter_rank=(adapters.rank or _RANK) if adapters else 0,
        extra_bytes=arch.vision_parameters * WIDE_BYTES + drafter.weight_bytes,
        draft_kinds=drafter.kinds,
        device_layers=_device_layers(given, arch, engine, notes),
        host_weight_bytes=_away(given, engine),
        **weights,
        **cache,
    )


def _weights(
    given: Serve, model: Any, arch: Architecture, catalog: Catalog, notes: Notes, shown: dict[str, Any]
) -> dict[str, Any]:
    """How weights are kept: a file's own tensors, or a precision by name."""
    if is_gguf(model) and given.precision is None:
        layers, parts, precision = file_layers(model, arch)
        notes.assume(PATH + "precision", precision, "the tensors of the file, one by one")
        return {"layer_bytes": layers, "part_bytes": parts, "precision": precision}
    precision = resolve_precision(given.precision, model, arch, catalog, notes)
    shown["precision"] = precision
    return {"part_bytes": published_part_bytes(precision, arch, catalog), "precision": precision}


def _cache(given: Serve, engine: Engine, notes: Notes, seed: int, shown: dict[str, Any]) -> dict[str, Any]:
    """How the cache is kept, and its size where it is given."""
    usual, why, row = engine.text("kv_precision", "bf16"), "the engine's default", "name"
    if shown.get("precision") in QUANTIZED:  # by a tool that says how the cache is kept, too
        row = "kv_precision_quantized"
        usual, why = engine.text(row, usual), f"the engine's default with weights in {shown['precision']}"
    name = given.kv_precision or usual
    if given.kv_precision is None:
        notes.assume(PATH + "kv_precision", name, why, engine.source(row if engine.text(row, "") else "name"))
    shown["kv_precision"] = name
    size = given.kv_cache_bytes_per_device
    own = _given_pool(size, seed) if size else None
    element = exact(
        ELEMENT_BYTES[name], "bytes", f"a cached element in {name}", "physics.kvcache.ELEMENT_BYTES"
    )
    return {"cache_precision": name, "cache_bytes": element, "cache_given_bytes": own}


def _given_pool(size: float, seed: int = 0) -> Quantity:
    """Bytes of a cache that are told; hundredths of a GiB are what start-up logs print, so their last digit is round.

    >>> _given_pool(3.81 * 2**30).high / 2**30 - 3.81 < 0.005, _given_pool(4.0e9).high
    (True, 4000000000.0)
    """
    label, source = "cache of a device", "given in the scenario"
    step = 2.0**30 / 100.0
    if abs(size / step - round(size / step)) > 1e-6 or size <= step:
        return exact(size, "bytes", label, source, basis="given")
    half = 0.4 * step  # 80 % of what rounds to it
    return uncertain(size, size - half, size + half, "bytes", label, f"{source}, to 0.01 GiB", seed=seed, basis="given")


def _device_layers(given: Serve, arch: Architecture, engine: Engine, notes: Notes) -> int | None:
    """Layers on devices where the rest stay on the host, which only an engine with contexts of its own can."""
    layers = given.gpu_layers
    if layers is not None and engine.text("pool") != "context":
        raise Inconsistent(f"serve.gpu_layers: {engine.name} keeps every layer on devices; leave it out",
                           "serve.gpu_layers")
    if layers is not None and layers < arch.layers:
        notes.warn(f"serve.gpu_layers: {arch.layers - layers} layers on the host, which answers at the rate of its "
                   "memory; its arithmetic and threads are not modelled, so several requests at once may take longer")
    return layers


def _away(given: Serve, engine: Engine) -> float:
    """Bytes of each device's weights that stay on the host."""
    own = given.cpu_offload_bytes_per_device
    if own is not None and not engine.number("weights_on_host"):
        other = "; serve.gpu_layers leaves layers there" if engine.text("pool") == "context" else ""
        raise Inconsistent(f"serve.cpu_offload_bytes_per_device: {engine.name} keeps all weights on devices; leave it "
                           f"out{other}", "serve.cpu_offload_bytes_per_device")
    return float(own or 0.0)


def _with_host(recipe: ServeRecipe, arch: Architecture, hardware: Hardware, defaults: Defaults) -> ServeRecipe:
    """What layers on the host are read at, where there are any: its memory, and its link for prompts."""
    if recipe.device_layers is None or recipe.device_layers >= arch.layers:
        return recipe
    rates = {"host_memory_bytes_per_s": defaults.quantity("serve.host_memory_bytes_per_s", "memory of the host"),
             "host_link_bytes_per_s": hardware.host_link_bytes_per_s}
    return replace(recipe, constants={**recipe.constants, **rates})


def _graphs(given: Serve, engine: Engine, notes: Notes) -> bool:
    """Whether the engine captures graphs, as it does unless told not to."""
    if given.enforce_eager is None and engine.number("graphs_bytes"):
        why = "the engine captures CUDA graphs unless told not to"
        notes.assume(PATH + "enforce_eager", False, why, engine.source("graphs_bytes"))
    return not given.enforce_eager


def _sampled(engine: Engine, seqs: float, batched: float) -> float:
    """Rows of logits alive at once: running sequences, or every token of a physical batch."""
    return batched if engine.number("logits_for_batch") else seqs


def _between(given: Serve, hardware: Hardware, notes: Notes) -> Num:
    """The link a prompt's cache crosses from one pool to the other."""
    if given.disaggregated is None:
        return 0.0
    own = given.disaggregated.kv_transfer_bytes_per_s
    if own is not None:
        return exact(own, "bytes/s", "link between pools", "given in the scenario", basis="given")
    notes.assume(PATH + "disaggregated.kv_transfer_bytes_per_s", value_of(hardware.slow_bytes_per_s),
                 "a device's link between nodes")
    return hardware.slow_bytes_per_s


def _model_id(model: Any, arch: Architecture, catalog: Catalog) -> str:
    """The hub id behind a catalogue name; a path or an id stays as it was written."""
    name = model if isinstance(model, str) else str(getattr(model, "name", None) or arch.name)
    try:
        return name if "/" in name else str(catalog.find("model", name).value("hf_id", name))
    except UnknownName:
        return name
