"""How replicas come and go in a replay: at least so many, what is aimed at inside each, how often it is looked at."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from outlay.derive import Quantity
from outlay.errors import BadValue, Inconsistent
from outlay.resolve.calendar import Defaults
from outlay.resolve.fleet import given as given_number
from outlay.scenario import Serve
from outlay.scenario_serve import Autoscale, PoolAutoscale

SCALE = "serve.autoscale"
BOTH = ("prefill", "decode")
MOST_LOOKS = 100_000  # that the autoscaler remembers


class Scale(Struct, frozen=True):
    """Replicas of a replay that come and go: at least so many, at most as many as there are.

    target: requests inside each; None: as many as are when it is asked `share` of what it takes within its promises.
    keep_s: so long as anything wanted them, they stay. start_s: until one that is started answers, where it was given;
    else from the two facts beside it. pool: of two, whose replicas these are.
    """

    least: int
    target: float | None
    share: Quantity
    every_s: float
    keep_s: float
    start_s: Quantity | None
    start_engine_s: Quantity
    start_bytes_per_s: Quantity
    pool: str = ""

    @property
    def path(self) -> str:
        """What is assumed of these is told under."""
        return f"{SCALE}.{self.pool}" if self.pool else SCALE


def with_most(given: Serve) -> Serve:
    """The most replicas that an autoscaler may have are those there are, of each pool where there are two."""
    told, pools = given.autoscale, given.disaggregated
    if told is None:
        return given
    if pools is None:
        if told.max_replicas is None or given.replicas is not None:
            return given
        return replace(given, replicas=told.max_replicas)
    for name in BOTH:
        most, pool = _said(told, name, "max_replicas")[0], getattr(pools, name)
        if most is not None and pool.replicas is None:
            pools = replace(pools, **{name: replace(pool, replicas=most)})
    return replace(given, disaggregated=pools)


def most_field(given: Serve) -> str:
    """The field of the autoscaler that says how many replicas there are; empty where none does."""
    told, pools = given.autoscale, given.disaggregated
    if told is None:
        return ""
    if pools is None:
        return f"{SCALE}.max_replicas" if told.max_replicas is not None else ""
    found = (_said(told, name, "max_replicas") for name in BOTH)
    return next((field for most, field in found if most is not None), "")


def read_scales(given: Serve, defaults: Defaults) -> tuple[Scale, ...]:
    """Of whole replicas one, of two pools that of each. Raises what is wrong with `serve.autoscale`."""
    told, pools = given.autoscale or Autoscale(), given.disaggregated
    if pools is None:
        for name in BOTH:
            if getattr(told, name) is not None:
                raise Inconsistent(f"{SCALE}.{name}: is of a pool of its own; give serve.disaggregated, or the same "
                                   f"fields in {SCALE}", f"{SCALE}.{name}")
        return (_read(given, told, "", given.replicas, defaults),)
    found = tuple(_read(given, told, name, getattr(pools, name).replicas or 1, defaults) for name in BOTH)
    if all((getattr(pools, name).replicas or 1) == 1 for name in BOTH):
        defaults.notes.warn(f"{SCALE}: each pool has one replica, so none comes or goes; give {SCALE}.max_replicas, or "
                            "replicas in serve.disaggregated.prefill and decode")
    return found


def _said(told: Autoscale, pool: str, name: str) -> tuple[Any, str]:
    """What holds for a pool, and the field that says it: its own, else that of both."""
    own: PoolAutoscale | None = getattr(told, pool) if pool else None
    if own is not None and getattr(own, name) is not None:
        return getattr(own, name), f"{SCALE}.{pool}.{name}"
    return getattr(told, name), f"{SCALE}.{name}"


def _tells(told: Autoscale, pool: str, name: str) -> bool:
    """Whether what is assumed of a field is told here: once, where it is assumed of both pools."""
    return pool != BOTH[1] or _said(told, BOTH[0], name)[0] is not None


def _read(given: Serve, told: Autoscale, pool: str, there: int | None, defaults: Defaults) -> Scale:
    (most, most_field), (least, least_field) = (_said(told, pool, f"{end}_replicas") for end in ("max", "min"))
    if most is not None and there is not None and most != there:
        where = f"serve.disaggregated.{pool}.replicas" if pool else "serve.replicas"
        raise Inconsistent(f"{most_field}: {most}, but {where} is {there}; both say how many there are at most",
                           most_field)
    most = most or there
    if most is not None and least is not None and least > most:
        raise BadValue(f"{least_field}: {least} is more than the {most} there are at most"
                       + (f" in the {pool} pool" if pool else ""), least_field)
    if least is None and _tells(told, pool, "min_replicas"):
        why = "one replica of a pool always stands" if pool else "one replica always stands"
        defaults.notes.assume(f"{SCALE}.min_replicas", 1, why)

    def own(name: str) -> float:
        value, field = _said(told, pool, name)
        if value is None:
            return float(defaults.quantity(f"{SCALE}.{name}_s", field if _tells(told, pool, name) else "").value)
        return float(value)

    every_s, keep_s = own("every"), own("down_after")
    if keep_s / every_s > MOST_LOOKS:
        field = _said(told, pool, "every")[1]
        raise BadValue(f"{field}: {every_s:g} s is more than {MOST_LOOKS:,} looks in the {keep_s:g} s of down_after",
                       field)
    quiet = given.cold_start is not None or pool == BOTH[1]
    start = given_number(given.cold_start, "s", "start of a replica") if given.cold_start is not None else None
    engine_s = defaults.quantity("serve.start_engine_s", "" if quiet else "start of an engine")
    bytes_per_s = defaults.quantity("serve.start_bytes_per_s", "" if quiet else "loading of weights")
    return Scale(least or 1, _said(told, pool, "target_requests")[0], defaults.quantity(f"{SCALE}.target_share"),
                 every_s, keep_s, start, engine_s, bytes_per_s, pool)
