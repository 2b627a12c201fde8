"""The serving section and its load."""
