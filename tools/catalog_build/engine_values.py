"""A fact of a serving engine, and those of how it chooses tokens."""

from __future__ import annotations

from typing import NamedTuple


class Value(NamedTuple):
    value: float | str
    unit: str
    source: str
    how: str = "published"
    low: float | None = None
    high: float | None = None
    note: str = ""


_FILTERS = "vLLM pull request 40376 (2026): top-k and top-p of 128 rows of 131,072 logits"
SORTED = Value(
    1.4e-10, "s", _FILTERS, "measured", 9e-11, 1.5e-10,
    "a logit of a step where tokens are filtered: 2.40 ms by sorting, 6.15 of 512 rows; device not told")
FILTERED = Value(
    1.6e-11, "s", _FILTERS, "measured", 5.5e-12, 2e-11,
    "a logit of a step where tokens are filtered: 0.27 ms by FlashInfer's kernel, 0.37 of 512 rows; device not told")
GREEDY = Value(
    "greedy", "text", "temperature 0 in the recipes of published runs (SemiAnalysisAI/InferenceX, Apache-2.0)",
    note="as published runs ask; filtering by top-k or top-p takes some 2 µs a token more, penalties 40")
OWN_FILTERS = Value(
    "top-p", "text", "vLLM documentation: --generation-config auto, since 0.8",
    note="a server takes the model's own top-k and top-p, which versions before 0.17 reach by sorting all logits")
