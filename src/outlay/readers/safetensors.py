"""Headers of `.safetensors` files and sharded indexes: what tensors there are, without reading their data.

Format: 8 bytes little-endian length, that many bytes of JSON (name → dtype, shape, data_offsets), then the
data.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from outlay.errors import Unreadable
from outlay.readers.fields import show
from outlay.readers.json_file import open_regular, parse_json, read_json

HEADER_BYTES = 16_000_000  # a hundred thousand tensors; the format allows 100 MB, which only a lie would need
INDEX_BYTES = 64 * 2**20
MAX_SHARDS = 10_000
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64,
    "U64": 64,
    "C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
}
_PACKED = ("U8", "I8", "I32", "U32", "I16", "U16")
Facts = dict[str, Any]


def read_safetensors(path: str | os.PathLike[str]) -> tuple[Facts, list[str]]:
    """Tensor count, elements by dtype, parameters and bytes of one file or of a sharded index (`.json`)."""
    shown = str(path)
    if shown.endswith(".json"):
        return _read_index(Path(path))
    elements, tensors, size = _read_header(path)
    return _facts(elements, tensors, size), _remarks(elements)


def _facts(elements: Counter[str], tensors: int, size: int) -> Facts:
    return {"tensors": tensors, "parameters": sum(elements.values()), "parameters_by_dtype": dict(elements),
            "bytes": size}


def _remarks(elements: Counter[str]) -> list[str]:
    packed = sorted(d for d in elements if d in _PACKED)
    if not packed:
        return []
    return [f"{', '.join(packed)} tensors are counted by element; packed quantised weights hold more "
            "parameters"]


def _read_header(path: str | os.PathLike[str]) -> tuple[Counter[str], int, int]:
    """Elements by dtype, number of tensors, bytes of data."""
    with open_regular(path) as file:
        total = os.fstat(file.fileno()).st_size
        first = file.read(8)
        if len(first) < 8:
            raise Unreadable(f"{path}: {total} bytes, too short for a safetensors header")
        length = int.from_bytes(first, "little")
        if length > HEADER_BYTES:
            raise Unreadable(f"{path}: states a header of {length:,} bytes; the limit is {HEADER_BYTES:,}")
        if length > total - 8:
            raise Unreadable(f"{path}: truncated; the header should take {length:,} bytes of {total - 8:,}")
        header = parse_json(file.read(length), str(path))
    if not isinstance(header, Mapping):
        raise Unreadable(f"{path}: the header is not a mapping of tensors")
    return _sum_tensors(header, str(path), total - 8 - length)


def _sum_tensors(header: Mapping[str, Any], name: str, data_bytes: int) -> tuple[Counter[str], int, int]:
    elements: Counter[str] = Counter()
    spans = []
    for tensor, entry in header.items():
        if tensor == "__metadata__":
            continue
        dtype, count, begin, end = _tensor(entry, f"{name}: tensor {tensor[:80]!r}")
        if end > data_bytes:
            raise Unreadable(f"{name}: tensor {tensor[:80]!r} ends at byte {end:,} of {data_bytes:,} of "
                             "data; the file is truncated or broken")
        elements[dtype] += count
        spans.append((begin, end))
    spans.sort()
    for (_, before), (after, _) in pairwise(spans):
        if after < before:
            raise Unreadable(f"{name}: two tensors overlap at byte {after:,}")
    return elements, len(spans), sum(end - begin for begin, end in spans)


def _tensor(entry: Any, where: str) -> tuple[str, int, int, int]:
    """dtype, elements, first and last byte of one header entry, checked against each other."""
    if not isinstance(entry, Mapping):
        raise Unreadable(f"{where} is {show(entry)}, not a mapping")
    dtype = entry.get("dtype")
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise Unreadable(f"{where} has dtype {show(dtype)}; known: {', '.join(sorted(_BITS))}")
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    if not isinstance(shape, list) or len(shape) > 32 or not all(_natural(n) for n in shape):
        raise Unreadable(f"{where} has shape {show(shape)}; it must be a list of whole numbers")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_natural(n) for n in offsets):
        raise Unreadable(f"{where} has data_offsets {show(offsets)}; they must be two whole numbers")
    count = 1
    for side in shape:
        count *= side
    begin, end = offsets
    if end < begin or count * _BITS[dtype] != (end - begin) * 8:
        raise Unreadable(f"{where}: {dtype} {show(shape)} does not fill bytes {begin:,} to {end:,}")
    return dtype, count, begin, end


def _natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _read_index(path: Path) -> tuple[Facts, list[str]]:
    """A sharded index; headers of its shards where they lie beside it, else the totals it states."""
    index = read_json(path, INDEX_BYTES)
    weights = index.get("weight_map") if isinstance(index, Mapping) else None
    if not isinstance(weights, Mapping) or not weights:
        raise Unreadable(f"{path}: no weight_map, so not a safetensors index")
    shards = sorted({_shard_name(name, path) for name in weights.values()})
    if len(shards) > MAX_SHARDS:
        raise Unreadable(f"{path}: {len(shards):,} shards; the limit is {MAX_SHARDS:,}")
    present = [path.parent / name for name in shards if (path.parent / name).exists()]
    if len(present) < len(shards):
        return _stated(index, len(weights), len(shards) - len(present), path)
    elements: Counter[str] = Counter()
    tensors = size = 0
    for shard in present:
        more, count, data = _read_header(shard)
        elements.update(more)
        tensors += count
        size += data
    remarks = _remarks(elements)
    if tensors != len(weights):
        remarks.append(f"the index names {len(weights):,} tensors and the shards hold {tensors:,}")
    return _facts(elements, tensors, size), remarks


def _shard_name(name: Any, path: Path) -> str:
    if not isinstance(name, str) or name in ("", ".", "..") or any(mark in name for mark in "/\\\0"):
        raise Unreadable(f"{path}: shard {show(name)} is not the name of a file beside the index")
    return name


def _stated(index: Mapping[str, Any], tensors: int, missing: int, path: Path) -> tuple[Facts, list[str]]:
    metadata = index.get("metadata")
    size = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    if isinstance(size, float) and size.is_integer():
        size = int(size)
    if not _natural(size):
        raise Unreadable(f"{path}: {missing} shards are missing and metadata states no total_size")
    facts: Facts = {"tensors": tensors, "bytes": size}
    stated = metadata.get("total_parameters") if isinstance(metadata, Mapping) else None
    if _natural(stated):
        facts["parameters"] = stated
    return facts, [f"{missing} shards are missing; totals are those the index states"]
