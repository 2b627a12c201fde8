"""From model fields to layer kinds and their order."""

from __future__ import annotations

from typing import Any, get_args

from msgspec.structs import replace

from outlay import architecture as shape
from outlay.architecture import LayerKind
from outlay.errors import BadValue, Inconsistent
from outlay.readers.fields import Fields, reject_unknown, show

Runs = tuple[tuple[LayerKind, int], ...]

_MLA_FIELDS = ("kv_lora_rank", "q_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim")
_SSM_FIELDS = ("kind", "every", "layers", "state", "heads", "head_dim", "conv", "groups", "dt_rank", "bias",
               "conv_bias", "inner_norms")
_SSM_KINDS = ("mamba1", "mamba2", "gdn", "kda", "lightning")
_WIDTH = 10**8
_CHOICES = {"mixer": get_args(shape.Mixer), "mlp": get_args(shape.Mlp), "qk_norm": get_args(shape.QkNorm),
            "output_gate": get_args(shape.OutputGate)}


def base_kind(read: Fields, hidden: int) -> LayerKind:
    """The layer kind the model-wide fields describe: attention and MLP before any pattern."""
    gated = read.flag("gated", True, why="gated MLPs are usual since Llama")
    biases = read.choice("biases", ("none", "qkv", "all"), "none")
    kind = LayerKind(
        gated=gated,
        norms=read.count("norms_per_layer", 2, least=0, most=16, silent=True),
        qk_norm=read.choice("qk_norm", _CHOICES["qk_norm"], "none"),  # type: ignore[arg-type]
        qkv_bias=biases != "none" or (not read.has("biases") and read.flag("qkv_bias", False)),
        out_bias=biases == "all" or (not read.has("biases") and read.flag("out_bias", False)),
        mlp_bias=biases == "all" or (not read.has("biases") and read.flag("mlp_bias", False)),
        router_bias=read.flag("router_bias", False),
        shared_gate=read.flag("shared_gate", False),
        output_gate=read.choice("output_gate", _CHOICES["output_gate"], "none"),  # type: ignore[arg-type]
        sinks=read.flag("attention_sinks", False),
        shared_kv=read.flag("shared_kv", False),
        indexer_heads=read.count("indexer_heads", 0, least=0, most=10**5, silent=True),
        indexer_head_dim=read.count("indexer_head_dim", 0, least=0, most=10**5, silent=True),
        indexer_topk=read.count("indexer_topk", 0, least=0, most=10**7, silent=True),
    )
    return _with_mlp(_with_attention(kind, read, hidden), read, hidden)


