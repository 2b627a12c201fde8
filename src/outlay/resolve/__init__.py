"""Scenario, catalogue, readers and defaults → `Resolved`. The only room that looks things up or fills defaults in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from outlay.architecture import Architecture
from outlay.catalog import Catalog
from outlay.derive import exact
from outlay.errors import BadValue
from outlay.resolve.calendar import Defaults, resolve_calendar
from outlay.resolve.efficiency import borrowed, residual, resolve_efficiency
from outlay.resolve.fleet import DeviceFacts, check_counts, fleet_record, given, peak, plain_fleet, resolve_device
from outlay.resolve.frameworks import framework_flag
from outlay.resolve.memory import memory_constants
from outlay.resolve.model import resolve_model
from outlay.resolve.power import resolve_power
from outlay.resolve.rates import resolve_rates
from outlay.resolve.recipe import resolve_recipe
from outlay.resolve.record import Assumption, Notes, Resolved, TrainingPhase
from outlay.resolve.site import resolve_site
from outlay.scenario import Fleet, Layout, Pretrain, Scenario
from outlay.scenario_io import to_plain
from outlay.steps.inputs import Hardware

__all__ = ["Assumption", "Notes", "Resolved", "resolve"]

MEASURED_ON_DEVICE = 1.0


def resolve(scenario: Scenario, catalog: Catalog, without: str = "") -> Resolved:
    """Every input of a scenario, known and sourced; raises OutlayError naming the field that is wrong.

    without: a group of published cases whose fitted constants must not be used (validation only).
    """
    notes = Notes()
    seed = scenario.seed or 0
    defaults = Defaults(catalog, notes, seed)
    shown: dict[str, Any] = {"name": scenario.name} if scenario.name else {}
    architecture = None
    if scenario.model is not None:
        architecture, shown["model"] = resolve_model(scenario.model, catalog, notes)
    hardware = facts = fleet = None
    if scenario.fleet is not None:
        fleet = fleet_record(scenario.fleet)
        facts = resolve_device(fleet.device, catalog, notes, seed)
        fleet = _whole_instances(fleet, facts)
        trains = scenario.serve is None or scenario.pretrain is not None or scenario.finetune is not None
        hardware = _hardware(fleet, facts, scenario.pretrain, catalog, notes, seed, without, whole_nodes=trains)
    site = resolve_site(scenario.site, _provider(fleet, facts), catalog, notes, seed)
    rates = power = None
    if fleet is not None and facts is not None and hardware is not None:
        rates, money = resolve_rates(fleet, facts, site, hardware.devices_per_node, defaults)
        power = resolve_power(fleet, facts, catalog, notes, seed)
        shown["fleet"] = plain_fleet(fleet, facts, _shown_hardware(hardware) | money)
    if scenario.site is not None:
        shown["site"] = site.shown
    phase = None
    if scenario.pretrain is not None:
        phase, shown["pretrain"] = _training(scenario.pretrain, architecture, fleet, facts, hardware, defaults)
    tune = None
    if scenario.finetune is not None:
        from outlay.resolve.finetune import resolve_finetune

        tune, shown["finetune"] = resolve_finetune(scenario.finetune, architecture, fleet, facts, hardware, defaults)
    serve = None
    if scenario.serve is not None:
        from outlay.resolve.serve import resolve_serve

        serve, shown["serve"] = resolve_serve(
            scenario.serve, scenario.model, architecture, fleet, facts, hardware, catalog, notes, seed, without)
    goal = to_plain(scenario.goal) if scenario.goal is not None else {}
    if goal:
        shown["goal"] = goal
    if scenario.seed is not None:
        shown["seed"] = seed
    return Resolved(
        scenario=shown, architecture=architecture, hardware=hardware, rates=rates, power=power, pretrain=phase, goal=goal,
        notes=notes, seed=seed, catalog_date=catalog.date, place=site.place, site_shown=site.shown,
        serve=serve, fleet_given_devices=fleet is not None and fleet.devices > 1, finetune=tune)


def _provider(fleet: Fleet | None, facts: DeviceFacts | None) -> str:
    if fleet is not None and fleet.provider:
        return fleet.provider
    return facts.provider if facts is not None else ""


def _whole_instances(fleet: Fleet, facts: DeviceFacts) -> Fleet:
    """A cloud instance's name stands for all the devices in it."""
    import msgspec

    return msgspec.structs.replace(fleet, devices=fleet.devices * facts.per_instance)


