"""How tokens are chosen: what filters and penalties add to a step, a sequence and a word of the vocabulary.

Greedy and plain random choices pass over the logits once, which every fitted constant holds already. Top-k and top-p
need the logits in order: sorted whole by engines of before 2026, by a kernel since. Penalties count the tokens of each
request anew every step, over the whole vocabulary and on the host.
"""

from __future__ import annotations

from outlay.architecture import Architecture
from outlay.resolve.engines import Engine
from outlay.resolve.notes import Notes
from outlay.resolve.serve.time import AGE_OF_PENALTIES, PENALTIES, version_constant
from outlay.scenario import Serve

FIELD = "serve.sampling"
GREEDY = "greedy"


def sampling_s(given: Serve, engine: Engine, arch: Architecture, drafted: float, notes: Notes, without: str) -> float:
    """Seconds that choosing a token adds to a decode step for each sequence, beyond a greedy choice.

    drafted tokens are checked against filtered logits as well, so each takes what a token does.
    """
    known = "filter_logit_s" in engine.facts
    asked: str | None = given.sampling
    if asked is None:
        asked = engine.text("sampling", GREEDY)
        if known:
            notes.assume(FIELD, asked, engine.facts["sampling"].note, engine.source("sampling"))
    if asked == GREEDY:
        return 0.0
    if not known:
        notes.warn(f"{FIELD}: what {asked} takes in {engine.name} is not known and is left out")
        return 0.0
    each_s = engine.number("filter_logit_s")
    if asked == PENALTIES:
        each_s += version_constant(engine.id, PENALTIES, without)
        if engine.id in AGE_OF_PENALTIES:
            notes.warn(f"{FIELD}: {engine.name} counts tokens for penalties on the host in each step; on one device a "
                       "host short of cores sets the pace (vllm-project/vllm#13247), and the interval holds that")
    return each_s * arch.vocab * (1.0 + drafted)
