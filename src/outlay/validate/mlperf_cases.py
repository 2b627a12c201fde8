"""MLPerf inference results as cases: what a machine answers with everything queued, and within promises at p99.

Lengths of prompts are MLCommons' published sets: 24,576 questions of Open Orca hold 5,463,976 tokens; of the mixed set
for Mixtral only single prompts are printed, and its mean is taken from those. Lengths of answers are a row's own. How a
model was split and the most requests a step are what submitters' published configurations say (`HARNESS`), never
chosen by what was measured. GPT-J is left out: the benchmark asks four beams of each answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from outlay.catalog import load
from outlay.derive import value_of
from outlay.errors import OutlayError
from outlay.resolve.serve.time import GROUPS
from outlay.validate.case import Case, Outcome
from outlay.validate.predict import predict
from outlay.validate.tables import OPEN_ORCA

Row = Mapping[str, str]
TABLE = "mlperf_inference_v4_1"
THROUGHPUT = "serve.output_tokens_per_s"
TRT_VERSION, TRT_SCOPE = "0.11", "tensorrt-llm@0.11"  # of the round's date; submissions name TensorRT's own version
# A prompt of each third of the mixed set. GSM8K's all begin with the same eight worked questions: 660 tokens of the one
# printed; MBXP's printed one has 139 tokens for 312 characters, its release has 360 a prompt in the six languages used
# (closed/NVIDIA/code/mixtral-8x7b/tensorrt of inference_results_v4.1; amazon-science/mxeval; Open Orca as above).
MIXED = (OPEN_ORCA + 660.0 + 139.0 * 360.0 / 312.0) / 3.0
# Model, tokens of a prompt, and what the Server scenario promises at the 99th percentile (inference rules, v4.1).
MODELS: dict[str, tuple[str, float, dict[str, Any]]] = {
    "llama2-70b": ("llama-2-70b", OPEN_ORCA, {"ttft": "2s", "tpot": "200ms", "percentile": 99}),
    "mixtral-8x7b": ("mixtral-8x7b", MIXED, {"ttft": "2s", "tpot": "200ms", "percentile": 99}),
}
DEVICES = (
    ("H100-SXM-80GB", "h100-sxm5-80gb"), ("H100-NVL", "h100-nvl-94gb"), ("H100-PCIe", "h100-pcie-80gb"),
    ("H200-SXM", "h200-sxm-141gb"), ("Superchip 96GB", "gh200-96gb"), ("B200-SXM", "b200-sxm"), ("L40S", "l40s"),
    ("MI300X", "mi300x"),
)
FITTED = ("llama-2-70b",)  # models that other published rows were fitted to
FOUR_BITS = ("b200-sxm",)  # NVIDIA's preview of it ran these models in FP4; all others ran them in FP8
CAPPED_W = 500.0  # of 700: closed/NVIDIA/configs, power_limit of H200_SXM_141GBx8_MaxQ
# Model and device: tensor, most requests Offline and Server, most tokens a step Offline and Server. Of the submissions'
# configs/MODEL/SCENARIO (tensor_parallelism, gpu_batch_size, max_num_tokens), of AMD's test_VllmFp8 scripts and the
# defaults of its harness; a B200's are not published. Submitters that differ follow.
HARNESS: dict[tuple[str, str], tuple[int, int | None, int | None, int, int]] = {
    ("llama-2-70b", "h100-sxm5-80gb"): (2, 896, 1024, 4096, 4096),
    ("llama-2-70b", "h100-nvl-94gb"): (2, 1300, 640, 4096, 4096),
    ("llama-2-70b", "h100-pcie-80gb"): (2, 896, 896, 4096, 4096),
    ("llama-2-70b", "h200-sxm-141gb"): (1, 806, 896, 4096, 4096),
    ("llama-2-70b", "gh200-96gb"): (1, 806, 1024, 4096, 4096),
    ("llama-2-70b", "l40s"): (4, 1024, 1024, 4096, 4096),
    ("llama-2-70b", "b200-sxm"): (1, None, None, 4096, 4096),
    ("llama-2-70b", "mi300x"): (1, 2048, 1024, 65536, 49152),
    ("mixtral-8x7b", "h100-sxm5-80gb"): (1, 896, 896, 8192, 16384),
    ("mixtral-8x7b", "h200-sxm-141gb"): (1, 3072, 1200, 16384, 8192),
}
SUBMITTERS: dict[tuple[str, str], dict[str, dict[str, Any]]] = {
    ("Lenovo", "h100-nvl-94gb"): {"Offline": {"tensor": 1}, "Server": {"tensor": 1}},
    ("HPE", "h100-nvl-94gb"): {"Server": {"max_num_seqs": 1024}},
}
# Red Hat served two copies on four L40S with vLLM, its limits untold (closed/RedHat: code README, systems).
RED_HAT: dict[str, Any] = {"engine": "vllm", "engine_version": "0.5.1", "tensor": 2}
BOARDS = ("h100-sxm5-80gb",)  # of four in machines of four, of eight otherwise (systems of Dell and Fujitsu)
# AMD's scripts: the cache in FP8, most of the memory, and no graphs with everything queued.
AMD: dict[str, dict[str, Any]] = {"Offline": {"kv_precision": "fp8", "memory_utilization": 0.99, "enforce_eager": True},
       "Server": {"kv_precision": "fp8", "memory_utilization": 0.97}}
AMD_VERSION = re.compile(r"vLLM (\d+\.\d+\.\d+)")


def mlperf_cases(rows: Iterable[Row]) -> list[Case]:
    """Closed division, one case a run: results at 99 and at 99.9 % of accuracy are the same run twice."""
    found: dict[tuple[str, ...], Case] = {}
    for row in rows:
        case = _case(row)
        if case is not None:
            found.setdefault((case.source, row["notes"].partition("; valid")[0], row["output_tok_s_total"]), case)
    return list(found.values())


def _case(row: Row) -> Case | None:
    name = row["model"].removesuffix(".9").removesuffix("-99")
    device = next((known for text, known in DEVICES if text in row["gpu"]), None)
    scenario_name = row["scenario"].rpartition(" ")[2]
    if name not in MODELS or device is None or " closed " not in row["scenario"]:
        return None
    model, prompt, promises = MODELS[name]
    rate = float(row["req_s"])
    serve: dict[str, Any] = {"engine": "tensorrt-llm", "engine_version": TRT_VERSION,
                             "precision": "nvfp4" if device in FOUR_BITS else "fp8"}
    told = AMD_VERSION.match(row["engine_version"])
    if told:
        serve |= {"engine": "vllm", "engine_version": told[1]}
    lengths = {"input": prompt, "output": round(float(row["output_tok_s_total"]) / rate)}
    if scenario_name == "Server":
        serve |= {"slo": promises, "workload": {"rate": rate, **lengths}}
    else:
        serve |= {"workload": {"rate": "inf", **lengths}}
    fleet: dict[str, Any] = {"device": device, "devices": int(row["n_gpus"])}
    if device in BOARDS and fleet["devices"] == 4:
        fleet["devices_per_node"] = 4
    if "MaxQ" in row["notes"]:
        fleet["device_power_limit_w"] = CAPPED_W
    found = re.search(r"submitter=([^;]+)", row["notes"])
    maker = found[1] if found else ""
    serve |= _harness(model, device, maker, scenario_name)
    return Case(
        source=f"MLPerf inference {scenario_name}", id=f"{name} {scenario_name}: {maker} "
        f"{row['n_gpus']} x {device}", scenario={"model": model, "fleet": fleet, "serve": serve}, number=THROUGHPUT,
        measured=float(row["output_tok_s_total"]), unit="tokens/s",
        group=f"{GROUPS}model/{model}" if model in FITTED else f"{GROUPS}device/{device}",
        evidence=f"MLPerf throughput, {scenario_name}")


def _harness(model: str, device: str, maker: str, scenario: str) -> dict[str, Any]:
    """How a submission ran its model, as its published configuration says."""
    if maker == "RedHat":
        return RED_HAT
    tensor, *limits = HARNESS[model, device]
    most, tokens = limits[scenario == "Server"], limits[2 + (scenario == "Server")]
    given: dict[str, Any] = {"tensor": tensor, "max_num_batched_tokens": tokens}
    if most is not None:
        given["max_num_seqs"] = most
    if device == "mi300x":
        given |= AMD[scenario]
    return given | SUBMITTERS.get((maker, device), {}).get(scenario, {})


def mlperf_outcomes(rows: Iterable[Row]) -> Iterator[Outcome]:
    """Every case predicted: queued ones as any plan, a server's at the largest rate that keeps its promises."""
    catalog = load()
    for case in mlperf_cases(rows):
        if "slo" not in case.scenario["serve"]:
            yield replace(predict(case, catalog), baseline=data_sheet(case))
            continue
        try:
            value, low, high = within_promises(case)
            yield Outcome(case, value, low, high, data_sheet(case))
        except OutlayError as error:
            nothing = float("nan")
            yield Outcome(case, nothing, nothing, nothing, error=f"{error.kind}: {error.message}")


