"""What an engine makes of the parts of its steps: decode steps, passes of prompts, launches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlay.physics import num
from outlay.physics.queueing import accepted_tokens
from outlay.steps.serve.launches import is_eager, step_launches_s
from outlay.steps.serve.time_inputs import EngineTime
from outlay.steps.serve.time_parts import Parts

Num = Any


def decode_step_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """One decode step: device parts as this engine's kernels do them, and the host's share."""
    c = constants.__getitem__
    device = num.maximum(_decoding_s(parts, constants), _launches_s(parts, constants))
    # One stage hands out the tokens of all passes in the pipeline, one pass after another.
    return device + parts.flight * (c("step_s") + parts.sequences * c("sequence_s"))


def _decoding_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """The device's work of a decode step, small kernels with it."""
    c = constants.__getitem__
    return _passing_s(parts, constants) + c("reading") * (parts.reading + parts.reading_floor)


def _passing_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """The same without attention; where each kernel is launched, a step's take as long as one's with a prompt in it."""
    eager = _mixed_s(parts, constants) if is_eager(constants) else 0.0
    return parts.decode.total(constants.__getitem__) + _kernels_s(parts, constants) + eager


def _kernels_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """Small kernels of all layers."""
    c = constants.__getitem__
    return parts.layers * c("layer_s") + parts.expert_layers * c("expert_layer_s")


def _mixed_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """What a step takes longer whose kernels are launched one by one, beside those that the device waits for."""
    c = constants.__getitem__
    return parts.layers * c("mixed_layer_s") + parts.expert_layers * c("mixed_expert_layer_s")


def _launches_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    return step_launches_s(parts.layers, parts.expert_layers, parts.mixer_layers, constants)


def shorter_s(parts: Parts, engine: EngineTime) -> tuple[Num, Num]:
    """How much sooner a token is answered for each of those inside that is away from its step, and at most.

    Straight between a step of all and one of fewer; one is always in it. Where each kernel is launched, only down to
    the launches.
    """
    c = engine.constants.__getitem__
    passes = (parts.decode.routed(c) - parts.few.routed(c)) / num.maximum(parts.sequences - parts.fewer, 1e-9)
    own = c("reading") * parts.reading + parts.flight * parts.sequences * c("sequence_s")
    each, tokens = passes + own / parts.sequences, steps_a_token(engine)
    most = num.maximum(_decoding_s(parts, engine.constants) - _launches_s(parts, engine.constants), 0.0)
    return each * tokens, num.minimum(each * num.maximum(parts.sequences - 1.0, 0.0), most) * tokens


def pass_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """A pass that answers nobody, which prompts are added to where no decode step carries them."""
    return num.maximum(_passing_s(parts, constants), _launches_s(parts, constants)) + constants["step_s"]


def bare_s(parts: Parts, constants: Mapping[str, Num], prompts: Num, steps: Num) -> Num:
    """Passes of so many prompts that none of so many decode steps carries: each is a step that answers nobody.

    What a prompt adds to a step (`inside_s`) comes on top; where prompts run in steps of their own that is all.
    """
    if parts.own_steps:
        return 0.0
    return num.maximum(prompts * parts.shared_chunks / parts.together_all - steps, 0.0) * pass_s(parts, constants)


def answered_s(parts: Parts, engine: EngineTime, hops_s: Num = 0.0) -> Num:
    """Decode time of one answered token: a step with its drafting, over the tokens it yields."""
    return (decode_step_s(parts, engine.constants) + hops_s) * steps_a_token(engine)


def steps_a_token(engine: EngineTime) -> Num:
    """Decode steps, drafting counted in, over the tokens they yield."""
    return (1.0 + engine.drafted * engine.draft_share) / accepted_tokens(engine.acceptance, engine.drafted)


def prompt_s(parts: Parts, constants: Mapping[str, Num], alone: bool) -> Num:
    """A prompt in its chunks: alone (all of a static batch's), or what it adds to the decode steps that carry it."""
    return alone_s(parts, constants) if alone else inside_s(parts, constants)


