"""Names as people, hubs, drivers and public tables write them: known, or refused where they could be another."""

from __future__ import annotations

import pytest

from outlay.catalog import load
from outlay.errors import OutlayError


@pytest.mark.parametrize(("spelled", "meant"), [
    ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b"),
    ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b-v0.3"),
    ("RedHatAI/Llama-3.3-70B-Instruct-quantized.w8a8", "llama-3.3-70b"),
    ("neuralmagic/Meta-Llama-3.1-70B-Instruct-FP8", "llama-3.1-70b"),
    ("unsloth/Meta-Llama-3.1-8B-bnb-4bit", "llama-3.1-8b"),
    ("hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4", "llama-3.1-70b"),
    ("bartowski/Meta-Llama-3.1-8B-Instruct-GGUF", "llama-3.1-8b"),
    ("nvidia/DeepSeek-R1-FP4", "deepseek-r1"),
    ("nvidia/Qwen3-235B-A22B-FP4", "qwen3-235b-a22b"),
    ("Qwen/Qwen3-Next-80B-A3B-Instruct", "qwen3-next-80b-a3b"),
    ("zai-org/GLM-4.6", "glm-4.7"),
    ("amd/Llama-3.1-405B-Instruct-FP8-KV", "llama-3.1-405b"),
    ("01-ai/Yi-6B-Chat-4bits", "yi-6b"),
    ("Qwen/Qwen2.5-VL-72B-Instruct-AWQ", "qwen2.5-vl-72b"),
    ("llama2-70b-99.9", "llama-2-70b"), ("gptj-99", "gpt-j-6b"),
    ("mistralai/Devstral-Small-2507", "mistral-small-24b"),
    ("ibm-granite/granite-3.3-8b-instruct", "granite-3-8b"),
    ("mistralai/Mistral-7B-Instruct-v0.2", "mistral-7b-v0.2"),
    ("MiniMaxAI/MiniMax-M1-80k", "minimax-text-01"),
    ("stepfun-ai/Step-3.5-Flash-FP8", "step-3.5-flash"),
])
def test_a_checkpoint_is_known_by_anybodys_name(spelled: str, meant: str) -> None:
    assert load().find("model", spelled).id == meant


@pytest.mark.parametrize("name", ["Qwen/Qwen3-7B", "01-ai/Yi-13B-Chat", "NousResearch/Hermes-3-Llama-3.1-8B", "chat"])
def test_another_model_is_not_taken_for_one_that_is_known(name: str) -> None:
    with pytest.raises(OutlayError) as caught:
        load().find("model", name)
    assert "path to its config.json" in caught.value.message


@pytest.mark.parametrize(("spelled", "meant"), [
    ("RTX 6000 Ada Generation", "rtx-6000-ada"),
    ("RTX PRO 6000 Blackwell Server Edition", "rtx-pro-6000-server"),
    ("3090 24GB", "rtx-3090"),
    ("gb200_sxm", "gb200"),
    ("gb300_sxm", "gb300"),
    ("NVIDIA Jetson AGX Orin 64G", "jetson-agx-orin-64gb"),
    ("NVIDIA GH200 Grace Hopper Superchip 144GB", "gh200-144gb"),
    ("M1 Max 32\u2011Core GPU 64GB", "m1-max-64gb"),
    ("M2 Ultra 76-Core GPU 192GB", "m2-ultra-192gb"),
    ("AMD Instinct MI300X-NPS1-SPX-192GB-750W", "mi300x"),
    ("H100-SXM-80GB-HBM3-700W", "h100-sxm5-80gb"),
    ("A100 80GB PCIe", "a100-pcie-80gb"),
])
def test_a_device_is_known_without_its_maker(spelled: str, meant: str) -> None:
    assert load().find_device(spelled).entry.id == meant


@pytest.mark.parametrize("name", [
    "M1 Max 24-Core GPU 64GB",  # the chip with fewer cores
    "MI300X-NPS4-CPX-192GB-750W",  # an eighth of it
    "MI300X 192GB 600W", "RTX 4090 48GB", "H100-SXM-96GB-HBM2e-500W", "H100-SPX",
])
def test_what_a_name_says_of_a_device_must_hold(name: str) -> None:
    with pytest.raises(OutlayError, match="no device"):
        load().find_device(name)


def test_a_superchip_of_two_memories_is_not_chosen_in_silence() -> None:
    with pytest.raises(OutlayError, match="gh200-96gb, gh200-144gb"):
        load().find_device("GH200")


def test_a_makers_name_alone_leaves_several() -> None:
    with pytest.raises(OutlayError, match="rtx-pro-6000-server, rtx-pro-6000-ws"):
        load().find_device("rtxpro6000")
