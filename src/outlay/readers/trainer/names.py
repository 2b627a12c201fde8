"""Names that trainers share: optimisers, precisions, adapted matrices; nested settings as dotted keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from outlay.errors import Unreadable
from outlay.readers.launch.flag_table import Collected

MAX_KEYS = 20_000
_MAX_DEPTH = 20
OPTIMIZERS = {
    "adamw": "adamw",
    "adamw_torch": "adamw",
    "adamw_torch_fused": "adamw",
    "adamw_hf": "adamw",
    "adamw_apex_fused": "adamw",
    "adamw_torch_xla": "adamw",
    "fusedadam": "adamw",
    "deepspeedcpuadam": "adamw",
    "adam": "adam",
    "adamw8bit": "adamw-8bit",
    "adamw_8bit": "adamw-8bit",
    "adamw_bnb_8bit": "adamw-8bit",
    "adam8bit": "adamw-8bit",
    "adamw_torch_8bit": "adamw-8bit",
    "pagedadamw8bit": "paged-adamw-8bit",
    "paged_adamw_8bit": "paged-adamw-8bit",
    "paged_adamw_32bit": "adamw",
    "paged_adamw": "adamw",
    "pagedadamw": "adamw",
    "sgd": "sgd",
    "adafactor": "adafactor",
    "lion": "lion",
    "lion_32bit": "lion",
    "muon": "muon",
    "dist_muon": "muon",
}
_MATRICES = {
    "q_proj": "q",
    "k_proj": "k",
    "v_proj": "v",
    "o_proj": "o",
    "output_proj": "o",
    "out_proj": "o",
    "gate_proj": "gate",
    "up_proj": "up",
    "down_proj": "down",
    "w1": "gate",
    "w3": "up",
    "w2": "down",
    "fc1": "up",
    "fc2": "down",
    "c_fc": "up",
    "c_proj": "o",
    "dense": "o",
    "dense_h_to_4h": "up",
    "dense_4h_to_h": "down",
    "wq": "q",
    "wk": "k",
    "wv": "v",
    "wo": "o",
    "linear_proj": "o",
    "linear_fc1": "gate up",
    "linear_fc2": "down",
    "gate_up_proj": "gate up",
    "qkv_proj": "q k v",
    "query_key_value": "q k v",
    "c_attn": "q k v",
    "w_pack": "q k v",
    "wqkv": "q k v",
    "linear_qkv": "q k v",
    "all": "all",
    "linear": "all",
    "all-linear": "all",
}


def flat(settings: Mapping[Any, Any], prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Nested settings as dotted keys; lists stay values.

    >>> flat({"a": {"b": 1}, "c": [2]})
    {'a.b': 1, 'c': [2]}
    """
    found: dict[str, Any] = {}
    if depth > _MAX_DEPTH:
        raise Unreadable("settings nested too deeply")
    for key, value in settings.items():
        name = f"{prefix}{key}"[:400]
        if isinstance(value, Mapping) and value:
            found.update(flat(value, f"{name}.", depth + 1))
        else:
            found[name] = value
        if len(found) > MAX_KEYS:
            raise Unreadable(f"more than {MAX_KEYS:,} settings")
    return found


def optimizer(c: Collected, named: str) -> str | None:
    """The scenario's optimiser; one it has no name for is listed."""
    plain = named.rsplit(".", 1)[-1].lower()
    found = OPTIMIZERS.get(plain)
    if found is None:
        c.unplanned.append(f"optimizer {named[:60]}")
    elif plain in ("paged_adamw_32bit", "paged_adamw", "pagedadamw"):
        c.note("finetune.optimizer", found, "paged AdamW: its states may move to host memory under pressure")
    return found


def matrices(c: Collected, names: Iterable[str]) -> list[str]:
    """Adapted matrices in the scenario's letters; others are listed.

    >>> matrices(Collected(""), ["model.layers.*.(mlp|self_attn).(up|down|q)_proj"])
    ['up', 'down', 'q']
    """
    found: list[str] = []
    for name in _alternatives(names):
        plain = name.strip("[]'\", ").rsplit(".", 1)[-1].lower()
        if not plain:
            continue
        letters = _MATRICES.get(plain)
        if letters is None:
            c.unplanned.append(f"adapter on {plain[:60]}")
        else:
            found += [letter for letter in letters.split() if letter not in found]
    return ["all"] if "all" in found else found


def _alternatives(names: Iterable[str]) -> list[str]:
    """Names, with the alternatives at the end of a pattern written out: `…(up|down)_proj`."""
    found: list[str] = []
    for name in names:
        _, opening, inside = name[:400].rpartition("(")
        inside, closing, tail = inside.partition(")")
        plain = tail.replace("_", "").isalnum() or not tail
        found += [f"{word}{tail}" for word in inside.split("|")] if opening and closing and plain else [name]
    return found


def words(value: str) -> list[str]:
    """A list written as text: by commas or blanks.

    >>> words("q_proj,v_proj"), words("[a, b]")
    (['q_proj', 'v_proj'], ['a', 'b'])
    """
    return [word for word in value.strip("[]").replace(",", " ").split() if word]


def put(target: dict[str, Any], **values: Any) -> None:
    """Set what is known."""
    target.update({name: value for name, value in values.items() if value is not None})


def model_name(value: Any) -> str | None:
    text = str(value).strip() if value else ""
    return text if text and len(text) <= 4000 and all(ord(ch) >= 32 for ch in text) else None
