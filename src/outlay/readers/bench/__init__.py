"""Result files of benchmark clients."""
