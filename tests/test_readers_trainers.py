"""Trainer configurations and launch lines: what they become, what is assumed, what is left."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from outlay.errors import OutlayError, Unreadable
from outlay.readers.any_file import read_any
from outlay.readers.launch.flag_table import LaunchNotes
from outlay.readers.launch.line import read_launch_file
from outlay.readers.trainer.file import kind_of, read_trainer, read_trainer_text
from outlay.scenario_io import scenario_from

FIXTURES = Path(__file__).parent / "fixtures" / "trainers"


def read(name: str) -> tuple[dict[str, Any], LaunchNotes]:
    parts, notes = read_trainer(FIXTURES / name)
    scenario_from(parts)
    return parts, notes


def test_llamafactory_with_its_deepspeed_file() -> None:
    parts, notes = read("llamafactory_lora.yaml")
    assert parts["model"] == "meta-llama/Meta-Llama-3-8B-Instruct"
    assert parts["finetune"] == {
        "framework": "deepspeed",
        "algorithm": "sft",
        "method": "lora",
        "rank": 8,
        "target_modules": ["all"],
        "sequence_length": 2048,
        "micro_batch": 1,
        "gradient_accumulation": 8,
        "epochs": 3.0,
        "examples": 1000.0,
        "precision": "bf16",
        "optimizer": "adamw",
        "gradient_checkpointing": True,
        "layout": {"zero": 3},
        "offload": "all",
    }
    assert notes.unknown == ("brand_new_option: 5",)
    assert "finetune.gradient_checkpointing" in [note["what"] for note in notes.assumed]


def test_llamafactory_quantised_with_defaults() -> None:
    parts, notes = read_trainer(
        {
            "model_name_or_path": "a/b",
            "template": "x",
            "quantization_bit": 4,
            "stage": "dpo",
            "pref_loss": "orpo",
            "deepspeed": "examples/deepspeed/ds_z2_config.json",
        }
    )
    tune = parts["finetune"]
    assert (tune["method"], tune["base_precision"], tune["algorithm"], tune["rank"]) == (
        "qlora",
        "nf4",
        "orpo",
        8,
    )
    assert tune["layout"] == {"zero": 2} and tune["micro_batch"] == 8
    assert any("ZeRO 2 by its name" in note["why"] for note in notes.assumed)


def test_llamafactory_of_the_new_format() -> None:
    parts, notes = read_trainer(
        {
            "model": "a/b",
            "model_class": "llm",
            "peft_config": {"name": "lora", "r": 16, "target_modules": "all"},
            "quant_config": {"name": "bnb", "quantization_bit": 4},
            "dist_config": {"name": "fsdp2"},
            "micro_batch_size": 1,
            "cutoff_len": 2048,
        }
    )
    tune = parts["finetune"]
    assert (parts["model"], tune["method"], tune["rank"], tune["layout"]) == ("a/b", "qlora", 16, {"zero": 3})
    assert notes.unknown == ("quant_config.name: 'bnb'",)


def test_axolotl() -> None:
    parts, notes = read("axolotl_qlora.yaml")
    assert parts["finetune"] == {
        "framework": "fsdp",
        "method": "qlora",
        "base_precision": "nf4",
        "rank": 32,
        "target_modules": ["gate", "down", "up", "q", "v", "k", "o"],
        "modules_to_save": ["embed_tokens", "lm_head"],
        "sequence_length": 4096,
        "packing": True,
        "micro_batch": 2,
        "gradient_accumulation": 4,
        "epochs": 1.0,
        "optimizer": "paged-adamw-8bit",
        "precision": "bf16",
        "gradient_checkpointing": True,
        "offload": "all",
        "layout": {"zero": 3},
    }
    assert notes.unknown == ()
    grpo, _ = read_trainer(
        {
            "base_model": "a/b",
            "rl": "grpo",
            "model_type": "LlamaForCausalLM",
            "adapter": "lora",
            "trl": {"num_generations": 4, "max_completion_length": 99, "use_vllm": True},
            "vllm": {"tensor_parallel_size": 2},
            "lora_target_modules": "layers.[0-9]+.(mlp|attn).(up|down|gate|q|k|v|o)_proj",
        }
    )
    assert grpo["finetune"]["rollout"] == {"engine": "vllm", "samples": 4, "max_response": 99, "tensor": 2}
    assert len(grpo["finetune"]["target_modules"]) == 7
    full, _ = read_trainer({"base_model": "a/b", "sequence_len": 100, "rl": "kto", "optimizer": "lion_8bit"})
    assert full["finetune"]["method"] == "full" and full["finetune"]["algorithm"] == "kto"


def test_trl_grpo_and_its_rollout() -> None:
    tune = read("trl_grpo.yaml")[0]["finetune"]
    assert tune["algorithm"] == "grpo" and tune["sequence_length"] == 2560
    assert tune["rollout"] == {
        "engine": "vllm",
        "samples": 8,
        "max_response": 2048,
        "tensor": 2,
        "colocate": True,
    }


def test_transformers_launch_line() -> None:
    parts, notes = read_trainer_text(
        "accelerate launch --num_processes 4 trl/scripts/dpo.py --model_name_or_path a/b --max_length=1024 "
        "--per_device_train_batch_size 2 --use_peft --lora_r 64 --lora_target_modules q_proj v_proj "
        "--load_in_4bit --bf16 --fsdp 'full_shard auto_wrap' --gradient_checkpointing --made_up 1 --tf32 True"
    )
    assert parts["finetune"] == {
        "framework": "fsdp",
        "algorithm": "dpo",
        "method": "qlora",
        "base_precision": "nf4",
        "rank": 64,
        "target_modules": ["q", "v"],
        "sequence_length": 1024,
        "micro_batch": 2,
        "gradient_accumulation": 1,
        "epochs": 3.0,
        "precision": "bf16",
        "optimizer": "adamw",
        "gradient_checkpointing": True,
        "layout": {"zero": 3},
    }
    assert notes.devices == 4 and notes.unknown == ("--made_up 1",)


def test_the_launchers_own_file() -> None:
    line = "accelerate launch --config_file {} trl/scripts/sft.py --model_name_or_path a/b --max_length 99"
    parts, notes = read_trainer_text(line.format("accelerate_fsdp.yaml"), FIXTURES)
    assert parts["finetune"]["layout"] == {"zero": 2} and notes.devices == 16
    parts, notes = read_trainer_text(line.format("elsewhere/deepspeed_zero3.yaml"), FIXTURES)
    assert parts["finetune"]["layout"] == {"zero": 3} and parts["finetune"]["framework"] == "deepspeed"
    assert any("could not be read" in note["why"] for note in notes.assumed)


def test_torchtune() -> None:
    parts, notes = read("torchtune_qlora.yaml")
    assert parts["model"] == "llama-3.1-8b"
    tune = parts["finetune"]
    assert (tune["method"], tune["base_precision"], tune["rank"]) == ("qlora", "nf4", 8)
    assert tune["target_modules"] == ["q", "v", "o", "gate", "up", "down"]
    assert (tune["micro_batch"], tune["gradient_accumulation"], tune["sequence_length"]) == (2, 8, 2048)
    assert notes.unknown == () and any("CEWithChunked" in item for item in notes.unplanned)


@pytest.mark.parametrize(
    ("component", "model"),
    [
        ("torchtune.models.llama2.llama2_7b", "llama-2-7b"),
        ("torchtune.models.llama3.lora_llama3_70b", "llama-3-70b"),
        ("torchtune.models.qwen2_5.qwen2_5_1_5b_base", "qwen2.5-1.5b"),
        ("x.mistral_7b", "mistral-7b"),
    ],
)
def test_model_names_from_components(component: str, model: str) -> None:
    assert read_trainer({"model": {"_component_": component}})[0]["model"] == model


def test_sharding_files_alone() -> None:
    parts, notes = read("ds_z3_offload.json")
    assert parts == {"finetune": {"framework": "deepspeed", "layout": {"zero": 3}, "offload": "all"}}
    assert sum(note["value"] == "auto" for note in notes.assumed) == 5
    parts, notes = read("accelerate_fsdp.yaml")
    assert parts == {
        "finetune": {
            "framework": "fsdp",
            "layout": {"zero": 2},
            "precision": "bf16",
            "gradient_checkpointing": True,
        }
    }
    assert (notes.devices, notes.devices_per_node) == (16, 8)


def test_verl() -> None:
    parts, notes = read("verl_grpo.sh")
    assert parts["finetune"] == {
        "framework": "fsdp",
        "algorithm": "grpo",
        "method": "full",
        "sequence_length": 1536,
        "global_batch": 1280,
        "micro_batch": 16,
        "gradient_checkpointing": True,
        "epochs": 15.0,
        "offload": "optimizer",
        "layout": {"zero": 3},
        "rollout": {"engine": "vllm", "tensor": 2, "samples": 5, "max_response": 1024, "colocate": True},
    }
    assert notes.devices == 16 and "+trainer.some_new_key=1" in notes.unknown
    nested, _ = read_trainer(
        {
            "actor_rollout_ref": {
                "model": {"path": "a/b", "lora_rank": 32},
                "actor": {"strategy": "megatron"},
            },
            "data": {"max_response_length": 100, "max_prompt_length": 28},
        }
    )
    assert nested["finetune"]["method"] == "lora" and nested["finetune"]["framework"] == "megatron"
    assert nested["finetune"]["algorithm"] == "ppo"


def test_openrlhf() -> None:
    parts, notes = read("openrlhf_ppo.sh")
    tune = parts["finetune"]
    assert (tune["algorithm"], tune["global_batch"], tune["micro_batch"]) == ("ppo", 128, 8)
    assert tune["rollout"]["colocate"] is True and tune["offload"] == "optimizer"
    assert notes.devices == 8 and notes.unknown == ("--what_is_this",)
    parts, _ = read_trainer_text(
        "deepspeed --module openrlhf.cli.train_sft --max_len 2048 --zero_stage 2 --bf16 "
        "--pretrain a/b --lora_rank 16 --train_batch_size 256 --micro_train_batch_size 2"
    )
    assert parts["finetune"]["method"] == "lora" and parts["finetune"]["sequence_length"] == 2048


def test_megatron() -> None:
    """The 175B example: 175.2 billion parameters, as GPT-3's table gives for these dimensions."""
    from outlay.readers import architecture_from_mapping

    parts, notes = read("megatron_175b.sh")
    assert parts["pretrain"]["layout"] == {
        "tensor": 8,
        "pipeline": 16,
        "virtual_pipeline": 3,
        "context": 1,
        "expert": 1,
        "sequence_parallel": True,
        "micro_batch": 1,
        "zero": 1,
        "recompute": "selective",
    }
    assert parts["pretrain"]["tokens"] == 500_000 * 1536 * 2048
    assert notes.devices == 128 and notes.unknown == ("--my-own-flag 3",)
    assert architecture_from_mapping(parts["model"])[0].parameters == pytest.approx(175.2e9, rel=0.005)


