"""Which layer is what: dense or experts, sliding or full, and the shortest way to write it down."""

from __future__ import annotations

from string import ascii_letters
from typing import Any

from outlay.errors import Unsupported
from outlay.readers.hf.keys import Config
from outlay.readers.hf.traits import Traits

Row = dict[str, Any]  # what differs from the model's own layer kind

_DENSE: Row = {"mlp": "dense"}
SLIDING = ("sliding_attention", "local", "chunked_attention", "sliding", "swa")


def layer_rows(c: Config, traits: Traits, fields: dict[str, Any]) -> list[Row]:
    """One row a layer."""
    total = fields["layers"]
    rows: list[Row] = [{} for _ in range(total)]
    if fields.get("experts"):
        for i in dense_layers(c, traits, total):
            rows[i] |= _DENSE
    window = window_of(c, traits)
    if window:
        for i in sliding_layers(c, traits, total):
            rows[i]["window"] = window
    if c.has("index_n_heads") and c.has("kv_lora_rank"):
        chosen = c.count("index_topk", 0, 0)
        for row, kind in zip(rows, indexer_types(c, total)):
            row |= {"indexer_topk": chosen} if chosen else {}
            if kind == "full":
                row |= {"indexer_heads": c.count("index_n_heads"),
                        "indexer_head_dim": c.count("index_head_dim")}
    return rows


def dense_layers(c: Config, traits: Traits, total: int) -> list[int]:
    """Layers without routed experts, by whichever key the family uses."""
    kinds = c.items("mlp_layer_types", total)
    if kinds:
        return [i for i, kind in enumerate(kinds) if kind == "dense"]
    frequency = c.get("moe_layer_freq")
    if isinstance(frequency, (list, tuple)):
        return [i for i, moe in enumerate(c.items("moe_layer_freq", total)) if not moe]
    if c.has("interleave_moe_layer_step"):
        step = c.count("interleave_moe_layer_step", least=0)
        return [i for i in range(total) if not step or (i + 1) % step]
    if c.has("expert_layer_period"):
        period, offset = c.count("expert_layer_period"), c.count("expert_layer_offset", 0, 0)
        return [i for i in range(total) if i % period != offset]
    first = c.count("first_k_dense_replace", c.count("moe_layer_start_index", traits.first_dense, 0), 0)
    step = c.count("decoder_sparse_step", 1)
    only = {i for i in c.items("mlp_only_layers") if isinstance(i, int)}
    return [i for i in range(total) if i < first or i in only or (i + 1) % step]


def window_of(c: Config, traits: Traits) -> int:
    if c.has("use_sliding_window") and not c.flag("use_sliding_window", True):
        return 0
    window = c.count("sliding_window", 0, 0) or c.count("attention_chunk_size", 0, 0)
    return window or traits.window_default


def sliding_layers(c: Config, traits: Traits, total: int) -> list[int]:
    """Layers whose attention is windowed."""
    kinds = c.items("layer_types", total)
    if kinds:
        return [i for i, kind in enumerate(kinds) if kind in SLIDING]
    rope = c.items("no_rope_layers", total)
    if rope and c.has("attention_chunk_size"):
        return [i for i, uses_rope in enumerate(rope) if uses_rope]
    letters = c.get("sliding_window_pattern")
    if isinstance(letters, str) and letters and set(letters) <= set("LG"):  # EXAONE 4: local and global, repeated
        return [i for i in range(total) if letters[i % len(letters)] == "L"]
    every = c.count("sliding_window_pattern", 0, 0) or traits.window_every
    if c.text("model_type").startswith("llama4"):
        every = 4
    if c.has("max_window_layers"):
        return list(range(min(total, c.count("max_window_layers", least=0)), total))
    return [i for i in range(total) if not every or (i + 1) % every]


def indexer_types(c: Config, total: int) -> list[str]:
    """Per layer, whether it selects keys itself ("full") or reuses another layer's choice ("shared")."""
    kinds = c.items("indexer_types", total)
    if kinds:
        return [str(kind) for kind in kinds]
    every, offset = max(1, c.count("index_topk_freq", 1, 0)), c.count("index_skip_topk_offset", 2, 0)
    return ["full" if max(i - offset + 1, 0) % every == 0 else "shared" for i in range(total)]


def shortened(rows: list[Row], fields: dict[str, Any], c: Config) -> None:
    """Write the rows into the fields: as documented fields where they fit, else as a pattern."""
    if all(not row for row in rows):
        return
    dense = next((i for i, row in enumerate(rows) if row != _DENSE), len(rows))
    if all(not row for row in rows[dense:]):
        fields["dense_layers"] = dense
        return
    windows = {row.get("window", 0) for row in rows}
    if all(set(row) <= {"window"} for row in rows) and len(windows - {0}) == 1:
        every = _full_every(rows)
        if every is not None:
            fields["sliding_window"] = max(windows)
            if every:
                fields["full_attention_every"] = every
            return
    fields.update(as_pattern(rows, c))


def _full_every(rows: list[Row]) -> int | None:
    """n when exactly every n-th layer attends fully, 0 when none does, None when no such rule fits."""
    full = [i for i, row in enumerate(rows) if not row]
    if not full:
        return 0
    every = full[0] + 1
    return every if all((not row) == ((i + 1) % every == 0) for i, row in enumerate(rows)) else None


def as_pattern(rows: list[Row], c: Config) -> Row:
    """`layer_kinds` by letter and the shortest `layer_pattern` that repeats through all layers."""
    kinds: list[Row] = []
    word = ""
    for row in rows:
        if row not in kinds:
            kinds.append(row)
            if len(kinds) > len(ascii_letters):
                raise Unsupported(f"{c.name}: more than {len(ascii_letters)} kinds of layer", "layer_types")
        word += ascii_letters[kinds.index(row)]
    return {"layer_kinds": dict(zip(ascii_letters, kinds)), "layer_pattern": word[: period(word)]}


def period(word: str) -> int:
    """Length of the shortest start whose repetition gives `word`, by borders (Knuth, Morris, Pratt).

    >>> period("abcabca"), period("aaab")
    (3, 4)
    """
    border = [0] * len(word)
    for i in range(1, len(word)):
        k = border[i - 1]
        while k and word[i] != word[k]:
            k = border[k - 1]
        border[i] = k + (word[i] == word[k])
    return len(word) - border[-1] if word else 0
