"""Fine-tuning plans: parameters against published counts, memory parts, algorithms, data files, nearest changes."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from outlay import OutlayError, plan
from outlay.catalog import load
from outlay.planner.layouts.evaluate import nominal
from outlay.resolve import resolve
from outlay.scenario_io import scenario_from
from outlay.steps.inputs import Layout
from outlay.steps.train.memory import train_memory

GIB = 2.0**30
SMALL = {"layers": 8, "hidden": 1024, "heads": 16, "kv_heads": 4, "ffn": 4096, "gated": True, "vocab": 32000}


def tune(**fields: Any) -> dict[str, Any]:
    scenario = {"model": fields.pop("model", SMALL), "fleet": fields.pop("fleet", "1xa100-sxm4-80gb"),
                "finetune": {"sequence_length": 1024, "examples": 1000, **fields}}
    found: dict[str, Any] = plan(scenario).phases["finetune"]
    return found


def trained(model: str, **fields: Any) -> float:
    return float(tune(model=model, **fields)["trainable_parameters"].value)


@pytest.mark.parametrize(("fields", "published"), [
    ({"method": "lora", "rank": 8, "target_modules": ["q", "v"]}, 4_194_304),  # litgpt resource tables, Llama-2 7B
    ({"method": "adapter", "virtual_tokens": 10}, 1_229_760),  # the same
    ({"method": "adapter-v2", "virtual_tokens": 10}, 4_279_744),  # the same
    ({"method": "lora", "rank": 64, "target_modules": ["all"]}, 159_907_840),  # QLoRA, arXiv:2305.14314, 7B at r = 64
    ({"method": "full"}, 6_738_415_616),  # the model's own count
])
def test_trainable_parameters_as_published(fields: dict[str, Any], published: float) -> None:
    assert trained("llama-2-7b", **fields) == published


def test_adapters_are_saved_alone() -> None:
    phase = tune(model="llama-2-7b", method="lora", rank=8, target_modules=["q", "v"], framework="litgpt")
    assert phase["adapter_bytes"].value == 2 * 4_194_304
    full = tune(model="llama-2-7b", method="full")
    assert full["adapter_bytes"].value == 0
    assert full["saved_model_bytes"].value == pytest.approx(2 * 6_738_415_616)


@pytest.mark.parametrize("algorithm", ["sft", "dpo", "orpo", "kto", "ppo", "grpo"])
@pytest.mark.parametrize("method", ["full", "lora", "qlora", "dora"])
def test_parts_add_up(method: str, algorithm: str) -> None:
    phase = tune(method=method, algorithm=algorithm, fleet="2xa100-sxm4-80gb")
    assert sum(p.value for p in phase["memory_parts"].values()) == pytest.approx(phase["memory_per_device_bytes"].value)
    assert sum(p.value for p in phase["time_parts"].values()) == pytest.approx(phase["step_time_s"].value)
    moments = phase["memory_moments"]
    assert moments["load"].value <= moments["save"].value
    assert 0 <= phase["fits_probability"] <= 1


def test_quantised_base_is_smaller_and_lora_cheaper_than_full() -> None:
    full, lora, qlora = (tune(model="llama-3.1-8b", method=method, gradient_checkpointing=True)
                         for method in ("full", "lora", "qlora"))
    assert qlora["memory_parts"]["weights"].value < 0.45 * lora["memory_parts"]["weights"].value
    assert lora["memory_per_device_bytes"].value < 0.4 * full["memory_per_device_bytes"].value
    assert lora["step_time_s"].value < full["step_time_s"].value
    assert qlora["step_time_s"].value > lora["step_time_s"].value


def test_freezing_layers_saves_gradients_and_time() -> None:
    whole, half = tune(method="full"), tune(method="full", frozen_layers=4)
    assert half["trainable_parameters"].value < whole["trainable_parameters"].value
    assert half["step_time_s"].value < whole["step_time_s"].value


def test_reference_is_the_base_for_adapters_and_a_copy_for_full() -> None:
    with_reference = {m: tune(model="llama-3.1-8b", method=m, algorithm="dpo") for m in ("lora", "full")}
    without = {m: tune(model="llama-3.1-8b", method=m, algorithm="orpo") for m in ("lora", "full")}
    weights = {m: with_reference[m]["memory_parts"]["weights"].value - without[m]["memory_parts"]["weights"].value
               for m in ("lora", "full")}
    assert weights["lora"] == pytest.approx(0, abs=1e6)
    assert weights["full"] == pytest.approx(4 * 8.03e9 / 2, rel=0.05)  # 16-bit copy, the residual aside


def test_precomputed_reference_takes_no_memory_and_its_time_is_spread() -> None:
    kept = tune(method="full", algorithm="dpo", epochs=4)
    once = tune(method="full", algorithm="dpo", epochs=4, reference="precomputed")
    assert once["memory_per_device_bytes"].value < kept["memory_per_device_bytes"].value
    assert once["time_parts"]["reference_s"].value == pytest.approx(kept["time_parts"]["reference_s"].value / 4)


def test_longer_answers_and_split_fleets_take_longer() -> None:
    def rollout(**changes: Any) -> dict[str, Any]:
        return tune(method="full", algorithm="grpo", fleet="8xh100-sxm5-80gb", framework="fsdp", global_batch=32,
                    sequence_length=4096, rollout={"max_response": 2048, **changes})

    base = rollout()
    assert rollout(max_response=512)["time_parts"]["rollout_s"].value < base["time_parts"]["rollout_s"].value
    split = rollout(colocate=False)
    assert split["step_time_s"].value > base["step_time_s"].value
    assert split["memory_moments"]["rollout"].value < base["memory_moments"]["rollout"].value


@pytest.mark.parametrize(("fields", "field"), [
    ({"method": "full", "rank": 8}, "finetune.rank"),
    ({"target_modules": ["zzz"]}, "finetune.target_modules"),
    ({"method": "full", "base_precision": "nf4"}, "finetune.base_precision"),
    ({"algorithm": "distill"}, "finetune.teacher"),
    ({"algorithm": "sft", "reference": True}, "finetune.reference"),
    ({"algorithm": "grpo", "reference": "precomputed"}, "finetune.reference"),
    ({"algorithm": "dpo", "replay_share": 0.1}, "finetune.replay_share"),
    ({"layout": {"tensor": 3}}, "finetune.layout.tensor"),
    ({"global_batch": 7, "gradient_accumulation": 2}, "finetune.gradient_accumulation"),
    ({"precision": "nvfp4"}, "finetune.precision"),
])
def test_faults_name_their_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(OutlayError) as caught:
        tune(**fields)
    assert caught.value.field == field


def test_every_nearest_change_fits_when_planned() -> None:
    scenario = {"model": "llama-3.1-8b", "fleet": "1xrtx-4090",
                "finetune": {"method": "lora", "sequence_length": 8192, "micro_batch": 2, "examples": 1000,
                             "gradient_checkpointing": False}}
    phase = plan(scenario).phases["finetune"]
    assert not phase["fits"]
    assert phase["nearest"]
    for change in phase["nearest"]:
        changed = scenario | {"finetune": {**scenario["finetune"], **{  # type: ignore[dict-item]
            path.removeprefix("finetune."): value for path, value in change["set"].items()}}}
        assert plan(changed).phases["finetune"]["memory_per_device_bytes"].value <= 24 * GIB, change["change"]


def test_room_is_the_last_that_fits() -> None:
    base = {"model": "llama-3.1-8b", "fleet": "1xa100-sxm4-80gb",
            "finetune": {"method": "qlora", "sequence_length": 2048, "gradient_checkpointing": True, "examples": 1000}}
    room = plan(base).phases["finetune"]["room"]

    def fits(**fields: Any) -> bool:
        phase = plan(base | {"finetune": {**base["finetune"], **fields}}).phases["finetune"]  # type: ignore[dict-item]
        return bool(phase["memory_per_device_bytes"].value <= phase["device_memory_bytes"])

    assert fits(sequence_length=room["longest_sequence"])
    assert not fits(sequence_length=room["longest_sequence"] + 512)
    assert fits(micro_batch=room["largest_micro_batch"])
    assert not fits(micro_batch=room["largest_micro_batch"] + 1)


def test_a_row_of_a_search_is_the_scalar_plan() -> None:
    resolved = resolve(scenario_from({"model": SMALL, "fleet": "8xa100-sxm4-80gb", "finetune": {
        "method": "qlora", "framework": "fsdp", "global_batch": 512}}), load())
    phase, arch = resolved.finetune, resolved.architecture
    assert arch is not None
    hw, recipe = nominal(phase.hardware), nominal(phase.training.recipe)
    data = np.array([1.0, 2.0, 4.0, 8.0])
    columns = {"tensor": 8 / data, "data": data, "shard": data, "micro_batch": np.arange(1.0, 5.0)}
    columns |= dict.fromkeys(("pipeline", "context", "expert", "expert_tensor", "virtual_pipeline"), np.ones(4))
    fixed: dict[str, Any] = {"zero": 3, "recompute": "full"}
    rows = Layout(**{**columns, **fixed})
    many = np.asarray(train_memory(arch, hw, recipe, rows).memory_per_device_bytes)
    for i in range(4):
        one = Layout(**{**{name: float(column[i]) for name, column in columns.items()}, **fixed})
        assert float(train_memory(arch, hw, recipe, one).memory_per_device_bytes) == pytest.approx(many[i])


@pytest.mark.parametrize(("framework", "splits"), [("deepspeed", False), ("fsdp", False), ("transformers", False),
                                                   ("nemo", True)])
def test_software_that_splits_no_layers_is_not_given_such_a_layout(framework: str, splits: bool) -> None:
    """Unless asked: a row of half a million tokens would fit only split, and that is what the nearest changes say."""
    asked: dict[str, Any] = {"framework": framework, "method": "lora", "sequence_length": 524288, "micro_batch": 1,
                             "fleet": "8xh100-sxm5-80gb", "model": "llama-3.1-8b"}
    layout = tune(**asked)["layout"]
    assert (layout["tensor"] * layout["context"] * layout["pipeline"] > 1) == splits
    assert tune(**asked, layout={"context": 8})["layout"]["context"] == 8
    if not splits:
        assert layout["shard"] == 8
        assert any("layout.context" in key for change in tune(**asked)["nearest"] for key in change["set"])


def test_gathering_weights_one_by_one_keeps_short_rows_waiting() -> None:
    """ZeRO-3 of DeepSpeed is bound by its host at short rows, and by the device at long ones; FSDP is not."""
    def step_s(framework: str, length: int, zero: int = 3) -> float:
        phase = tune(model="llama-2-7b", fleet="8xa100-sxm4-80gb", method="full", framework=framework,
                     sequence_length=length, layout={"zero": zero}, gradient_checkpointing=True)
        return float(phase["step_time_s"].value)

    assert step_s("deepspeed", 512) < 1.1 * step_s("deepspeed", 256)
    assert step_s("deepspeed", 256) > 1.5 * max(step_s("deepspeed", 256, zero=2), step_s("fsdp", 256))
    assert step_s("deepspeed", 8192) < 1.15 * step_s("deepspeed", 8192, zero=2)


def test_the_price_of_a_change_is_not_that_of_a_full_cache() -> None:
    """A plan that cannot run writes its responses as fast as one with room, so no change is a gift."""
    phase = tune(model="qwen2.5-32b", fleet="8xh100-sxm5-80gb", method="full", algorithm="grpo", framework="fsdp",
                 sequence_length=4096, global_batch=128, rollout={"tensor": 4})
    assert not phase["fits"]
    assert phase["nearest"]
    assert all(change["time_ratio"] > 0.9 for change in phase["nearest"])


@pytest.mark.parametrize("attention", ["flash", "unfused"])
def test_rows_of_a_search_have_lengths_of_their_own(attention: str) -> None:
    resolved = resolve(scenario_from({"model": SMALL, "fleet": "2xa100-sxm4-80gb", "finetune": {
        "method": "lora", "framework": "fsdp", "attention": attention}}), load())
    phase, arch = resolved.finetune, resolved.architecture
    assert arch is not None
    hw, recipe = nominal(phase.hardware), nominal(phase.training.recipe)
    lengths, batches = np.array([512.0, 4096.0, 131072.0, 4096.0]), np.array([8.0, 1.0, 1.0, 2.0])
    ones = np.ones(4)
    layout = Layout(data=2 * ones, shard=2 * ones, micro_batch=batches, zero=3, recompute="full")
    many = train_memory(arch, hw, replace(recipe, sequence_length=lengths), layout).memory_per_device_bytes
    for i in range(4):
        one = Layout(data=2.0, shard=2.0, micro_batch=batches[i], zero=3, recompute="full")
        alone = train_memory(arch, hw, replace(recipe, sequence_length=int(lengths[i])), one)
        assert float(alone.memory_per_device_bytes) == pytest.approx(np.asarray(many)[i])


def test_the_benchmark_passes_its_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """100,000 configurations a second on one core; a run too short for its fixed costs still passes it."""
    script = Path(__file__).parents[1] / "benchmarks" / "tune_memory.py"
    monkeypatch.setattr("sys.argv", [str(script), "160000"])
    run_path(str(script), run_name="__main__")
    first, second = capsys.readouterr().out.splitlines()
    assert float(first.split()[0].replace(",", "")) > 100_000
    assert float(second.partition("largest relative difference ")[2].partition(";")[0]) < 1e-9


def test_resolved_fine_tune_is_a_scenario() -> None:
    scenario = {"model": "llama-3.1-8b", "fleet": "8xh100-sxm5-80gb",
                "finetune": {"algorithm": "grpo", "method": "lora", "examples": 1000, "rollout": {"samples": 4}}}
    first = plan(scenario).to_dict()
    again = plan(first).to_dict()
    assert again["finetune"]["step_time_s"] == first["finetune"]["step_time_s"]
    assert again["totals"] == first["totals"]
