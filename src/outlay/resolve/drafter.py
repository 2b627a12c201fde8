"""What drafts tokens beside the model: prediction layers of its own, one layer, or a small model."""

from __future__ import annotations

from msgspec import Struct

from outlay.architecture import Architecture, LayerKind
from outlay.catalog import Catalog
from outlay.errors import BadValue
from outlay.model_size import layer_parts
from outlay.physics.weights import WIDE_BYTES
from outlay.resolve.model import resolve_model
from outlay.resolve.notes import Notes
from outlay.scenario import Speculative

FIELD = "serve.speculative"


class Drafter(Struct, frozen=True):
    """Weights in 16 bits, those that one drafted token reads, and the layers whose cache stands beside the model's."""

    weight_bytes: float = 0.0
    read_bytes: float = 0.0
    kinds: tuple[tuple[LayerKind, int], ...] = ()


def resolve_drafter(given: Speculative | None, arch: Architecture, catalog: Catalog, notes: Notes) -> Drafter:
    """The drafter of a speculative method; n-grams need none."""
    if given is None:
        return Drafter()
    last = arch.runs[-1][0]
    if given.method == "mtp":
        if not arch.mtp_layers:
            notes.warn(f"{FIELD}: {arch.name} has no prediction layers that are known")
        # One prediction layer drafts every token, however many are drafted.
        read = _layer_read(arch, last) if arch.mtp_layers else 0.0
        return Drafter(
            arch.mtp_parameters * WIDE_BYTES, read, ((last, arch.mtp_layers),) if arch.mtp_layers else ()
        )
    if given.method == "eagle":
        layer = layer_parts(last, arch.hidden, arch.norm)
        whole = (layer.total - layer.experts + 2 * arch.hidden**2) * WIDE_BYTES
        return Drafter(whole, whole + _head_bytes(arch), ((last, 1),))
    if given.method == "draft":
        if given.draft_model is None:
            raise BadValue(f"{FIELD}.draft_model: name the model that drafts", f"{FIELD}.draft_model")
        small, _ = resolve_model(given.draft_model, catalog, notes)
        return Drafter(small.parameters * WIDE_BYTES, small.active_parameters * WIDE_BYTES, small.groups)
    return Drafter()


def _layer_read(arch: Architecture, kind: LayerKind) -> float:
    """Bytes that one token reads of a prediction layer: where both inputs join, active weights, the model's head."""
    layer = layer_parts(kind, arch.hidden, arch.norm)
    return (layer.active + 2 * arch.hidden**2) * WIDE_BYTES + _head_bytes(arch)


def _head_bytes(arch: Architecture) -> float:
    return float(arch.vocab * arch.hidden * WIDE_BYTES)
