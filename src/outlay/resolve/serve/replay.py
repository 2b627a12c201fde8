"""How a load is replayed: whether its own times are wanted, who gets the next request, how replicas come and go."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from outlay.errors import Inconsistent
from outlay.scenario import Serve

FIELD, ROUTER = "serve.replay", "serve.router"
LEAST_LOADED = "least_loaded"  # of equal replicas the one with the fewest requests inside


class Replaying(Struct, frozen=True):
    """What is said of a replay.

    allowed: requests may be replayed at all. own: the plan's times are those of the replay, as they are of a trace;
    else it only spreads what the closed form says. router: None where the scenario names none.
    """

    allowed: bool = True
    own: bool = False
    router: str | None = None

    @property
    def routed(self) -> str:
        return self.router or LEAST_LOADED


def resolve_replay(given: Serve, kind: str, load: dict[str, Any]) -> Replaying:
    """kind: which load the workload names, empty where none; load: as it is asked.

    Raises Inconsistent where a replay is asked for and cannot be, or refused and needed.
    """
    wants = [name for name in ("router",) if getattr(given, name) is not None]
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
    return Replaying(own=kind != "trace", router=given.router)
