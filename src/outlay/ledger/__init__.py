"""Lines at rest: exports other programs read, and bills set against plans."""