def _hardware(fleet: Fleet, facts: DeviceFacts, phase: Pretrain | None, catalog: Catalog, notes: Notes, seed: int,
              without: str, whole_nodes: bool = True) -> Hardware:
    defaults = Defaults(catalog, notes, seed)
    per_node = fleet.devices_per_node or int(_fact(facts, "devices_per_node", 8))
    if fleet.devices_per_node is None and fleet.devices > 1:
        _note(notes, facts, "devices_per_node", "fleet.devices_per_node", per_node)
    if whole_nodes:
        check_counts(fleet, per_node)
    scale_up = fleet.scale_up_devices or int(_fact(facts, "scale_up_devices", per_node))
    if fleet.scale_up_devices is None and fleet.devices > 1:
        _note(notes, facts, "scale_up_devices", "fleet.scale_up_devices", scale_up)
    precision = (phase.precision if phase is not None else None) or "bf16"
    peak_flop = peak(facts, precision, "pretrain.precision")
    half = facts.peaks.get("bf16") or facts.peaks.get("fp16") or peak_flop
    memory = (given(fleet.device_memory_bytes, "bytes", "device memory") if fleet.device_memory_bytes
              else facts.memory_bytes)
    cap, rated = fleet.device_power_limit_w, facts.power_w
    ratio = 1.0
    if cap is not None and rated is not None:
        if cap > rated.value * 1.0001:
            raise BadValue(f"fleet.device_power_limit_w: {cap:g} W is above the {rated.value:g} W of {facts.id}",
                           "fleet.device_power_limit_w")
        ratio = cap / rated.value
    slow = _link(fleet.inter_node_bytes_per_s, facts, "inter_node_bytes_per_s", "network.inter_node_bytes_per_s",
                 defaults, fleet.devices > per_node)
    own_link = facts.link_bytes_per_s
    fast = (given(fleet.intra_node_bytes_per_s, "bytes/s", "link inside the fast domain")
            if fleet.intra_node_bytes_per_s else own_link or slow)
    return Hardware(
        device=facts.id, vendor=facts.vendor, peak_flop_per_s=peak_flop, peak_flop_per_s_16bit=half,
        memory_bytes=memory, memory_bytes_per_s=facts.memory_bytes_per_s, devices=fleet.devices,
        devices_per_node=per_node, scale_up_devices=scale_up, fast_bytes_per_s=fast, slow_bytes_per_s=slow,
        host_link_bytes_per_s=_link(fleet.host_link_bytes_per_s, facts, "host_link_bytes_per_s",
                                    "network.host_link_bytes_per_s", defaults, False),
        host_memory_bytes=_host_memory(fleet, facts, per_node),
        power_w=rated if rated is not None else 0.0, power_limit_ratio=ratio,
        efficiency=resolve_efficiency(facts, catalog, notes, seed, without))


def _fact(facts: DeviceFacts, parameter: str, default: float) -> float:
    return float(facts.entry.value(parameter, default)) if facts.entry is not None else default


def _note(notes: Notes, facts: DeviceFacts, parameter: str, what: str, value: Any) -> None:
    if facts.entry is not None and parameter in facts.entry:
        fact = facts.entry.fact(parameter)
        notes.assume(what, value, fact.note or "of this device's usual machine", fact.source)
    else:
        notes.assume(what, value, "the usual machine", "")


def _link(own: float | None, facts: DeviceFacts, parameter: str, default: str, defaults: Defaults, told: bool) -> Any:
    """A bandwidth: given, else the device's usual machine's, else the default."""
    label = parameter.removesuffix("_bytes_per_s").replace("_", " ")
    if own is not None:
        return given(own, "bytes/s", label)
    if facts.entry is not None and parameter in facts.entry:
        if told:
            _note(defaults.notes, facts, parameter, f"fleet.{parameter}", facts.entry.value(parameter))
        return facts.entry.fact(parameter).quantity(defaults.seed)
    return defaults.quantity(default, f"fleet.{parameter}" if told else "")


