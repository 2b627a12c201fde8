"""Configurations and launch lines of training software."""
