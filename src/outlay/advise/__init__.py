"""What to make of a plan: comparisons with what was seen, changes, choices."""
