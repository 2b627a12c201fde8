"""How a name a person or a driver prints is matched to a catalogue id, without ever guessing in silence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_TOKENS = re.compile(r"[^a-z0-9.]+")
_NOISE = frozenset(
    (
        "nvidia",
        "amd",
        "intel",
        "google",
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
_MEMORY = re.compile(r"^(.*?)[\s_-]*\(?(\d{1,4})\s*gi?b\)?$", re.I)


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
    >>> match("m4 max", {}, ["max-1550"])
    []
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
    return [i for i in ids if wanted <= set(tokens(i))]


def memory_apart(name: str) -> tuple[str, float | None]:
    """A name without the memory at its end, and that memory in GB.

    >>> memory_apart("RTX 4090 24GB"), memory_apart("rtx-4090")
    (('RTX 4090', 24.0), ('rtx-4090', None))
    """
    found = _MEMORY.match(name)
    return (found[1], float(found[2])) if found and found[1] else (name, None)
