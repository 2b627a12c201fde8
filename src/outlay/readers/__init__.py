"""Other people's files and mappings → parts of a scenario."""

from outlay.readers.entry import mapping_from_entry
from outlay.readers.hf.config import read_hf_config
from outlay.readers.mapping import MODEL_FIELDS, architecture_from_mapping
from outlay.readers.model_path import model_from_path
from outlay.readers.safetensors import read_safetensors

__all__ = ["MODEL_FIELDS", "architecture_from_mapping", "mapping_from_entry", "model_from_path",
           "read_hf_config", "read_safetensors"]
