"""What a scenario says of how replicas follow their requests."""

from __future__ import annotations

from outlay.scenario_kinds import Degree, Positive, Record, Seconds, SecondsOrZero


class PoolAutoscale(Record, frozen=True):
    """The same of one of two pools, where it differs."""

    min_replicas: Degree | None = None
    max_replicas: Degree | None = None
    target_requests: Positive | None = None  # of prompts: waiting and computed; of answers: handed over, and decoding
    every: Seconds | None = None
    down_after: SecondsOrZero | None = None


class Autoscale(Record, frozen=True):
    """Replicas that come and go with what is inside, in a replay of requests that come by themselves.

    Of two pools each follows its own.
    """

    min_replicas: Degree | None = None
    max_replicas: Degree | None = None
    target_requests: Positive | None = None  # inside a replica, running and waiting
    every: Seconds | None = None  # how often it looks
    down_after: SecondsOrZero | None = None  # fewer stay once none of this time wanted more
    prefill: PoolAutoscale | None = None
    decode: PoolAutoscale | None = None
