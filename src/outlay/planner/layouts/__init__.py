"""Layouts: which are legal, what each takes, and the best of them."""