def _with_attention(kind: LayerKind, read: Fields, hidden: int) -> LayerKind:
    if not read.has("heads") and (read.has("ssm") or read.has("layer_pattern")):
        return replace(kind, mixer="none")
    heads = read.count("heads", max(1, hidden // 128), most=10**5, why="heads of 128, the usual width")
    latent = read.mapping("mla")
    if latent is not None:
        return _with_mla(kind, read, latent, heads)
    if not read.has("head_dim") and hidden % heads:
        raise Inconsistent(f"hidden {hidden} is not a multiple of heads {heads}; give head_dim if that is "
                           "meant", read.at("heads"))
    kv_heads = read.count("kv_heads", heads, most=10**5, why="equal to heads: no grouped-query attention")
    if heads % kv_heads:
        raise Inconsistent(f"heads {heads} is not a multiple of kv_heads {kv_heads}", read.at("kv_heads"))
    return replace(
        kind, mixer="attention", heads=heads, kv_heads=kv_heads,
        head_dim=read.count("head_dim", hidden // heads or 1, most=10**5, why="hidden / heads", silent=True),
        v_head_dim=read.count("v_head_dim", 0, least=0, most=10**5, silent=True),
    )


def _with_mla(kind: LayerKind, read: Fields, latent: Fields, heads: int) -> LayerKind:
    reject_unknown(latent.given, _MLA_FIELDS, latent.path)
    for field in ("kv_heads", "head_dim"):
        if read.has(field):
            read.note(field, read.count(field, least=0, most=10**5), "not used: mla gives the heads their "
                                                                     "widths")
    rope = latent.count("qk_rope_head_dim", 64, least=0, most=10**5)
    nope = latent.count("qk_nope_head_dim", 128, most=10**5)
    return replace(
        kind, mixer="mla", heads=heads, kv_heads=heads, head_dim=rope + nope, qk_rope_head_dim=rope,
        v_head_dim=latent.count("v_head_dim", 128, most=10**5),
        kv_lora_rank=latent.count("kv_lora_rank", 512, most=10**5),
        q_lora_rank=latent.count("q_lora_rank", 0, least=0, most=10**5, silent=True),
    )


def _with_mlp(kind: LayerKind, read: Fields, hidden: int) -> LayerKind:
    experts = read.count("experts", 0, least=0, most=10**5, silent=True)
    usual = 4 * hidden if not kind.gated else -(-8 * hidden // 3 // 256) * 256
    if not experts:
        for field in ("experts_per_token", "expert_ffn", "shared_expert_ffn"):
            if read.has(field) and read.count(field, least=0):
                raise Inconsistent(f"{read.at(field)} is given without experts", read.at("experts"))
        ffn = read.count("ffn", usual, least=0, most=_WIDTH,
                         why="4h ungated, 8h/3 gated to a multiple of 256",
                         silent=read.has("layer_pattern"))
        return replace(kind, mlp="dense" if ffn else "none", ffn=ffn)
    per_token = read.count("experts_per_token", min(2, experts), most=10**5, why="two, as in Mixtral")
    if per_token > experts:
        raise Inconsistent(f"experts_per_token {per_token} is more than experts {experts}",
                           read.at("experts_per_token"))
    ffn = read.count("ffn", usual, least=0, most=_WIDTH, silent=True)
    return replace(
        kind, mlp="moe", ffn=ffn, experts=experts, experts_per_token=per_token,
        expert_ffn=read.count("expert_ffn", ffn, most=_WIDTH, why="equal to ffn"),
        shared_ffn=read.count("shared_expert_ffn", 0, least=0, most=_WIDTH, silent=True),
        expert_hidden=read.count("expert_hidden", 0, least=0, most=_WIDTH, silent=True),
    )


def as_dense(kind: LayerKind) -> LayerKind:
    return replace(kind, mlp="dense", experts=0, experts_per_token=0, expert_ffn=0, shared_ffn=0,
                   expert_hidden=0, router_bias=False, shared_gate=False)


def layer_runs(read: Fields, kind: LayerKind, layers: int, hidden: int) -> Runs:
    """Every layer's kind in order, equal neighbours joined."""
    if read.has("layer_pattern"):
        for field in ("dense_layers", "sliding_window", "full_attention_every", "ssm"):
            if read.has(field):
                raise Inconsistent(f"{read.at(field)} is given beside layer_pattern, which says what each "
                                   "layer is",
                                   read.at(field))
        return joined(_patterned(str(read.given["layer_pattern"]), read, kind, layers))
    kinds = [kind] * layers
    dense = read.count("dense_layers", 0, least=0, most=10_000, silent=True)
    if dense > layers:
        raise Inconsistent(f"dense_layers {dense} is more than layers {layers}", read.at("dense_layers"))
    if kind.mlp == "moe":
        kinds[:dense] = [as_dense(kind)] * dense
    elif dense:
        read.note("dense_layers", dense, "without experts every layer is dense")
    _note_unused(read, kind, dense)
    kinds = _with_ssm(_with_window(kinds, read), read, hidden)
    return joined(kinds)


def _note_unused(read: Fields, kind: LayerKind, dense: int) -> None:
    moe = kind.mlp == "moe"
    if moe and not dense and read.has("ffn") and read.has("expert_ffn") and kind.ffn != kind.expert_ffn:
        read.note("ffn", kind.ffn, "not used: every layer has experts")
    if not moe and read.has("expert_imbalance"):
        read.note("expert_imbalance", read.given["expert_imbalance"], "not used: there are no experts")


def _with_window(kinds: list[LayerKind], read: Fields) -> list[LayerKind]:
    window = read.count("sliding_window", 0, least=0, most=10**9, silent=True)
    every = read.count("full_attention_every", 0, least=0, most=10_000, silent=True)
    if every and not window and not read.has("ssm"):
        raise Inconsistent("full_attention_every needs sliding_window (or ssm)",
                           read.at("full_attention_every"))
    if not window:
        return kinds
    return [k if every and (i + 1) % every == 0 else replace(k, window=window) for i, k in enumerate(kinds)]


def _with_ssm(kinds: list[LayerKind], read: Fields, hidden: int) -> list[LayerKind]:
    ssm = read.mapping("ssm")
    if ssm is None:
        return kinds
    reject_unknown(ssm.given, _SSM_FIELDS, ssm.path)
    total = len(kinds)
    chosen = _ssm_layers(ssm, total, read)
    if len(chosen) < total and kinds[0].mixer == "none":
        raise Inconsistent("some layers are attention: heads are needed", read.at("heads"))
    replaced = {kind: ssm_kind(ssm, kind, hidden) for kind in {kinds[i]: None for i in sorted(chosen)}}
    return [replaced[k] if i in chosen else k for i, k in enumerate(kinds)]


def _ssm_layers(ssm: Fields, total: int, read: Fields) -> set[int]:
    """Which layers are state-space: a list of indices, a number spread evenly, or all but every n-th."""
    if isinstance(ssm.given.get("layers"), (list, tuple)):
        picked = ssm.items("layers") or []
        for index in picked:
            if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < total:
                raise BadValue(f"{ssm.at('layers')} holds {show(index)}; indices run from 0 to {total - 1}",
                               ssm.at("layers"))
        return set(picked)
    if ssm.has("layers"):
        number = ssm.count("layers", least=0, most=total)
        return {i for i in range(total) if (i + 1) * number // total > i * number // total}
    if ssm.has("every"):
        every = ssm.count("every", most=10_000)
        return {i for i in range(total) if i % every == 0} if every > 1 else set(range(total))
    full = read.count("full_attention_every", 0, least=0, most=10_000, silent=True)
    return {i for i in range(total) if not (full and (i + 1) % full == 0)}


def ssm_kind(ssm: Fields, kind: LayerKind, hidden: int) -> LayerKind:
    """A state-space layer that keeps the other layer's MLP."""
    which = ssm.choice("kind", _SSM_KINDS, "mamba2", silent=False)
    head_dim = ssm.count("head_dim", {"mamba1": 1, "mamba2": 64}.get(which, 128), most=_WIDTH, silent=True)
    if which in ("mamba1", "kda") and ssm.has("groups"):
        ssm.note("groups", ssm.count("groups", most=10**5), f"not used: {which} has no groups")
    inner = hidden if which in ("gdn", "kda", "lightning") else 2 * hidden
    heads = ssm.count("heads", max(1, inner // head_dim), most=_WIDTH, why="inner width over head_dim")
    usual_groups = max(1, heads // 2) if which == "gdn" else 1
    return replace(
        kind, mixer=which,
        heads=heads, head_dim=head_dim, kv_heads=0, v_head_dim=0, window=0, kv_lora_rank=0,
        q_lora_rank=0, qk_rope_head_dim=0, qk_norm="none", output_gate="none", sinks=False,
        state=ssm.count("state", {"mamba1": 16}.get(which, 128), most=10**6, why="the usual state width"),
        conv=ssm.count("conv", 4, least=0, most=64, silent=True),
        groups=ssm.count("groups", usual_groups, most=10**5, silent=True),
        dt_rank=ssm.count("dt_rank", -(-hidden // 16), most=10**6, silent=True) if which == "mamba1" else 0,
        ssm_bias=ssm.flag("bias", False), conv_bias=ssm.flag("conv_bias", which != "gdn"),
        ssm_norms=ssm.flag("inner_norms", False),
    )


def _kinds_by_letter(read: Fields, base: LayerKind) -> dict[str, LayerKind]:
    """`layer_kinds`: a letter each, with what differs from the model's own kind."""
    listed = read.mapping("layer_kinds")
    if listed is None:
        raise Inconsistent("layer_pattern needs layer_kinds, a mapping from each of its letters to that "
                           "layer's fields", read.at("layer_kinds"))
    known = list(LayerKind.__struct_fields__)
    kinds = {}
    for letter in listed.given:
        row = listed.mapping(letter)
        if row is None or not isinstance(letter, str) or len(letter) != 1:
            raise BadValue(f"{listed.path} has the key {show(letter)}; keys are single letters", listed.path)
        reject_unknown(row.given, known, row.path)
        kinds[letter] = replace(base, **{field: _kind_value(row, field) for field in row.given})
    return kinds


def _kind_value(row: Fields, field: str) -> Any:
    if field in _CHOICES:
        return row.choice(field, _CHOICES[field], "none")
    if field == "gated" or isinstance(getattr(LayerKind(), field), bool):
        return row.flag(field, False)
    return row.count(field, least=0, most=_WIDTH)


def _patterned(pattern: str, read: Fields, base: LayerKind, layers: int) -> list[LayerKind]:
    """The pattern's letters, repeated until `layers` is reached."""
    kinds = _kinds_by_letter(read, base)
    at = read.at("layer_pattern")
    unknown = next((letter for letter in pattern if letter not in kinds), None)
    if unknown is not None or not pattern:
        raise BadValue(f"{at} is {show(pattern)}; it must be made of the letters {', '.join(kinds)}", at)
    if len(pattern) > layers:
        read.note("layer_pattern", pattern[:layers], f"cut to {layers} layers")
    for kind in kinds.values():
        if kind.mixer == "attention" and (not kind.heads or not kind.kv_heads or kind.heads % kind.kv_heads):
            raise Inconsistent(f"heads {kind.heads} is not a multiple of kv_heads {kind.kv_heads}", at)
    return [kinds[pattern[i % len(pattern)]] for i in range(layers)]


def joined(kinds: list[LayerKind]) -> Runs:
    """Equal neighbours as one run."""
    runs: list[tuple[LayerKind, int]] = []
    for kind in map(tidy, kinds):
        if runs and runs[-1][0] == kind:
            runs[-1] = (kind, runs[-1][1] + 1)
        else:
            runs.append((kind, 1))
    return tuple(runs)


_BLANK = LayerKind()
_MIXER_FIELDS = {
    "attention": ("heads kv_heads head_dim v_head_dim window qk_norm qkv_bias out_bias output_gate sinks "
                  "shared_kv "
                  "q_lora_rank o_groups o_lora_rank compress indexer_heads indexer_head_dim "
                  "indexer_topk"),
    "mla": ("heads kv_heads head_dim v_head_dim window kv_lora_rank q_lora_rank qk_rope_head_dim output_gate "
            "indexer_heads indexer_head_dim indexer_topk"),
    "mamba1": "heads head_dim state conv dt_rank ssm_norms ssm_bias conv_bias",
    "mamba2": "heads head_dim state conv groups ssm_bias conv_bias",
    "gdn": "heads head_dim state conv groups",
    "kda": "heads head_dim state conv output_gate",
    "lightning": "heads head_dim",
    "none": "",
}
_MLP_FIELDS = {"dense": "ffn gated mlp_bias", "none": "",
               "moe": "gated mlp_bias experts experts_per_token expert_ffn shared_ffn expert_hidden "
                      "router_bias "
                      "shared_gate"}
_OF_MIXERS = frozenset(" ".join(_MIXER_FIELDS.values()).split())
_OF_MLPS = frozenset(" ".join(_MLP_FIELDS.values()).split())


def tidy(kind: LayerKind) -> LayerKind:
    """Blank what its mixer and MLP do not use, so that equal layers compare equal."""
    used = {*_MIXER_FIELDS[kind.mixer].split(), *_MLP_FIELDS[kind.mlp].split()}
    unused = (_OF_MIXERS | _OF_MLPS) - used
    return replace(kind, **{name: getattr(_BLANK, name) for name in unused})
