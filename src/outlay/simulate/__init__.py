"""The serving simulator: requests come, engines schedule them as vLLM v1 and SGLang do, each has its times.

`simulate(workload, system, step_time, seed)` is the front; how long a step takes is handed to it.
"""

from __future__ import annotations

from outlay.simulate.records import Autoscale, Pool, Power, StepTime, System
from outlay.simulate.result import SimResult, Slo
from outlay.simulate.run import simulate
from outlay.simulate.traces import Trace
from outlay.simulate.workload import Arrivals, Batch, Given, Prefixes, Synthetic, batch

__all__ = ["Arrivals", "Autoscale", "Batch", "Given", "Pool", "Power", "Prefixes", "SimResult", "Slo", "StepTime",
           "Synthetic", "System", "Trace", "batch", "simulate"]
