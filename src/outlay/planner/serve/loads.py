"""The table of loads beside an answer: what a few more or fewer requests at once would do."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec.structs import replace

from outlay.derive import value_of
from outlay.physics.queueing import request_s
from outlay.planner.serve.replicas import Replicas
from outlay.planner.serve.times import HOUR_S, load_of
from outlay.resolve.workload import Asked

LOADS = (1, 4, 16, 64, 256, 1024)


def table_of_loads(asked: Asked, whole: Replicas) -> list[dict[str, Any]]:
    """What a few more or fewer requests at once would do, at the same lengths."""
    load = load_of(asked, whole)
    most = float(whole.found(replace(load, kind="queued"))["running"])
    steps = [n for n in LOADS if n < most] + [int(most)]
    count = np.array([float(n) for n in dict.fromkeys(steps)])
    found = whole.found(replace(load, kind="closed", concurrency=count))
    slow, first = value_of(whole.slower), value_of(whole.slower_first)
    rows = []
    for place, n in enumerate(count):
        ttft, tpot = float(found["ttft_s"][place]) * first, float(found["tpot_s"][place]) * slow
        e2e = request_s(ttft, tpot, asked.output)
        rate = n * whole.count / e2e
        rows.append(
            {
                "concurrency": n * whole.count,
                "ttft_s": ttft,
                "tpot_s": tpot,
                "e2e_s": e2e,
                "requests_per_s": rate,
                "output_tokens_per_s": rate * asked.output,
                "users": rate * HOUR_S / asked.per_user_hour.value,
            }
        )
    return rows
