"""Published logs of single requests, replayed as they came through the simulator: each request is scored.

Nothing was fitted to these logs. Lengths, times of arrival and the limits the engine was started with are given;
how long every request waited, and how long its answer took, is predicted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from outlay.catalog import load
from outlay.derive import value_of
from outlay.errors import OutlayError
from outlay.validate.case import Case, Outcome

if TYPE_CHECKING:
    import numpy as np

Row = Mapping[str, str]
TABLE = "llmservingsim_requests"
EVERY = 10  # requests of which one is scored: neighbours of one run tell little more
NUMBERS = {"e2e_s": "E2E", "ttft_s": "TTFT", "tpot_s": "TPOT"}
# Model, device and what the engine was told: bench/examples/*/vllm/meta.json and config.json of LLMServingSim
# (MIT), whose hosts have as many cards as ran.
RUNS: dict[str, tuple[str, str, dict[str, int]]] = {
    "RTX4090_Llama-3.1-8B": ("llama-3.1-8b", "rtx-4090", {"max_num_seqs": 256, "max_model_len": 32768}),
    "RTXPRO6000_Llama-3.1-8B": ("llama-3.1-8b", "rtx-pro-6000-server", {"max_num_seqs": 128}),
    "RTXPRO6000_Qwen3-30B-A3B-Instruct-2507": (
        "qwen3-30b-a3b", "rtx-pro-6000-server", {"data": 2, "expert": 2, "max_num_seqs": 128}),
    "RTXPRO6000_Qwen3-32B": ("qwen3-32b", "rtx-pro-6000-server", {"tensor": 2, "max_num_seqs": 128}),
}
COMMON = {"engine": "vllm", "engine_version": "0.19.0", "precision": "bf16", "tensor": 1, "replicas": 1,
          "max_num_batched_tokens": 2048}
# What vLLM calls queued is when its engine has a request: what comes before is in none of these times.
IN_ENGINE: dict[str, Any] = {"first_s": 0.0, "token_s": 0.0, "take_up": 0.0, "held": 0.0}
Replay = Callable[..., "dict[str, np.ndarray]"]


def measured(rows: Iterable[Row], log: str) -> dict[str, np.ndarray]:
    """One log's requests in the order they came: input_tokens, output_tokens, queued_s and the times of NUMBERS."""
    import numpy as np

    own = sorted((row for row in rows if row["log"] == log), key=lambda row: float(row["queued_s"]))
    names = ("input_tokens", "output_tokens", "queued_s", "ttft_s", "e2e_s")
    found = {name: np.array([float(row[name]) for row in own]) for name in names}
    after = np.maximum(found["output_tokens"] - 1.0, 1.0)
    return found | {"tpot_s": (found["e2e_s"] - found["ttft_s"]) / after}


def log_scenario(log: str, columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The deployment of a log, with its mean load."""
    model, device, told = RUNS[log]
    count = told.get("tensor", 1) * told.get("data", 1)
    rate = len(columns["queued_s"]) / float(columns["queued_s"].max() - columns["queued_s"].min())
    return {
        "model": model, "fleet": {"device": device, "devices": count, "devices_per_node": count},
        "serve": COMMON | told | {"workload": {
            "rate": rate, "input": float(columns["input_tokens"].mean()),
            "output": float(columns["output_tokens"].mean())}}}


def replayed(scenario: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> tuple[Replay, tuple[float, float]]:
    """A function of factors on the time of steps and of prompts, and the interval of the first.

    It gives the times of every request, replayed as it came.
    """
    from outlay.planner.replay.simulate import replay
    from outlay.resolve import resolve
    from outlay.scenario_io import scenario_from
    from outlay.simulate import Given, batch
    from outlay.steps.serve.memory import serve_memory

    resolved = resolve(scenario_from(scenario), load())
    phase, arch = resolved.serve, resolved.architecture
    assert phase is not None and arch is not None
    cache = float(value_of(serve_memory(arch, phase.usable_bytes, phase.recipe, phase.layout).kv_cache_tokens))
    at = columns["queued_s"] - columns["queued_s"].min()
    work = Given(batch(at, columns["input_tokens"], columns["output_tokens"]))

    def run(slower: float = 1.0, slower_first: float = 1.0) -> dict[str, np.ndarray]:
        return replay(arch, phase, phase.layout, 1, cache, work, slower=slower, slower_first=slower_first,
                      **IN_ENGINE).times()

    residual = phase.speed.residual("tpot_s")
    return run, (residual.low, residual.high)


def log_outcomes(rows: Iterable[Row]) -> list[Outcome]:
    """Times of every tenth request; intervals are replays as much faster and slower as left-out runs were."""
    rows, found = list(rows), []
    for log in dict.fromkeys(row["log"] for row in rows):
        columns = measured(rows, log)
        scenario = log_scenario(log, columns)
        try:
            run, (low, high) = replayed(scenario, columns)
            runs: list[Any] = [run(), run(low, low), run(high, high)]
            error = ""
            if any(len(one["e2e_s"]) != len(columns["e2e_s"]) for one in runs):
                runs, error = [], "dropped: requests that were answered are not in the replay"
        except OutlayError as failed:
            runs, error = [], f"{failed.kind}: {failed.message}"
        data_sheet = _uncontended(scenario, columns)
        for name, title in NUMBERS.items():
            source = f"single requests {title}" + (f", {log.replace('_', ' ')}" if name == "e2e_s" else "")
            for place in range(0, len(columns[name]), EVERY):
                if columns["output_tokens"][place] < 2.0 and name == "tpot_s":
                    continue
                case = Case(source, f"{log} request {place} {title}", scenario, f"serve.{name}",
                            float(columns[name][place]), "s", "", f"single requests {title}")
                each = [float(one[name][place]) for one in runs] or [float("nan")] * 3
                found.append(Outcome(case, each[0], min(each), max(each), float(data_sheet[name][place]), error))
    return found


def _uncontended(scenario: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The data sheet, for a request alone: 2 operations a weight at the full peak, weights read once a token."""
    from outlay.resolve.model import resolve_model
    from outlay.resolve.notes import Notes

    catalog = load()
    arch, _ = resolve_model(scenario["model"], catalog, Notes())
    device = catalog.find("device", scenario["fleet"]["device"])
    active, devices = float(value_of(arch.active_parameters)), float(scenario["fleet"]["devices"])
    first = 2.0 * active * columns["input_tokens"] / (devices * float(device.value("peak_bf16_flop_per_s")))
    token = 2.0 * active / (devices * float(device.value("memory_bytes_per_s"))) + 0.0 * first
    return {"ttft_s": first, "tpot_s": token, "e2e_s": first + token * columns["output_tokens"]}
