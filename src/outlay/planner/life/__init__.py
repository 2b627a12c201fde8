"""All phases of a model on one calendar."""
