"""Serving: memory, latency under load, power, pools, and the words that start the engine."""
