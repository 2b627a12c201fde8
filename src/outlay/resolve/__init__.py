"""Scenario, catalogue, readers and defaults → `Resolved`. The only room that looks things up or fills defaults in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from outlay.architecture import Architecture
from outlay.catalog import Catalog
from outlay.errors import BadValue
from outlay.resolve.calendar import Defaults, resolve_calendar
from outlay.resolve.currency import resolve_currency
from outlay.resolve.efficiency import borrowed, residual, was_published
from outlay.resolve.fleet import DeviceFacts, fleet_record, in_own_room, plain_fleet, resolve_device
from outlay.resolve.frameworks import framework_flag
from outlay.resolve.hardware import bigger_hardware, resolve_hardware, shown_hardware, tell_machines, whole_instances
from outlay.resolve.memory import memory_constants
from outlay.resolve.model import resolve_model
from outlay.resolve.notes import Assumption, Notes
from outlay.resolve.power import resolve_power
from outlay.resolve.rates import resolve_rates
from outlay.resolve.recipe import resolve_recipe
from outlay.resolve.record import Resolved, TrainingPhase
from outlay.resolve.serve.untold import counted
from outlay.resolve.site import resolve_site
from outlay.scenario import Fleet, Layout, Pretrain, Scenario
from outlay.scenario_io import to_plain
from outlay.steps.inputs import Hardware

__all__ = ["Assumption", "Notes", "Resolved", "resolve"]

MEASURED_ON_DEVICE = 1.0
MEMORY_OF = {"fsdp-compile": "fsdp"}  # memory is counted alike: one class where times are told apart


def resolve(scenario: Scenario, catalog: Catalog, without: str = "") -> Resolved:
    """Every input of a scenario, known and sourced; raises OutlayError naming the field that is wrong.

    without: a group of published cases whose fitted constants must not be used (validation only).
    """
    notes = Notes()
    seed = scenario.seed or 0
    defaults = Defaults(catalog, notes, seed)
    shown: dict[str, Any] = {"name": scenario.name} if scenario.name else {}
    architecture = hardware = facts = fleet = None
    if scenario.model is not None:
        architecture, shown["model"] = resolve_model(scenario.model, catalog, notes)
    if scenario.fleet is not None:
        fleet = fleet_record(scenario.fleet)
        facts = resolve_device(fleet.device, catalog, notes, seed)
        fleet = counted(whole_instances(fleet, facts), scenario.serve)
        trains = (scenario.serve is None and scenario.pay is None) or scenario.pretrain is not None \
            or scenario.finetune is not None
        hardware = resolve_hardware(fleet, facts, scenario.pretrain, catalog, notes, seed, without, whole_nodes=trains)
    room = scenario.pay is None and in_own_room(fleet, facts)
    site = resolve_site(scenario.site, _provider(fleet, facts), catalog, notes, seed, room)
    rates = power = None
    if fleet is not None and facts is not None and hardware is not None:
        rates, money = resolve_rates(fleet, facts, site, hardware.devices_per_node, defaults)
        power = resolve_power(fleet, facts, catalog, notes, seed, without)
        kept = {} if scenario.pay is not None or room else money  # of all ways, or of nobody's, the echo names none
        shown["fleet"] = plain_fleet(fleet, facts, shown_hardware(hardware) | kept)
    if scenario.site is not None or site.shown:
        shown["site"] = site.shown
    phase = None
    if scenario.pretrain is not None:
        phase, shown["pretrain"] = _training(scenario.pretrain, architecture, fleet, facts, hardware, defaults)
    tune = None
    if scenario.finetune is not None:
        from outlay.resolve.finetune.phase import resolve_finetune

        tune, shown["finetune"] = resolve_finetune(scenario.finetune, architecture, fleet, facts, hardware, defaults)
    serve = None
    if scenario.pay is not None:
        scenario = _paid(scenario, catalog, seed, shown)
    if scenario.serve is not None:
        from outlay.resolve.serve.phase import resolve_serve

        serve, shown["serve"] = resolve_serve(
            scenario, architecture, fleet, facts, hardware, defaults, without)
        serve = _by_the_hour(serve, fleet, facts, hardware, site, rates, defaults)
    goal = to_plain(scenario.goal) if scenario.goal is not None else {}
    shown |= _books(scenario, goal, catalog, notes)
    found = Resolved(
        scenario=shown,
        architecture=architecture, hardware=hardware, rates=rates, power=power,
        pretrain=phase,
        goal=goal,
        notes=notes,
        seed=seed,
        catalog_date=catalog.date,
        place=site.place, site_shown=site.shown,
        bigger=_bigger(scenario, fleet, facts, catalog, seed),
        by_instance=facts is not None and facts.per_instance > 1,
        serve=serve,
        fleet_given_devices=fleet is not None and fleet.devices > 1,
        finetune=tune,
    )
    return _around(found, scenario, site, defaults)


def _around(found: Resolved, scenario: Scenario, site: Any, defaults: Defaults) -> Resolved:
    """Data, maintenance and the years of use, where any is asked about; and what a fleet's name may have meant."""
    if scenario.fleet is not None and found.hardware is not None:
        tell_machines(scenario.fleet, found.hardware, found.notes)
    if scenario.data is None and scenario.maintain is None and scenario.life is None:
        return found
    from outlay.resolve.around import with_life

    return with_life(found, scenario, site, defaults)


