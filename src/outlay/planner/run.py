"""One scenario to one result: resolve once, plan each phase, account once."""

from __future__ import annotations

from typing import Any

from outlay.catalog import Catalog
from outlay.derive import Quantity, exact
from outlay.planner.books import budgets_kept, in_currency, tagged
from outlay.planner.influence import influence
from outlay.resolve import Resolved, resolve
from outlay.resolve.pay.how import without_how
from outlay.result import PHASES, Result
from outlay.scenario import Scenario
from outlay.usage import Line


def run_plan(scenario: Scenario, catalog: Catalog, without: str = "", token_prices: Any = None,
             day: str | None = None, around: bool = True, tables: bool = False) -> Result:
    """Plan every phase asked for; a phase that is not built yet is Unsupported, named as the field.

    without: a group of published cases whose fitted constants are not used (validation only).
    around: also what lies near a training plan: other layouts and fleets, changes that would fit, the room left.
    tables: the replay of a serving plan keeps every request and step (`Result.replay`).
    token_prices, day: live prices of tokens and their date, in place of the snapshot.
    """
    found = None
    serves = scenario.serve is not None and without_how(scenario).serve is not None
    if serves and scenario.fleet is None and scenario.model is not None:
        from outlay.planner.capacity.search import search

        found = search(scenario, catalog, without)
        scenario = found.on_best(scenario)
    resolved = resolve(scenario, catalog, without)
    resolved.notes.tables = tables
    phases: dict[str, dict[str, Any]] = {}
    lines: list[Line] = []
    if resolved.pretrain is not None:
        from outlay.planner.pretrain.plan import plan_pretrain

        phases["pretrain"], phase_lines = plan_pretrain(resolved, around)
        lines += phase_lines
    if resolved.finetune is not None:
        from outlay.planner.finetune.plan import plan_finetune

        phases["finetune"], phase_lines = plan_finetune(resolved, around)
        lines += phase_lines
    if resolved.serve is not None:
        from outlay.planner.serve.plan import plan_serve

        phases["serve"], phase_lines = plan_serve(resolved)
        lines += phase_lines
        if found is not None:
            phases["serve"]["search"] = found.shown()
            found.tell(resolved.notes)
    lines = tagged(lines, resolved.scenario.get("tags"))
    paid: list[Line] = []
    if scenario.pay is not None:
        from outlay.planner.pay.plan import plan_pay, settle

        phases["pay"] = plan_pay(scenario, catalog, resolved, phases, lines, without, token_prices, day)
        others = len(phases) > 1 or resolved.data or resolved.maintain or resolved.life
        paid = settle(phases["pay"], resolved, alone=not others)
    lines = tagged(_around(resolved, phases, lines), resolved.scenario.get("tags"))
    phases = {name: phases[name] for name in (*PHASES, "life", "pay") if name in phases}
    sums = _totals(lines)
    for name, values in phases.items():
        values |= influence(values, sums) if name != "pay" else {}
    return Result(
        scenario=resolved.scenario, model=model_values(resolved), phases=phases, lines=tuple(lines),
        totals=sums, assumptions=tuple(a.to_dict() for a in resolved.notes.assumptions),
        warnings=tuple(resolved.notes.warnings), catalog=resolved.catalog_date,
        budget=tuple(budgets_kept(resolved.goal, paid or lines)),
        currency=in_currency(resolved.scenario.get("currency"), sums),
        replay=resolved.notes.replay if tables else None)


def _around(resolved: Resolved, phases: dict[str, dict[str, Any]], lines: list[Line]) -> list[Line]:
    """Data, maintenance and the years of use, from the phases planned: their values added, all lines returned."""
    if resolved.data is not None:
        from outlay.planner.data import plan_data

        phases["data"], data_lines = plan_data(resolved, phases.get("serve"))
        lines = [*data_lines, *lines]
    if resolved.life is not None:
        from outlay.planner.life.plan import plan_life

        phases["life"], maintain, lines = plan_life(resolved, phases, lines)
        phases |= {"maintain": maintain} if maintain else {}
        return lines
    if resolved.maintain is not None:
        from outlay.planner.maintain import plan_maintain

        phases["maintain"], kept = plan_maintain(resolved, lines)
        lines = [*lines, *kept]
    return lines


def model_values(resolved: Resolved) -> dict[str, Any]:
    """What every result says of the model: its name and parameters, or nothing when there is none."""
    arch = resolved.architecture
    if arch is None:
        return {}
    count = {"unit": "parameters"}
    vision = {} if not arch.vision_parameters else {"vision_parameters": exact(
        arch.vision_parameters, count["unit"], "parameters of the vision tower, beside the others",
        f"counted from the shape of {arch.name}", basis="derived")}
    return {
        "name": arch.name,
        "parameters": exact(arch.parameters, count["unit"], "parameters", f"counted from the shape of {arch.name}",
                            basis="derived"),
        "active_parameters": exact(arch.active_parameters, count["unit"], "active parameters",
                                   f"counted from the shape of {arch.name}", basis="derived"),
        "layers": arch.layers, "hidden": arch.hidden, "vocab": arch.vocab,
        **vision,
    }


def _totals(lines: list[Line]) -> dict[str, Any]:
    from outlay.account import totals

    if not lines:
        return {}
    found: dict[str, Quantity | Any] = totals(lines)
    return found
