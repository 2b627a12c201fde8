"""Other people's files and mappings → parts of a scenario."""

from outlay.readers.mapping import MODEL_FIELDS, architecture_from_mapping

__all__ = ["MODEL_FIELDS", "architecture_from_mapping"]
