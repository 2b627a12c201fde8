"""The fine-tuning section."""
