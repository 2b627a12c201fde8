"""Pre-training: the plan of a run, its layout, and what lies near."""