def test_megatron_mixture_with_latent_attention() -> None:
    parts, _ = read_trainer_text(
        "python pretrain_gpt.py --num-layers 61 --hidden-size 7168 --num-attention-heads 128 --swiglu "
        "--ffn-hidden-size 18432 --num-experts 256 --moe-router-topk 8 --moe-ffn-hidden-size 2048 "
        "--moe-shared-expert-intermediate-size 2048 --moe-layer-freq '([0]*3+[1]*58)' "
        "--multi-latent-attention "
        "--q-lora-rank 1536 --kv-lora-rank 512 --qk-head-dim 128 --qk-pos-emb-head-dim 64 --v-head-dim 128 "
        "--disable-bias-linear --normalization RMSNorm --vocab-size 129280 "
        "--untie-embeddings-and-output-weights "
        "--position-embedding-type rope --fp8-format e4m3 --fp8-recipe mxfp8 --bf16 "
        "--expert-model-parallel-size 64 "
        "--recompute-granularity full --use-megatron-fsdp --seq-length 4096"
    )
    model = parts["model"]
    assert (model["experts"], model["dense_layers"], model["mla"]["kv_lora_rank"]) == (256, 3, 512)
    run = parts["pretrain"]
    assert run["precision"] == "mxfp8" and run["layout"]["zero"] == 3 and run["layout"]["expert"] == 64
    assert run["layout"]["recompute"] == "full"


