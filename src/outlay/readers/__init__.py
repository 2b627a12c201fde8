"""Other people's files and mappings → parts of a scenario."""

from outlay.readers.hf_config import read_hf_config
from outlay.readers.mapping import MODEL_FIELDS, architecture_from_mapping

__all__ = ["MODEL_FIELDS", "architecture_from_mapping", "read_hf_config"]
