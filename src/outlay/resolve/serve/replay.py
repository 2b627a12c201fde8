"""How a load is replayed: whether its own times are wanted, who gets the next request, how replicas come and go."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from outlay.derive import Quantity
from outlay.errors import BadValue, Inconsistent, Unsupported
from outlay.resolve.calendar import Defaults
from outlay.resolve.fleet import given as given_number
from outlay.resolve.hourly import FIELD as HOURLY
from outlay.resolve.hourly import SCALING, START
from outlay.scenario import Serve
from outlay.scenario_serve import Autoscale

FIELD, ROUTER, SCALE = "serve.replay", "serve.router", "serve.autoscale"
LEAST_LOADED = "least_loaded"  # of equal replicas the one with the fewest requests inside
MOST_LOOKS = 100_000  # that the autoscaler remembers


class Scale(Struct, frozen=True):
    """Replicas of a replay that come and go: at least so many, at most as many as there are.

    target: requests inside each; None: as many as are when it is asked `share` of what it takes within its promises.
    keep_s: so long as anything wanted them, they stay. start_s: until one that is started answers, where it was given;
    else from the two facts beside it.
    """

    least: int
    target: float | None
    share: Quantity
    every_s: float
    keep_s: float
    start_s: Quantity | None
    start_engine_s: Quantity
    start_bytes_per_s: Quantity


class Replaying(Struct, frozen=True):
    """What is said of a replay.

    allowed: requests may be replayed at all. own: the plan's times are those of the replay, as they are of a trace;
    else it only spreads what the closed form says. router: None where the scenario names none.
    """

    allowed: bool = True
    own: bool = False
    router: str | None = None
    scale: Scale | None = None

    @property
    def routed(self) -> str:
        return self.router or LEAST_LOADED


def resolve_replay(given: Serve, kind: str, load: dict[str, Any], defaults: Defaults) -> Replaying:
    """kind: which load the workload names, empty where none; load: as it is asked.

    Raises Inconsistent where a replay is asked for and cannot be, or refused and needed.
    """
    scale = _scale(given, kind, load, defaults)
    wants = ["router"] if given.router is not None else []
    wants += ["autoscale" if given.autoscale is not None else "scaling"] if scale is not None else []
    wants += ["workload.trace"] if kind == "trace" else []
    if given.replay is False:
        if wants:
            raise Inconsistent(f"{FIELD}: false, but serve.{wants[0]} is of a replay; leave one out", FIELD)
        return Replaying(allowed=False)
    own = given.replay is True or bool(wants)
    if not own:
        return Replaying()
    field = FIELD if given.replay else f"serve.{wants[0]}"
    if not kind:
        raise Inconsistent(f"{field}: needs a load to replay; give serve.workload.users, rate, concurrency, batch or "
                           "trace", field)
    if load["kind"] == "queued" and (given.workload is None or given.workload.requests is None):
        raise Inconsistent(f"{field}: everything is queued at once; give serve.workload.requests, how many there are",
                           field)
    return Replaying(own=kind != "trace", router=given.router, scale=scale)


def _scale(given: Serve, kind: str, load: dict[str, Any], defaults: Defaults) -> Scale | None:
    """How replicas follow a replay; None where all stand, or where the load is known by the hour (`resolve.hourly`)."""
    if given.workload is not None and given.workload.hourly is not None:
        if given.autoscale is not None:
            raise Inconsistent(f"{SCALE}: is of a replay, and {HOURLY} is followed by what each hour needs; leave one "
                               "out", SCALE)
        return None
    comes = load["kind"] == "open"
    if given.scaling == "mixed" or (given.scaling is not None and not comes):
        other = "" if given.scaling == "mixed" else "; or requests that come by themselves: users, rate or trace"
        raise Inconsistent(f"{SCALING}: needs {HOURLY}, the load by the hour{other}", SCALING)
    if given.autoscale is None and given.scaling != "autoscale":
        if given.cold_start is not None:
            raise Inconsistent(f"{START}: needs {HOURLY}, the load by the hour, or {SCALE}", START)
        return None
    if given.scaling == "fixed":
        raise Inconsistent(f"{SCALING}: fixed, but {SCALE} says how replicas come and go; leave one out", SCALING)
    field = SCALE if given.autoscale is not None else SCALING
    if not comes:
        raise Inconsistent(f"{field}: follows requests that come by themselves; give serve.workload.users, rate or "
                           "trace", field)
    if given.disaggregated is not None:
        raise Unsupported(f"{field}: a pool of prompts and a pool of answers are not scaled apart in a replay; give "
                          f"{HOURLY} instead", field)
    return _read(given, given.autoscale or Autoscale(), defaults)


def with_most(given: Serve) -> Serve:
    """The most replicas that an autoscaler may have are those there are."""
    told = given.autoscale
    if told is None or told.max_replicas is None or given.replicas is not None or given.disaggregated is not None:
        return given
    return replace(given, replicas=told.max_replicas)


def _read(given: Serve, told: Autoscale, defaults: Defaults) -> Scale:
    most, least = told.max_replicas, told.min_replicas or 1
    if most is not None and given.replicas is not None and most != given.replicas:
        raise Inconsistent(f"{SCALE}.max_replicas: {most}, but serve.replicas is {given.replicas}; both say how many "
                           "there are at most", f"{SCALE}.max_replicas")
    most = most or given.replicas
    if most is not None and least > most:
        raise BadValue(f"{SCALE}.min_replicas: {least} is more than the {most} there are at most",
                       f"{SCALE}.min_replicas")
    if told.min_replicas is None:
        defaults.notes.assume(f"{SCALE}.min_replicas", 1, "one replica always stands")

    def own(name: str) -> float:
        value = getattr(told, name)
        return float(value if value is not None else defaults.quantity(f"{SCALE}.{name}_s", f"{SCALE}.{name}").value)

    every_s, keep_s = own("every"), own("down_after")
    if keep_s / every_s > MOST_LOOKS:
        raise BadValue(f"{SCALE}.every: {every_s:g} s is more than {MOST_LOOKS:,} looks in the {keep_s:g} s of "
                       "down_after", f"{SCALE}.every")
    quiet = given.cold_start is not None
    start = given_number(given.cold_start, "s", "start of a replica") if given.cold_start is not None else None
    return Scale(least, told.target_requests, defaults.quantity(f"{SCALE}.target_share"), every_s, keep_s, start,
                 defaults.quantity("serve.start_engine_s", "" if quiet else "start of an engine"),
                 defaults.quantity("serve.start_bytes_per_s", "" if quiet else "loading of weights"))
