"""Compositions of serving: memory, time, power, pools."""
