"""What fine-tuning changes of a step."""