def test_torchtitan() -> None:
    parts, notes = read("torchtitan_8b.toml")
    assert parts["model"] == "llama-3.1-8b" and notes.unknown == ()
    run = parts["pretrain"]
    assert run["layout"] == {
        "tensor": 2,
        "pipeline": 1,
        "context": 1,
        "micro_batch": 1,
        "zero": 3,
        "recompute": "selective",
    }
    assert run["tokens"] == 1000 * 64 * 8192 and run["compile"] is True


def test_a_launch_line_that_names_its_file() -> None:
    for line in (
        "llamafactory-cli train llamafactory_lora.yaml",
        "axolotl train axolotl_qlora.yaml",
        "tune run lora_finetune_single_device --config torchtune_qlora.yaml",
    ):
        parts, _ = read_trainer_text(line, FIXTURES)
        assert "model" in parts


@pytest.mark.parametrize("given", [{}, {"a": 1}, {"model": 3}, {"services": {}}])
def test_other_settings_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        read_trainer(given)


@pytest.mark.parametrize("text", ["", "ls", "python train.py --lr 1", "accelerate launch x.py", "tune ls"])
def test_other_lines_are_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        read_trainer_text(text)


def test_hostile_files(tmp_path: Path) -> None:
    bomb = "a: &a [x]\n" + "".join(f"{c}: &{c} [*{p}, *{p}]\n" for p, c in zip("abcdefghijk", "bcdefghijkl")) * 20
    for name, text in (
        ("a.yaml", "{" * 5000),
        ("b.yaml", bomb),
        ("c.json", "[" * 10**5),
        ("d.toml", "a=" * 100),
        ("e.yaml", "a: !!python/object/apply:os.system [ls]"),
        ("f.yaml", "x" * 3_000_000),
        ("g.json", json.dumps({"base_model": {"x": {}}} | {f"k{i}": {} for i in range(50_000)})),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(OutlayError):
            read_trainer(tmp_path / name)


@pytest.mark.parametrize("kind", ["[{0}]", "{{{1}}}"])
@pytest.mark.parametrize(
    "end", ["base_model: a\nlora_target_modules: *z", "model: a\nserved-model-name: *z", "fsdp_config: *z"]
)
def test_aliases_that_stand_for_billions(tmp_path: Path, kind: str, end: str) -> None:
    """Few enough aliases to be parsed, and far too many values to be written out."""
    lines = ["x0: &x0 [1, 2]"]
    for level in range(1, 19):
        many = [f"*x{level - 1}"] * 9
        inner = kind.format(", ".join(many), ", ".join(f"k{i}: {alias}" for i, alias in enumerate(many)))
        lines.append(f"x{level}: &{'z' if level == 18 else f'x{level}'} {inner}")
    (tmp_path / "bomb.yaml").write_text("\n".join([*lines, end]))
    begun = time.process_time()
    for read_it in (read_any, read_trainer, read_launch_file):
        with pytest.raises(Unreadable):
            read_it(tmp_path / "bomb.yaml")
    assert time.process_time() - begun < 1


def loaded(path: Path) -> dict[str, Any]:
    text = path.read_text()
    found: dict[str, Any] = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    return found


SETTINGS = [loaded(path) for path in sorted(FIXTURES.glob("*")) if path.suffix in (".yaml", ".json")]
ODD = st.sampled_from([None, True, -1, 0, 1e308, float("inf"), "", "auto", "x" * 50, [], {}, [1], {"a": {}}, "3", 7])


@settings(max_examples=40, deadline=None)
@given(which=st.integers(0, len(SETTINGS) - 1), changes=st.dictionaries(st.integers(0, 60), ODD, max_size=5))
def test_any_settings(which: int, changes: dict[int, Any]) -> None:
    chosen = dict(SETTINGS[which])
    keys = list(chosen)
    for at, value in changes.items():
        chosen[keys[at % len(keys)]] = value
    if not kind_of(chosen):
        return
    try:
        parts, _ = read_trainer(chosen)
    except OutlayError:
        return
    scenario_from(parts)
