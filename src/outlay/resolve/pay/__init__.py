"""The section of ways to pay."""
