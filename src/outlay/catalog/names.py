"""How a name a person or a driver prints is matched to a catalogue id, without ever guessing in silence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from outlay.catalog.records import Entry

_TOKENS = re.compile(r"[^a-z0-9.]+")
_NOISE = frozenset(
    (
        "nvidia",
        "amd",
        "intel",
        "google",
        "apple",
        "aws",
        "instinct",
        "geforce",
        "tesla",
        "radeon",
        "graphics",
        "gpu",
        "corporation",
        "quadro",
    )
)
_WORDS = re.compile(r"[\s_(),/\-\u2010-\u2015]+")
_CORES = re.compile(r"\b(\d{1,3})[\s_\-\u2010-\u2015]*cores?\b", re.I)
# What a word of a device's name may say of it: the fact, and the word it is written as.
_SAID = (
    ("memory_sold_gb", re.compile(r"(\d{1,4})gi?b?")),
    ("power_w", re.compile(r"(\d{2,4})w")),
    ("gpu_cores", re.compile(r"(\d{1,3})cores")),
    ("memory_type", re.compile(r"((?:hbm|gddr|lpddr)\d*\w?)")),
    ("whole", re.compile(r"(spx|nps1)")),  # AMD's modes in which a device is one partition
)


def plain(name: str) -> str:
    """A name without case and punctuation.

    >>> plain("NVIDIA H100 80GB HBM3") == plain("nvidia-h100-80gb_hbm3")
    True
    """
    return "".join(c for c in name.lower() if c.isalnum())


def tokens(name: str) -> list[str]:
    """Words of a name, vendor and brand words left out.

    >>> tokens("NVIDIA GeForce RTX 4090"), tokens("h100-sxm5-80gb")
    (['rtx', '4090'], ['h100', 'sxm5', '80gb'])
    """
    return [t for t in _TOKENS.split(name.lower()) if t and t not in _NOISE]


def match(name: str, index: Mapping[str, list[str]], ids: Iterable[str]) -> list[str]:
    """Ids that `name` can mean: one when exact or unique, several when ambiguous, none when unknown.

    `index` maps plain names and aliases to ids. After an exact match, a name that holds a digit may be a part
    of an id ("4090" for rtx-4090, "h100" for every H100), word by word; a part of a word is never enough.

    >>> match("4090", {}, ["rtx-4090", "rtx-3090"])
    ['rtx-4090']
    >>> match("h100", {}, ["h100-sxm5-80gb", "h100-pcie-80gb"])
    ['h100-sxm5-80gb', 'h100-pcie-80gb']
    >>> match("m4 max", {}, ["max-1550"]), match("rtxpro6000", {}, ["rtx-pro-6000-server"])
    ([], ['rtx-pro-6000-server'])
    """
    key = plain(name)
    if key in index:
        return index[key]
    words = tokens(name)
    stripped = "".join(plain(w) for w in words)
    if stripped in index:
        return index[stripped]
    if not any(c.isdigit() for c in name) or not words:
        return []
    wanted = set(words)
    ids = [i for i in ids if "@" not in i]  # what holds for a version or without a group is asked for by its whole name
    found = [i for i in ids if wanted <= set(tokens(i))]
    return found or [i for i in ids if stripped in _beginnings(i)]


def _beginnings(identifier: str) -> set[str]:
    """An id's first words written as one: "rtxpro6000" of rtx-pro-6000-server."""
    words = tokens(identifier)
    return {"".join(plain(w) for w in words[:n]) for n in range(2, len(words))}


# What a checkpoint's name says of how it is tuned, packed and kept, which leaves its dimensions as they are.
_TUNED = "instruct chat it base pt sft dpo"
_KEPT = (
    "bf16 fp16 fp8 fp4 nvfp4 mxfp4 awq gptq bnb int4 int8 4bit 8bit 4bits 8bits w8a8 w4a16 w8a16 "
    "quantized quant dynamic block static kv pertensor perchannel ptpc"
)
_PACKED = "hf gguf mlx original unsloth"
_VARIANT = frozenset(f"{_TUNED} {_KEPT} {_PACKED}".split())


def stem(name: str) -> str:
    """A checkpoint's name without who published it and how it is tuned or kept; the order of what is left stays.

    >>> stem("mistralai/Mixtral-8x7B-Instruct-v0.1") == stem("mixtral-8x7b-v0.1")
    True
    >>> stem("RedHatAI/Llama-3.3-70B-Instruct-quantized.w8a8"), stem("unsloth/Meta-Llama-3.1-8B-bnb-4bit")
    ('llama-3.3-70b', 'meta-llama-3.1-8b')
    >>> stem("amd/Llama-3.1-405B-Instruct-FP8-KV"), stem("Qwen/Qwen3-32B-FP8-Static-PerTensor")
    ('llama-3.1-405b', 'qwen3-32b')
    """
    words = re.split(r"[^a-z0-9.]+", name.lower().rstrip("/").rsplit("/", 1)[-1].replace("quantized.", "quantized-"))
    return "-".join(word for word in words if word and word not in _VARIANT)


def said_apart(name: str) -> tuple[str, list[tuple[str, str]]]:
    """A device's name without what it says of the device, and that: its memory in GB, watts, cores, kind of memory.

    >>> said_apart("RTX 4090 24GB"), said_apart("rtx-4090")
    (('RTX 4090', [('memory_sold_gb', '24')]), ('rtx 4090', []))
    >>> said_apart("M1 Max 32\u2011Core GPU 64G")
    ('M1 Max GPU', [('gpu_cores', '32'), ('memory_sold_gb', '64')])
    >>> said_apart("MI300X-NPS1-SPX-192GB-750W")[1][-2:]
    [('memory_sold_gb', '192'), ('power_w', '750')]
    """
    spaced = re.sub(r"(\d)\s+(gi?b)\b", r"\1\2", name, flags=re.I)
    rest: list[str] = []
    said: list[tuple[str, str]] = []
    for word in _WORDS.split(_CORES.sub(r"\1cores", spaced)):
        for fact, pattern in _SAID:
            if found := pattern.fullmatch(word.lower()):
                said.append((fact, found[1]))
                break
        else:
            rest.append(word)
    return " ".join(filter(None, rest)), said


def holds(entry: Entry, fact: str, value: str) -> bool:
    """Whether a device is what a word of its name says."""
    if fact == "whole":
        return str(entry.value("vendor", "")) == "amd"
    known = entry.value(fact, None)
    if known is None:
        return False
    if isinstance(known, str):
        return known.lower() == value
    return abs(float(known) - float(value)) <= 0.01 * float(value)
