"""Ways to pay for the same work, side by side."""
