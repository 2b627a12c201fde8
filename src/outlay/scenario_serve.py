"""What a scenario says of how replicas follow their requests."""

from __future__ import annotations

from outlay.scenario_kinds import Degree, Positive, Record, Seconds, SecondsOrZero


class Autoscale(Record, frozen=True):
    """Replicas that come and go with what is inside, in a replay of requests that come by themselves."""

    min_replicas: Degree | None = None
    max_replicas: Degree | None = None
    target_requests: Positive | None = None  # inside a replica, running and waiting
    every: Seconds | None = None  # how often it looks
    down_after: SecondsOrZero | None = None  # fewer stay once none of this time wanted more
