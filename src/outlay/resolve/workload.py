"""The workload of a serving phase → what is asked: how requests come, how long they are, for how long."""

from __future__ import annotations

from math import isfinite
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from outlay.derive import Quantity, exact
from outlay.errors import BadValue, Inconsistent
from outlay.resolve.calendar import Defaults
from outlay.resolve.fleet import given as given_number
from outlay.resolve.hourly import Hourly, resolve_hourly
from outlay.resolve.lengths import Lengths, parse_lengths
from outlay.resolve.serve.defaults import PATH, mean_length
from outlay.resolve.serve.replay import Replaying, resolve_replay
from outlay.scenario import Serve, Workload

FIELD = PATH + "workload"
KINDS = ("concurrency", "rate", "batch", "users", "trace")
ARRIVALS = {
    "constant": 0.0,
    "poisson": 1.0,
    "gamma": 2.0,
    "bursty": 4.0,
}  # deviation of the gaps over their mean
SECONDS = 3600.0
LONG_S = {"ttft": 60.0, "tpot": 5.0, "e2e": 3600.0}  # promises beyond are told to be in seconds


class Asked(Struct, frozen=True):
    """What is asked of the whole deployment.

    kind: closed (so many always in flight), open (requests/s), batch (one started together), queued (all at once).
    """

    kind: str
    input: float
    output: float
    concurrency: float = 1.0
    rate: float = 0.0
    requests: float | None = None
    hours: Quantity | None = None  # None: the requests say how long it takes
    per_user_hour: Quantity = field(default_factory=lambda: exact(1.0, "1/h"))
    users: float | None = None  # as asked; else they follow from the rate
    trace: str | None = None  # a file of requests; the planner reads it, or the first so many as `requests` says
    input_lengths: Lengths = field(default_factory=lambda: Lengths(1.0))
    output_lengths: Lengths = field(default_factory=lambda: Lengths(1.0))
    prefix_hit: float = 0.0
    arrivals: str = "poisson"
    slo: dict[str, float] = field(default_factory=dict)
    percentile: float | None = None
    named: bool = True  # a load was given; else one request at a time stands in
    hourly: Hourly | None = None  # the load is then that of the busiest hour
    replay: Replaying = field(default_factory=Replaying)
    prefixes: bool = False  # the trace says which prompts begin alike

    @property
    def replayed(self) -> bool:
        """Whether a replay spreads the closed form: a queue that ends, or a percentile that was promised."""
        waits = self.kind == "open" or (self.percentile is not None and self.kind == "closed")
        return self.named and waits and self.replay.allowed and not self.replay.own

    @property
    def own_times(self) -> bool:
        """Whether the plan's times are those of its own requests, replayed."""
        return self.trace is not None or self.replay.own


def is_live(given: Serve) -> bool:
    """Whether requests come by themselves, not from a loop or a queue that keeps a server busy."""
    work = given.workload or Workload()
    return work.users is not None or work.trace is not None or (work.rate is not None and isfinite(work.rate))


def resolve_workload(given: Serve, length: int, defaults: Defaults) -> Asked:
    """The load, with every default told.

    Raises Inconsistent where two loads or two durations are given, BadValue for arrivals unknown.
    """
    work = given.workload or Workload()
    told = [name for name in KINDS if getattr(work, name) is not None]
    if len(told) > 1:
        raise Inconsistent(
            f"{FIELD}: {' and '.join(told)} are {len(told)} loads; give one of {', '.join(KINDS)}",
            f"{FIELD}.{told[1]}",
        )
    kind = told[0] if told else ""
    prompt, answer = _lengths(given, work, length, defaults)
    seen = _image_tokens(work, defaults)
    prompt += seen
    each = _per_user(work, defaults, told=kind == "users")
    load: dict[str, Any] = {"kind": "closed"}
    if kind == "rate":
        rate = float(work.rate or 0.0)
        load = {"kind": "queued"} if rate == float("inf") else {"kind": "open", "rate": rate}
    elif kind == "users":
        load = {"kind": "open", "rate": float(work.users or 0.0) * each.value / SECONDS}
    elif kind == "batch":
        load = {"kind": "batch", "concurrency": _at_once(work.batch, work, defaults)}
    elif kind == "concurrency":
        load["concurrency"] = _at_once(work.concurrency, work, defaults)
    elif kind == "trace":
        _alone(work)
        load = {"kind": "open", "trace": str(work.trace)}
    else:
        why = "no load was given: one request after another; the table of loads shows what more would do"
        defaults.notes.assume(FIELD + ".concurrency", 1, why)
    slo = given.slo
    limits = (
        {} if slo is None else {n: v for n in ("ttft", "tpot", "e2e") if (v := getattr(slo, n)) is not None}
    )
    if slo is not None and slo.percentile is not None and not limits:
        defaults.notes.warn(
            f"{PATH}slo.percentile: there is no limit to hold it to; give slo.ttft, tpot or e2e"
        )
    for name, limit in limits.items():
        if limit > LONG_S[name]:
            defaults.notes.warn(f"{PATH}slo.{name}: {limit:g} is in seconds; write {limit:g}ms if those are meant")
    return Asked(
        input=prompt,
        output=answer,
        requests=work.requests,
        hours=_hours(given, work, kind, load, defaults),
        per_user_hour=each,
        users=work.users,
        input_lengths=_longer(work, prompt, seen),
        output_lengths=Lengths(answer) if work.output is None else parse_lengths(work.output, FIELD + ".output"),
        prefix_hit=float(given.prefix_cache_hit or 0.0),
        arrivals=_arrivals(work, str(load["kind"]), defaults),
        slo=limits,
        percentile=None if slo is None else slo.percentile,
        named=bool(kind),
        hourly=resolve_hourly(given, kind, defaults),
        replay=resolve_replay(given, kind, load, defaults),
        **load,
    )


