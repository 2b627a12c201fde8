"""How a model is served beside ways to pay; apart from what those take, which every plan would load."""

from __future__ import annotations

from msgspec.structs import replace

from outlay.scenario import Scenario


def without_how(scenario: Scenario) -> Scenario:
    """Beside ways to pay, a serving section without a load says how to serve, and is no phase of its own."""
    serve = scenario.serve
    if scenario.pay is None or serve is None or serve.workload is not None:
        return scenario
    return replace(scenario, serve=None)
