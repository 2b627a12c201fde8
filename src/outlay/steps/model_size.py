"""Parameters of a model and its parts, under the name the other compositions import."""

from outlay.model_size import (
    LayerParts,
    ModelParts,
    active_parameters,
    layer_parts,
    model_parameters,
    model_parts,
)

__all__ = ["LayerParts", "ModelParts", "active_parameters", "layer_parts", "model_parameters", "model_parts"]
