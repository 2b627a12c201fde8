"""What the simulator is given: how long steps take, the engines and their limits, what power they draw.

Everything is plain numbers and pickles, so that many simulations can go to many processes.
"""

from __future__ import annotations

from msgspec import Struct

from outlay.errors import BadValue, Inconsistent, UnknownName, suggestion

ROUTERS = ("round_robin", "least_loaded", "prefix")
POLICIES = ("mixed", "prefill_first")


class StepTime(Struct, frozen=True):
    """Seconds of an engine's step.

    A step with n running requests that read K cached tokens takes base_s[n] + read_s·K; a chunk of prompt tokens in
    it takes chunk_s more, bilinear over `running` and `tokens`, whose first row (running 0) is a chunk by itself,
    all included. Attention of a chunk of c tokens that follows s tokens adds c·(pair_s·x + window_s·min(x, window))
    with x = s + c/2, and c·select_s where x is above select_after: keys are selected there.

    joint_s, joint_chunk_s: of base_s and chunk_s, what ranks that step together take together, by the requests of the
    fullest and the mean prompt tokens of all; the rest goes with what is in a rank itself.
    """

    base_s: tuple[float, ...]
    read_s: float
    tokens: tuple[float, ...]
    running: tuple[float, ...]
    chunk_s: tuple[tuple[float, ...], ...]
    pair_s: float = 0.0
    window_s: float = 0.0
    window: float = 0.0
    select_s: float = 0.0
    select_after: float = 0.0
    joint_s: tuple[float, ...] = ()
    joint_chunk_s: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        if len(self.running) < 3 or self.running[0] != 0 or list(self.running) != sorted(set(self.running)):
            raise BadValue("step_time.running: at least three rising numbers, the first 0", "step_time.running")
        if len(self.tokens) < 2 or self.tokens[0] != 0 or list(self.tokens) != sorted(set(self.tokens)):
            raise BadValue("step_time.tokens: at least two rising numbers, the first 0", "step_time.tokens")
        if len(self.chunk_s) != len(self.running) or any(len(row) != len(self.tokens) for row in self.chunk_s):
            raise BadValue("step_time.chunk_s: one row for each of running, one number for each of tokens",
                           "step_time.chunk_s")
        if not all(s > 0 for s in self.base_s[1:]) or self.read_s < 0:
            raise BadValue("step_time: a step takes time: base_s above 0, read_s at least 0", "step_time.base_s")
        chunks = (self.joint_chunk_s, self.chunk_s)
        if len(self.joint_s) not in (0, len(self.base_s)) or (
                self.joint_chunk_s and list(map(len, self.joint_chunk_s)) != list(map(len, self.chunk_s))):
            raise BadValue("step_time.joint_s, joint_chunk_s: none, or as many numbers as base_s and chunk_s",
                           "step_time.joint_s")
        if not all(0.0 <= part <= whole for parts, wholes in ((self.joint_s, self.base_s), *zip(*chunks, strict=False))
                   for part, whole in zip(parts, wholes, strict=False)):
            raise BadValue("step_time.joint_s, joint_chunk_s: parts of base_s and chunk_s", "step_time.joint_s")


class Pool(Struct, frozen=True):
    """Engines of one kind. An engine is one scheduler: a replica, one of its attention ranks, or one share of the
    requests that a pipeline works on in turn. So many `ranks` after another step together."""

    engines: int
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_tokens: int  # cache of one engine
    block_tokens: int = 16
    devices: float = 1.0  # of one engine
    ranks: int = 1


class Autoscale(Struct, frozen=True):
    """Replicas on demand: as many as keep `target` requests inside each, by their mean since the last look.

    More are started at once. Fewer stay when none of the last `patience` looks wanted more, as Kubernetes' autoscaler
    has it (its stabilization window, which begins with what stands then): those still starting go first, others take
    no more requests and go when they are empty. A replica takes requests after cold_start_s, with nothing in its
    cache, and is paid for from its start. low, target: of replicas, each `engines` schedulers that come and go
    together. first: those that stand when the first request comes, 0 for `low`. Of two pools each follows its own:
    prompts that wait or are computed, and requests from there on, their cache under way included.
    """

    low: int
    target: float
    every_s: float = 15.0
    cold_start_s: float = 120.0
    patience: int = 4
    engines: int = 1
    first: int = 0

    @property
    def standing(self) -> int:
        """Replicas when the first request comes."""
        return max(self.first, self.low)


