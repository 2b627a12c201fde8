"""Headers of GGUF files."""
