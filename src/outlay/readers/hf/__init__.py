"""Configurations of Hugging Face models."""