class System(Struct, frozen=True):
    """The deployment: one pool, or one for prompts and one that decodes, and how requests pass through it.

    policy: "mixed" puts prompts into decode steps (vLLM), "prefill_first" stops decoding for them (SGLang).
    whole_prompt: a request starts only when its whole prompt fits the free cache. reserve: of the tokens running
    requests may still write, the share kept free before another starts. prefix_hit: share of every prompt taken as
    cached, where prefixes themselves are not known. accepted: tokens a decode step yields, `drafted` of them guessed.
    first_s, token_s, pass_s: spent on a request before an engine has it and part of its times: on its handling; on
    reading its text, by the token and one request after another; on launching its prompt, by the pass that it takes at
    least, those that come meanwhile together. take_up: decode steps until an engine knows of a request, beside the one
    under way; an idle engine takes as much time. held: steps more while anything runs. polled: only each so manyth of
    an engine's decode steps looks for requests. gathers: ranks that step together take prompts up when each has one,
    or so many decode steps after they last did, or where one of them answers nobody. slack: requests by which an engine
    with the longest known prefix may be fuller than the emptiest.
    """

    pool: Pool
    max_model_len: int
    decode: Pool | None = None
    policy: str = "mixed"
    whole_prompt: bool = True
    reserve: float = 0.0
    prefix_cache: bool = True
    prefix_hit: float = 0.0
    router: str = "least_loaded"
    slack: int = 8
    accepted: float = 1.0
    drafted: int = 0
    first_s: float = 0.0
    token_s: float = 0.0
    pass_s: float = 0.0
    take_up: float = 0.0
    held: float = 0.0
    polled: int = 1
    gathers: int = 0
    move_s: float = 0.0
    move_token_s: float = 0.0
    autoscale: Autoscale | None = None  # of `pool`
    autoscale_decode: Autoscale | None = None

    @property
    def pools(self) -> tuple[Pool, ...]:
        """One, or the two that a request passes through."""
        return (self.pool,) if self.decode is None else (self.pool, self.decode)

    @property
    def scales(self) -> tuple[Autoscale, ...]:
        """What each pool follows, where replicas come and go."""
        return tuple(scale for scale in (self.autoscale, self.autoscale_decode) if scale is not None)

    def __post_init__(self) -> None:
        for name, value, allowed in (("router", self.router, ROUTERS), ("policy", self.policy, POLICIES)):
            if value not in allowed:
                raise UnknownName(
                    f"system.{name}: {value!r} is none of {', '.join(allowed)}{suggestion(value, allowed)}",
                    f"system.{name}")
        if self.policy == "prefill_first" and not self.whole_prompt:
            raise Inconsistent("system.whole_prompt: prompts that come first start only when they fit whole, or two "
                               "that take turns would never end", "system.whole_prompt")
        for pool in self.pools:
            self._check(pool)
        for scale, followed, path in ((self.autoscale, self.pool, "system.autoscale"),
                                      (self.autoscale_decode, self.decode, "system.autoscale_decode")):
            if scale is not None and followed is not None:
                self._check_scale(scale, followed, path)
        if len(self.scales) not in (0, len(self.pools)) or (self.decode is None and self.autoscale is None
                                                            and self.scales):
            raise Inconsistent("system.autoscale_decode: of two pools both follow their load, or neither; of one pool "
                               "it is system.autoscale", "system.autoscale_decode")

    def _check_scale(self, scale: Autoscale, pool: Pool, path: str) -> None:
        there, left = divmod(pool.engines, max(scale.engines, 1))
        if scale.engines < 1 or left or scale.engines % pool.ranks:
            raise BadValue(f"{path}.engines: {scale.engines} a replica do not divide the {pool.engines} there are, "
                           "or part ranks that step together", f"{path}.engines")
        if not 1 <= scale.low <= there:
            raise BadValue(f"{path}.low: {scale.low} is not between 1 and the {there} replicas there are",
                           f"{path}.low")
        if scale.first > there:
            raise BadValue(f"{path}.first: {scale.first} is more than the {there} replicas there are", f"{path}.first")
        for name in ("target", "every_s", "patience"):
            if not getattr(scale, name) > 0:
                raise BadValue(f"{path}.{name}: {getattr(scale, name)} is not above 0", f"{path}.{name}")

    def _check(self, pool: Pool) -> None:
        for name in ("engines", "max_num_seqs", "max_num_batched_tokens", "block_tokens", "ranks"):
            if getattr(pool, name) < 1:
                raise BadValue(f"system.pool.{name}: {getattr(pool, name)} is not at least 1", f"system.pool.{name}")
        if pool.engines % pool.ranks:
            raise BadValue(f"system.pool.ranks: {pool.ranks} that step together do not divide {pool.engines} engines",
                           "system.pool.ranks")
        if pool.max_num_batched_tokens < pool.max_num_seqs * (1 + self.drafted):
            raise Inconsistent(
                f"max_num_batched_tokens: {pool.max_num_batched_tokens} tokens a step are too few for max_num_seqs "
                f"{pool.max_num_seqs} running requests of {1 + self.drafted} tokens each",
                "serve.max_num_batched_tokens")
        if pool.kv_tokens < pool.block_tokens:
            raise BadValue(f"kv_tokens: a cache of {pool.kv_tokens} tokens holds no block of {pool.block_tokens}",
                           "system.pool.kv_tokens")
        if not 1.0 <= self.accepted <= pool.block_tokens:
            raise BadValue(f"system.accepted: {self.accepted:g} tokens a step are not between 1 and a block of "
                           f"{pool.block_tokens}", "system.accepted")


class Power(Struct, frozen=True):
    """Watts of one device: idle, in steps with prompts, and in decode steps by running requests (linear between)."""

    idle_w: float
    prompt_w: float
    running: tuple[float, ...]
    decode_w: tuple[float, ...]