def _host_memory(fleet: Fleet, facts: DeviceFacts, per_node: int) -> Any:
    """Host memory of one node."""
    if fleet.host_memory_bytes is not None:
        return given(fleet.host_memory_bytes, "bytes", "host memory of a node")
    each = _fact(facts, "host_memory_bytes", 0.0)
    return exact(each * per_node, "bytes", "host memory of a node", "of this device's usual machine", basis="derived")


def _shown_hardware(hw: Hardware) -> dict[str, Any]:
    def number(value: Any) -> Any:
        return None if getattr(value, "samples", None) is not None else getattr(value, "value", value)

    return {"devices": hw.devices, "devices_per_node": hw.devices_per_node, "scale_up_devices": hw.scale_up_devices,
            "intra_node_bytes_per_s": number(hw.fast_bytes_per_s), "inter_node_bytes_per_s": number(hw.slow_bytes_per_s),
            "host_link_bytes_per_s": number(hw.host_link_bytes_per_s),
            "host_memory_bytes": number(hw.host_memory_bytes) or None,
            "device_memory_bytes": number(hw.memory_bytes)}


def _training(given_phase: Pretrain, architecture: Architecture | None, fleet: Fleet | None, facts: DeviceFacts | None,
              hardware: Hardware | None, defaults: Defaults) -> tuple[TrainingPhase, dict[str, Any]]:
    shown: dict[str, Any] = {}
    recipe, layout = None, given_phase.layout or Layout()
    catalog, notes = defaults.catalog, defaults.notes
    if given_phase.device_hours is None:
        if architecture is None:
            raise BadValue("model: needed to plan pre-training", "model")
        if hardware is None:
            raise BadValue("fleet: needed to plan pre-training; for example 64xh100-sxm5-80gb", "fleet")
        framework = given_phase.framework or "megatron"
        fused = framework_flag(framework, "fused_cross_entropy", catalog)
        recipe, shown = resolve_recipe(given_phase, architecture, hardware.devices, fused, catalog, notes)
        sizes = memory_constants(framework, facts.vendor if facts is not None else "", catalog, defaults.seed)
        recipe = replace(recipe, options={**recipe.options, "memory_constants": sizes})
        layout = _described_layout(given_phase.layout or Layout(), notes)
        shown["layout"] = to_plain(layout)
        if given_phase.tokens is None:
            notes.warn("pretrain.tokens: not given, so only one step is planned; give the tokens of the run for time, "
                       "money and energy")
    else:
        shown["device_hours"] = given_phase.device_hours
    if given_phase.tokens is not None:
        shown["tokens"] = given_phase.tokens
    calendar, more = resolve_calendar(given_phase, fleet, hardware.devices if hardware else 1, defaults)
    evidence = evidence_class(architecture, recipe, facts)
    widening = borrowed(facts) if facts is not None else MEASURED_ON_DEVICE
    return TrainingPhase(
        recipe=recipe, layout=layout, tokens=given_phase.tokens,
        device_hours=given_phase.device_hours, calendar=calendar,
        residual_time=residual("train_time", evidence, catalog, defaults.seed, widening),
        residual_memory=residual("train_memory", evidence, catalog, defaults.seed), evidence=evidence), shown | more


def _described_layout(layout: Layout, notes: Notes) -> Layout:
    """A layout that says how the model is split describes a run: its schedule is then the plain one unless said."""
    import msgspec

    described = layout.tensor is not None and (layout.pipeline or 0) > 1
    if not described or layout.virtual_pipeline is not None or layout.schedule not in (None, "1f1b"):
        return layout
    notes.assume("pretrain.layout.virtual_pipeline", 1, "tensor and pipeline are given, so one chunk a stage; give "
                 "virtual_pipeline to interleave")
    return msgspec.structs.replace(layout, virtual_pipeline=1)


def evidence_class(architecture: Architecture | None, recipe: Any, facts: DeviceFacts | None) -> str:
    """Which set of published runs says how far off the model is."""
    if architecture is None or recipe is None:
        return ""
    from outlay.steps.efficiency import framework_class

    vendor = facts.vendor.lower() if facts is not None else ""
    if vendor == "google":
        return "tpu"
    if any(kind.mlp == "moe" for kind, _ in architecture.groups):
        return "moe"
    return {"legacy": "dense-legacy", "megatron": "dense-megatron", "fsdp-compile": "fsdp"}.get(
        framework_class(recipe), framework_class(recipe))