def _by_the_hour(serve: Any, fleet: Fleet | None, facts: DeviceFacts | None, hardware: Hardware | None, site: Any,
                 rates: Any, defaults: Defaults) -> Any:
    """A serving phase with the prices that a load by the hour can be followed at."""
    if fleet is None or facts is None or hardware is None:
        return serve
    from outlay.resolve.hourly import only_by_the_hour, resolve_tenures

    if serve.asked.replay.scales:
        only_by_the_hour(fleet, rates, "serve.autoscale")
    if serve.asked.hourly is None:
        return serve
    found = resolve_tenures(fleet, facts, site, hardware.devices_per_node, rates, serve.asked.hourly.scaling, defaults)
    return replace(serve, tenures=found)


def _paid(scenario: Scenario, catalog: Catalog, seed: int, shown: dict[str, Any]) -> Scenario:
    """Ways to pay as the scenario shows them; a serving section that only says how to serve is no phase."""
    from outlay.resolve.pay.how import without_how
    from outlay.resolve.pay.phase import known_model, resolve_pay

    defaults = Defaults(catalog, Notes(), seed)
    shown["pay"] = resolve_pay(scenario, catalog, defaults, known_model(scenario, catalog)).shown
    shown |= {"serve": to_plain(scenario.serve)} if scenario.serve is not None else {}
    return without_how(scenario)


def _books(scenario: Scenario, goal: dict[str, Any], catalog: Catalog, notes: Notes) -> dict[str, Any]:
    """What is asked of the plan beside its phases: the goal, the currency, tags and the seed."""
    shown: dict[str, Any] = {"goal": goal} if goal else {}
    if scenario.currency is not None:
        shown["currency"] = resolve_currency(scenario.currency, catalog, notes)
    if scenario.tags:
        shown["tags"] = dict(scenario.tags)
    if scenario.seed is not None:
        shown["seed"] = scenario.seed
    return shown


def _bigger(scenario: Scenario, fleet: Fleet | None, facts: DeviceFacts | None, catalog: Catalog,
            seed: int) -> Callable[[float], tuple[Hardware, ...]]:
    """Devices of at least so much memory, resolved only when a plan does not fit and asks for them."""
    if fleet is None or facts is None:
        return lambda least: ()
    return lambda least: bigger_hardware(fleet, facts, scenario.pretrain, catalog, seed, least)


def _provider(fleet: Fleet | None, facts: DeviceFacts | None) -> str:
    if fleet is not None and fleet.provider:
        return fleet.provider
    return facts.provider if facts is not None else ""


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
    widening *= _unseen(evidence, recipe, hardware, defaults)
    return TrainingPhase(
        recipe=recipe, layout=layout, tokens=given_phase.tokens,
        device_hours=given_phase.device_hours, calendar=calendar,
        residual_time=residual("train_time", evidence, catalog, defaults.seed, widening),
        residual_memory=residual("train_memory", MEMORY_OF.get(evidence, evidence), catalog, defaults.seed),
        evidence=evidence), shown | more


def _unseen(evidence: str, recipe: Any, hardware: Hardware | None, defaults: Defaults) -> float:
    """How much wider the interval is where no published run of this kind stands behind the fit."""
    if recipe is None or hardware is None:
        return 1.0
    generation = hardware.efficiency.generation
    if was_published("train_time", evidence, generation, recipe.precision, defaults.catalog):
        return 1.0
    factor = defaults.quantity("residual.unseen_factor").value
    defaults.notes.assume("step time interval", factor, f"wider by this factor: no published run of {evidence} in "
                          f"{recipe.precision} on {generation} devices was there to fit or to score")
    return factor


def _described_layout(layout: Layout, notes: Notes) -> Layout:
    """A layout with its splits and micro-batch describes a run: its schedule is then the plain one unless said."""
    described = None not in (layout.tensor, layout.micro_batch) and (layout.pipeline or 0) > 1
    if not described or layout.virtual_pipeline is not None or layout.schedule not in (None, "1f1b"):
        return layout
    notes.assume(
        "pretrain.layout.virtual_pipeline",
        1,
        "the splits and the micro-batch are given, so one chunk a stage; give virtual_pipeline to interleave",
    )
    return replace(layout, virtual_pipeline=1)


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
    return {"legacy": "dense-legacy", "megatron": "dense-megatron", "torchtitan": "fsdp-compile"}.get(
        framework_class(recipe), framework_class(recipe))