def within_promises(case: Case) -> tuple[float, float, float]:
    """Output tokens a second of all replicas at the largest rate that keeps the promises; zero where none does."""
    from outlay.planner.capacity.rate import most_load
    from outlay.planner.run import run_plan
    from outlay.planner.serve.speed import alone, replicas_of
    from outlay.resolve import resolve
    from outlay.scenario_io import scenario_from
    from outlay.steps.serve.memory import serve_memory

    catalog = load()
    planned = run_plan(scenario_from(case.scenario), catalog, without=case.group).scenario["serve"]
    own = {name: planned[name] for name in ("tensor", "pipeline", "data", "expert", "replicas") if name in planned}
    resolved = resolve(scenario_from(case.scenario | {"serve": case.scenario["serve"] | own}), catalog, case.group)
    phase, arch = resolved.serve, resolved.architecture
    assert phase is not None and arch is not None
    memory = serve_memory(arch, phase.usable_bytes, phase.recipe, phase.layout)
    single = {} if phase.speed.fitted else alone(arch, phase, phase.layout)
    most = most_load(phase.asked, replicas_of(arch, phase, phase.layout, 1, memory, single))
    value = 0.0 if most is None else most.rate_per_s * phase.asked.output * float(own.get("replicas", 1))
    residual = phase.speed.residual("output_tokens_per_s")
    return value, value * residual.low, value * residual.high


def data_sheet(case: Case) -> float:
    """The data sheet's arithmetic: 2 operations a weight and token, of prompts and answers, at the full peak."""
    from outlay.resolve.model import resolve_model
    from outlay.resolve.notes import Notes

    arch, _ = resolve_model(case.scenario["model"], load(), Notes())
    work, fleet = case.scenario["serve"]["workload"], case.scenario["fleet"]
    wide = "peak_fp4_flop_per_s" if fleet["device"] in FOUR_BITS else "peak_fp8_flop_per_s"
    peak = float(load().find("device", fleet["device"]).value(wide)) * float(fleet["devices"])
    share = work["output"] / (work["input"] + work["output"])
    return float(peak / (2.0 * float(value_of(arch.active_parameters))) * share)
