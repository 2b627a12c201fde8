"""Compositions of a training step: memory and time."""