def alone_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """First tokens of prompts processed at once while nothing else runs: their chunks, and launching them."""
    return passes_s(parts, constants) + parts.chunks * launched_s(parts, constants)


def passes_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """How long those prompts keep an engine: their chunks, each with what its pass costs the host."""
    c = constants.__getitem__
    return (
        parts.chunks * parts.alone.total(c) + parts.at_once * c("prompt_attention") * parts.prompt_attention
        + parts.chunks * _launch_s(parts, constants)
    )


def inside_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """What one prompt adds to the decode steps that carry it and those that come with it, of whichever rank."""
    return inside_and_met_s(parts, constants)[0]


def inside_and_met_s(parts: Parts, constants: Mapping[str, Num]) -> tuple[Num, Num]:
    """The same, and what those steps take longer that carry one's own prompt and those that come with it."""
    own, routed = _carried_s(parts, constants)
    met = own * (parts.met / parts.together) + routed * (parts.met_all / parts.together_all)
    return (own + routed) / parts.together_all, met


def carried_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """What decode steps that carry prompts take longer."""
    own, routed = _carried_s(parts, constants)
    return own + routed


def _carried_s(parts: Parts, constants: Mapping[str, Num]) -> tuple[Num, Num]:
    """What decode steps that carry prompts take longer: by the rank with most of them, and by those of all ranks."""
    c = constants.__getitem__
    if parts.own_steps:
        own, routed = parts.mixed.own(c) + _launch_s(parts, constants), parts.mixed.routed(c)
    else:
        own, routed = _more_s(parts, constants)
    attention = parts.together * c("prompt_attention") * parts.prompt_attention
    return parts.shared_chunks * own + attention, parts.shared_chunks * routed


def _more_s(parts: Parts, constants: Mapping[str, Num]) -> tuple[Num, Num]:
    """What a decode step takes longer with a chunk of prompts in it: a rank's own, and all ranks'."""
    c = constants.__getitem__
    own = num.maximum(parts.mixed.own(c) - parts.decode.own(c), 0.0)
    routed = num.maximum(parts.mixed.routed(c) - parts.decode.routed(c), 0.0)
    joint = joint_s(parts.joint, parts.reading, constants)
    if is_eager(constants):  # launched in any case, while the device waits
        spare = num.maximum(_launches_s(parts, constants) - _decoding_s(parts, constants), 0.0)
        return num.maximum(own + joint - spare, -routed), routed
    return own + _mixed_s(parts, constants) + joint, routed


def joint_s(joint: Num, reading: Num, constants: Mapping[str, Num]) -> Num:
    """What attention of those that run takes more in a step that carries a prompt."""
    return num.maximum(constants["prompt_attention"] * joint - constants["reading"] * reading, 0.0)


def burst_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """Prompts of all that run, coming at once."""
    c = constants.__getitem__
    attention = parts.inside * c("prompt_attention") * parts.prompt_attention
    return parts.burst_chunks * (parts.burst.total(c) + _launch_s(parts, constants)) + attention


def first_wave_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """Mean time until the prompts of all that run are through, which come at once: the first passes alone while others
    are read, the last with the last pass."""
    return 0.5 * (passes_s(parts, constants) + num.maximum(burst_s(parts, constants), passes_s(parts, constants)))


def _launch_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """What a pass with prompts in it takes beside its products: small kernels, their launches and scheduling."""
    return _kernels_s(parts, constants) + _mixed_s(parts, constants) + constants["step_s"]


def launched_s(parts: Parts, constants: Mapping[str, Num]) -> Num:
    """Launching a prompt's kernels one by one, a pass, beyond what an engine's steps take longer with a prompt in them.

    A prompt's own first token waits for it. Tokens of others do not (mixed_layer_s and mixed_expert_layer_s are what
    they wait): the host launches while the device is at the step before.
    """
    c = constants.__getitem__
    layer, experts = c("prompt_layer_s") - c("mixed_layer_s"), c("prompt_expert_layer_s") - c("mixed_expert_layer_s")
    mixers = parts.mixer_layers * c("prompt_mixer_layer_s")
    return parts.layers * layer + parts.expert_layers * experts + mixers
