"""Typed look-ups in a Hugging Face configuration, under the several names one dimension goes by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlay.errors import Unreadable
from outlay.readers.fields import show

NAMES = {
    "hidden": ("hidden_size", "n_embd", "d_model", "dim"),
    "layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "heads": ("num_attention_heads", "n_head", "n_heads", "num_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num", "kv_n_heads"),
    "ffn": ("intermediate_size", "ffn_dim", "ffn_hidden_size", "n_inner"),
    "head_dim": ("head_dim", "kv_channels", "attention_head_dim"),
    "vocab": ("padded_vocab_size", "vocab_size"),
    "max_positions": ("max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len",
                      "seq_length"),
    "experts": ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts"),
    "per_token": ("num_experts_per_tok", "num_experts_per_token", "moe_top_k", "moe_topk", "moe_k",
                  "top_k_experts"),
    "expert_ffn": ("moe_intermediate_size", "expert_intermediate_size"),
    "shared_experts": ("n_shared_experts", "num_shared_experts", "num_shared_expert", "moe_num_shared_experts"),
}
_LARGEST = 10**9
_MOST = {"layers": 10_000}


class Config:
    """One configuration mapping; `name` says which file it came from."""

    def __init__(self, values: Mapping[str, Any], name: str = "config.json") -> None:
        self.values, self.name = values, name

    def get(self, key: str, default: Any = None) -> Any:
        value = self.values.get(key)
        return default if value is None else value

    def has(self, key: str) -> bool:
        return self.values.get(key) is not None

    def _first(self, name: str) -> tuple[str, Any]:
        for key in NAMES.get(name, (name,)):
            value = self.values.get(key)
            if isinstance(value, (list, tuple)) and value and all(v == value[0] for v in value):
                value = value[0]
            if value is not None:
                return key, value
        return name, None

    def count(self, name: str, default: int | None = None, least: int = 1) -> int:
        """A whole number; with no default its absence is an error that names the keys looked for."""
        key, value = self._first(name)
        if value is None:
            if default is None:
                keys = " or ".join(NAMES.get(name, (name,)))
                raise Unreadable(f"{self.name} lacks {keys}", keys.split(" ")[0])
            return default
        whole = isinstance(value, int) and not isinstance(value, bool)
        if isinstance(value, float) and value.is_integer():
            value, whole = int(value), True
        most = _MOST.get(name, _LARGEST)
        if not whole or not least <= value <= most:
            raise Unreadable(f"{self.name}: {key} is {show(value)}; it must be a whole number from {least} "
                             f"to {most:,}", key)
        return int(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self.get(key, default)
        if not isinstance(value, bool) and value not in (0, 1):
            raise Unreadable(f"{self.name}: {key} is {show(value)}; it must be true or false", key)
        return bool(value)

    def text(self, key: str, default: str = "") -> str:
        value = self.get(key, default)
        if not isinstance(value, str):
            raise Unreadable(f"{self.name}: {key} is {show(value)}; it must be text", key)
        return value

    def items(self, key: str, length: int = 0) -> list[Any]:
        """A list, empty when absent; of at least `length` entries when that is given."""
        value = self.get(key, [])
        if not isinstance(value, (list, tuple)):
            raise Unreadable(f"{self.name}: {key} is {show(value)}; it must be a list", key)
        if value and length and len(value) < length:
            raise Unreadable(f"{self.name}: {key} has {len(value)} entries for {length} layers", key)
        return list(value[:length]) if length else list(value)

    def part(self, key: str) -> Config | None:
        """A nested mapping."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise Unreadable(f"{self.name}: {key} is {show(value)}; it must be a mapping", key)
        return Config(value, f"{self.name} {key}")
