"""One published case planned without its own group's fit: the number, its interval, the baseline beside it."""

from __future__ import annotations

from typing import Any

from outlay.catalog import Catalog
from outlay.derive import Quantity
from outlay.errors import OutlayError
from outlay.scenario_io import scenario_from
from outlay.validate.case import BASELINE_BYTES_PER_PARAMETER, BASELINE_UTILIZATION, Case, Outcome


def predict(case: Case, catalog: Catalog, planned: dict[str, Any] | None = None) -> Outcome:
    """Plan one case without its own group's fit; an error is an outcome, never dropped.

    planned: keeps the last plan, for cases that ask several numbers of one.
    """
    from outlay.planner.run import run_plan

    kept = {} if planned is None else planned
    key = repr((case.scenario, case.group))
    try:
        if kept.get("key") != key:
            kept["result"] = run_plan(scenario_from(case.scenario), catalog, without=case.group)
            kept["key"] = key
        result = kept["result"]
        quantity = _number(result, case.number)
    except OutlayError as error:
        return Outcome(case, float("nan"), float("nan"), float("nan"), error=f"{error.kind}: {error.message}")
    return Outcome(case, quantity.value, quantity.low, quantity.high, baseline=_baseline(case, result))


def _number(result: Any, name: str) -> Quantity:
    from outlay.derive import add_all

    parts = [_one_number(result, part) for part in name.split("+")]
    total: Quantity = parts[0] if len(parts) == 1 else add_all(name, parts[0].unit, *parts)
    return total


def _one_number(result: Any, name: str) -> Quantity:
    if ".-1." in name:
        name = name.replace(".-1.", f".{len(result.phases['pretrain']['stages']) - 1}.")
    quantity: Quantity = result.explain(name)
    return quantity


def _baseline(case: Case, result: Any) -> float | None:
    """What the usual rule of thumb says: 6ND at 35 % of dense peak, or 16 bytes a parameter over the devices."""
    if case.number.startswith("finetune."):
        from outlay.validate import tune_cases

        return tune_cases.baseline(case, result)
    if case.number in ("serve.energy_per_output_token_j", "serve.power_w_per_device") or "lines.serve" in case.number:
        from outlay.validate import power_cases

        return power_cases.baseline(case, result)
    if case.number.startswith("pay."):
        from outlay.validate import cost_cases

        return cost_cases.baseline(case, result)
    if case.group.startswith("serve-time/"):
        from outlay.validate import serve_time_cases

        return serve_time_cases.baseline(case, result)
    if case.number.startswith("serve."):
        from outlay.validate import serve_cases

        said: float | None = serve_cases.baseline(case, result)
        return said
    phase = case.scenario.get("pretrain") or {}
    model, shown = result.model, result.scenario.get("pretrain") or {}
    devices = float((result.scenario.get("fleet") or {}).get("devices", 1))
    if not model:
        return None
    if case.number == "pretrain.step_time_s":
        tokens = float(shown["global_batch"]) * float(shown["sequence_length"])
        peak: float = result.explain("pretrain.model_flops_utilization").inputs[-1].value
        return 6.0 * float(model["active_parameters"].value) * tokens / (devices * peak * BASELINE_UTILIZATION)
    if "memory" in case.number:
        layout = phase.get("layout") or {}
        split = float(layout.get("tensor", 1)) * float(layout.get("pipeline", 1))
        if layout.get("zero") == 3:
            split *= float(layout.get("data", 1))
        return BASELINE_BYTES_PER_PARAMETER * float(model["parameters"].value) / split
    return None
