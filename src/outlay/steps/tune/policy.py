"""What a fine-tune changes of a framework's memory policy."""

from __future__ import annotations

from msgspec import Struct

from outlay.physics.activations import HALF
from outlay.steps.tune.trained import Tuning

REDUCED_BYTES = HALF + 4.0  # of a gathered layer's gradient: 16 bits and the fp32 buffer that reduces it


class TunedPolicy(Struct, frozen=True):
    """What a fine-tune changes at the ends of the model and between moments of a step."""

    fresh_gradients: bool  # gradients are made anew in each backward, not kept in standing buffers
    table_share: float = 1.0  # 1 where the embedding is trained and its gradient made
    head_gradient_bytes: float = 0.0  # alive at the loss, a parameter of the head
    step_temporary_bytes: float = 0.0
    offload_activations: bool = False
    live_share: float = 1.0
    gathers_root: bool = True
    trained_share: float = 1.0
    reduce_share: float = 1.0
    head_trained: bool = True
    gathered_bytes: float = HALF  # of a gathered base parameter
    hidden: int = 0
    weight_copies: float | None = None  # bytes a parameter of 8-bit copies beside a frozen base; None: as trained
    made_whole: bool = False  # a quantised matrix is written out before its product


def tuned_policy(tuning: Tuning, hidden: int) -> TunedPolicy:
    """The policy of one fine-tune."""
    software = tuning.software
    chunked = bool(software.chunked_head) and tuning.head_trained
    return TunedPolicy(
        fresh_gradients=True, hidden=hidden, reduce_share=tuning.reduce_share,
        trained_share=tuning.trained_share * (HALF + software.full_gradient_bytes) / REDUCED_BYTES,
        head_trained=tuning.head_trained, gathered_bytes=tuning.wire_bytes, made_whole=tuning.made_whole,
        weight_copies=tuning.weight_copies, table_share=1.0 if tuning.embedding_trained else 0.0,
        head_gradient_bytes=2.0 * HALF if chunked else 0.0,
        step_temporary_bytes=0.0 if tuning.optimizer_in_backward else software.step_temporary_bytes,
        offload_activations=tuning.offload_activations, live_share=tuning.live_share,
        gathers_root=bool(software.gathers_root))
