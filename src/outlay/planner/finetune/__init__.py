"""Fine-tuning and post-training: the plan, its step, its layout, and what lies near."""
