"""What a serving search goes through when no fleet is named: devices that can be rented, precisions, engines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from outlay.catalog import Catalog
from outlay.errors import Inconsistent, UnknownName
from outlay.resolve.engines import DEFAULT_ENGINE
from outlay.resolve.serve.layout import PARALLEL
from outlay.scenario import Disaggregated, Scenario, Serve, ServeOptions

MOST_DEVICES = 10_000
NEEDS = {"fp8": "peak_fp8_flop_per_s", "nvfp4": "peak_fp4_flop_per_s", "mxfp4": ""}


class Space(Struct, frozen=True):
    """What is tried. able: precisions a device has units for, beyond 16 bits.

    whole, split: replicas that do all of a request, pools of prompts and of answers; pools: how those are laid out.
    """

    devices: tuple[str, ...]
    engines: tuple[str | None, ...]
    wanted: tuple[str | None, ...]
    able: Mapping[str, tuple[str, ...]]
    most_devices: int
    whole: bool = True
    split: bool = False
    pools: Disaggregated | None = None

    def precisions(self, device: str) -> list[str | None]:
        """Those asked for, or the model's own and what the device adds."""
        return [
            p for p in self.wanted if p is None or p not in NEEDS or not NEEDS[p] or p in self.able[device]
        ]

    def scenario(
        self, scenario: Scenario, device: str, engine: str | None, precision: str | None
    ) -> Scenario:
        """The scenario on devices of this kind: one, or what the degrees and replicas it gives need."""
        assert scenario.serve is not None
        given = scenario.serve
        devices = math.prod(int(degree or 1) for degree in (given.tensor, given.pipeline, given.data, given.replicas))
        serve = replace(
            given,
            options=None,
            disaggregated=None,
            engine=engine or given.engine,
            precision=precision or given.precision,
        )
        return replace(scenario, fleet=f"{devices}x{device}", serve=serve, pretrain=None, finetune=None)


def options_space(scenario: Scenario, catalog: Catalog) -> Space:
    """Devices with a rental price whose vendor's kernels are known, unless the scenario names its own.

    Raises UnknownName for a device that is not in the catalogue.
    """
    assert scenario.serve is not None
    given = scenario.serve.options or ServeOptions()
    for name in ("autoscale", "scaling") if _scales_replay(scenario.serve) else ():
        if getattr(scenario.serve, name) is not None:
            raise Inconsistent(f"serve.{name}: needs a fleet, the most devices there are; a search finds how many "
                               "always stand", f"serve.{name}")
    names = given.devices
    if names is not None:
        devices = [catalog.find_device(name, "serve.options.devices").entry.id for name in names]
    else:
        priced = {p.device for p in catalog.prices() if p.kind == "on_demand"}
        devices = [e.id for e in catalog.entries("device") if e.id in priced and _current(e)]
    able = {}
    for device in devices:
        entry = catalog.find("device", device)
        able[device] = tuple(p for p, peak in NEEDS.items() if not peak or peak in entry)
    own = scenario.serve.precision
    wanted: tuple[str | None, ...] = (own,) if own else (None, "fp8")
    if given.precisions is not None:
        wanted = tuple(given.precisions)
    engines: tuple[str | None, ...] = tuple(given.engines or (scenario.serve.engine or DEFAULT_ENGINE,))
    for engine in engines:
        catalog.find("engine", str(engine), "serve.options.engines")
    if not devices:
        raise UnknownName("serve.options.devices: names no device", "serve.options.devices")
    whole, split = _kinds(scenario.serve, given)
    return Space(tuple(devices), engines, wanted, able, int(given.max_devices or MOST_DEVICES), whole, split,
                 scenario.serve.disaggregated)


def _scales_replay(serve: Serve) -> bool:
    """Whether replicas are to come and go in a replay, not by the hour."""
    hourly = serve.workload is not None and serve.workload.hourly is not None
    return not hourly and (serve.autoscale is not None or serve.scaling == "autoscale")


def _kinds(serve: Serve, given: ServeOptions) -> tuple[bool, bool]:
    """Whether whole replicas are tried, and whether pools are; degrees at the top are those of a whole replica."""
    path = "serve.options.disaggregated"
    degree = next((name for name in PARALLEL if getattr(serve, name) is not None), "")
    if given.disaggregated and degree:
        raise Inconsistent(f"serve.{degree}: is that of a replica that does all of a request, and {path} asks for "
                           f"pools; give serve.disaggregated.prefill.{degree} and decode.{degree}", f"serve.{degree}")
    if serve.disaggregated is not None:
        if given.disaggregated is False:
            raise Inconsistent(f"{path}: false, but serve.disaggregated says how pools are laid out; leave one out",
                               path)
        if degree:
            raise Inconsistent(f"serve.{degree}: each pool of serve.disaggregated has its own; leave it out here",
                               f"serve.{degree}")
        return False, True
    return given.disaggregated != "only", bool(given.disaggregated is not False and not degree)


def _current(entry: Any) -> bool:
    """Devices that today's engines run: those that multiply 16-bit numbers in tensor cores."""
    return any(name in entry for name in ("peak_bf16_flop_per_s",)) and str(entry.value("vendor", "")) in (
        "nvidia",
        "amd",
    )