def _image_tokens(work: Workload, defaults: Defaults) -> float:
    """Prompt tokens that a request's images become."""
    if work.images is None:
        if work.image_tokens is not None:
            raise Inconsistent(f"{FIELD}.image_tokens: needs images beside it", f"{FIELD}.image_tokens")
        return 0.0
    each = work.image_tokens
    if each is None:
        each = defaults.quantity("serve.image_tokens", FIELD + ".image_tokens").value
    return float(work.images) * float(each)


def _longer(work: Workload, prompt: float, by: float) -> Lengths:
    """The prompt's lengths with its images."""
    if work.input is None:
        return Lengths(prompt)
    told = parse_lengths(work.input, FIELD + ".input")
    return replace(told, mean=told.mean + by, low=told.low + by, high=told.high + by,
                   values=tuple(value + by for value in told.values))


def _alone(work: Workload) -> None:
    """A trace has its own lengths and arrivals; of its requests the first so many may be asked for."""
    for name in ("input", "output", "arrivals", "images"):
        if getattr(work, name) is not None:
            raise Inconsistent(f"{FIELD}.{name}: the trace says that itself; leave it out", f"{FIELD}.{name}")


def _lengths(given: Serve, work: Workload, length: int, defaults: Defaults) -> tuple[float, float]:
    """Mean tokens of prompt and answer: given, or those of published chat traffic as far as they fit."""
    prompt, answer = mean_length(work.input), mean_length(work.output, FIELD + ".output")
    room = max(2.0, float(length))
    if answer is None:
        value = defaults.quantity("serve.output_tokens").value
        answer = max(1.0, min(value, room - prompt if prompt is not None else room / 2))
        fact = defaults.catalog.find("default", "serve.output_tokens").fact("value")
        defaults.notes.assume(FIELD + ".output", answer, "published chat traffic", fact.source)
    if prompt is None:
        value = defaults.quantity("serve.input_tokens").value
        prompt = max(1.0, min(value, room - answer))
        fact = defaults.catalog.find("default", "serve.input_tokens").fact("value")
        defaults.notes.assume(FIELD + ".input", prompt, "published chat traffic", fact.source)
    return max(prompt, 1.0), max(answer, 1.0)


def _per_user(work: Workload, defaults: Defaults, told: bool) -> Quantity:
    own = work.requests_per_user_hour
    if own is not None:
        if own <= 0:
            raise BadValue(
                f"{FIELD}.requests_per_user_hour: must be above zero", f"{FIELD}.requests_per_user_hour"
            )
        return given_number(float(own), "1/h", "requests of a user in an hour")
    # a person's rate is uncertain, but users, rate and concurrency are shown for one and the same load
    value = defaults.quantity("serve.requests_per_user_hour", FIELD + ".requests_per_user_hour")
    return value if told else exact(value.value, value.unit, value.label, *value.sources, basis=value.basis)


def _at_once(told: int | None, work: Workload, defaults: Defaults) -> float:
    """Requests in flight: no more than there are."""
    wanted = float(told or 1)
    if work.requests is not None and work.requests < wanted:
        defaults.notes.warn(f"{FIELD}.requests: there are {work.requests:,.0f}, fewer than the {wanted:,.0f} that "
                            f"are to run at once; {work.requests:,.0f} run at once")
        return float(work.requests)
    return wanted


def _hours(
    given: Serve, work: Workload, kind: str, load: dict[str, Any], defaults: Defaults
) -> Quantity | None:
    """How long the deployment is kept; a batch, a trace or a number of requests has its own duration."""
    own = work.requests is not None or kind in ("batch", "trace")
    if given.hours is not None:
        if own:
            what = "requests" if work.requests is not None else kind
            raise Inconsistent(
                f"{PATH}hours: serve.workload.{what} already says how long it takes; give one of them",
                PATH + "hours",
            )
        return given_number(float(given.hours), "h", "hours of service")
    return None if own else defaults.quantity("serve.hours", PATH + "hours")


def _arrivals(work: Workload, kind: str, defaults: Defaults) -> str:
    name = work.arrivals
    if name is None:
        if kind == "open":
            defaults.notes.assume(FIELD + ".arrivals", "poisson", "people come independently of one another")
        return "poisson"
    if name not in ARRIVALS:
        from outlay.errors import suggestion

        raise BadValue(
            f"{FIELD}.arrivals: {name!r} is not one of {', '.join(ARRIVALS)}{suggestion(name, ARRIVALS)}; a day's ups "
            f"and downs are {FIELD}.hourly",
            f"{FIELD}.arrivals",
        )
    if kind != "open":
        defaults.notes.warn(f"{FIELD}.arrivals: only a rate or users arrive; not used here")
    return name
