"""Headers of GGUF files: what a llama.cpp model is and what each tensor takes, without reading tensors.

Format (versions 2 and 3, little-endian): "GGUF", version, number of tensors, number of key-values; the
key-values (name, type, value); the tensors (name, dimensions, type, offset); padding to the alignment;
data. No length in the file is trusted before it is held against the bytes that are left.
"""

from __future__ import annotations

import os
import re
import struct
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct, field

from outlay.errors import Unreadable, Unsupported
from outlay.readers.gguf.types import GGML_TYPES, tensor_bytes
from outlay.readers.json_file import open_regular

MAX_KEYS = 20_000
MAX_TENSORS = 65_536
MAX_ITEMS = 1_200_000  # strings in arrays: walked one by one, so they bound the time
MAX_KEPT = 4_096  # items of a numeric array that are kept; longer ones leave their length
MAX_NAME = 1_024
MAX_HEADER_BYTES = 512 * 2**20
MAX_FILES = 1_000
_CHUNK = 1 << 20
_SPLIT = re.compile(r"^(.{1,200})-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_OUTER = {"token_embd": "embedding", "position_embd": "embedding", "output": "output"}
_LENGTH = struct.Struct("<Q")


class GgufTensor(Struct, frozen=True):
    name: str
    shape: tuple[int, ...]  # ggml order: the first dimension is contiguous
    kind: str
    elements: int
    size_bytes: int


class SkippedArray(Struct, frozen=True):
    """An array that is counted and not kept: a vocabulary, its scores, its merges."""

    length: int


class GgufFile(Struct, frozen=True, dict=True):
    """One model, all its files together."""

    path: str
    version: int
    metadata: Mapping[str, Any]
    tensors: tuple[GgufTensor, ...]
    files: tuple[str, ...]
    missing_files: int = 0
    remarks: tuple[str, ...] = field(default=())

    @property
    def architecture(self) -> str:
        value = self.metadata.get("general.architecture", "")
        return value if isinstance(value, str) else ""

    @cached_property
    def weights_bytes(self) -> int:
        return sum(t.size_bytes for t in self.tensors)

    @cached_property
    def elements(self) -> int:
        return sum(t.elements for t in self.tensors)

    @cached_property
    def bytes_by_type(self) -> dict[str, int]:
        sizes: Counter[str] = Counter()
        for tensor in self.tensors:
            sizes[tensor.kind] += tensor.size_bytes
        return dict(sizes)

    @cached_property
    def bytes_by_layer(self) -> dict[int, int]:
        """Bytes of the tensors named `blk.N.…`, by N."""
        sizes: Counter[int] = Counter()
        for tensor in self.tensors:
            layer = layer_of(tensor.name)
            if layer is not None:
                sizes[layer] += tensor.size_bytes
        return dict(sorted(sizes.items()))

    @cached_property
    def bytes_by_group(self) -> dict[str, int]:
        """Bytes of embedding, output head, attention, dense MLP, routed experts, shared experts, other."""
        sizes: Counter[str] = Counter()
        for tensor in self.tensors:
            sizes[group_of(tensor.name)] += tensor.size_bytes
        return dict(sizes)

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.weights_bytes / self.elements if self.elements else 0.0

    @cached_property
    def main_type(self) -> str:
        """The tensor type that holds the most elements: the precision a person names the file by."""
        counts: Counter[str] = Counter()
        for tensor in self.tensors:
            counts[tensor.kind] += tensor.elements
        return counts.most_common(1)[0][0] if counts else ""

    def count(self, key: str, default: int = 0) -> int:
        """A whole number of the architecture's own keys, e.g. "block_count"; arrays are not numbers."""
        value = self.metadata.get(f"{self.architecture}.{key}")
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            return default
        return value


def layer_of(name: str) -> int | None:
    """The layer a tensor belongs to.

    >>> layer_of("blk.12.attn_q.weight"), layer_of("output.weight")
    (12, None)
    """
    head, _, rest = name.partition(".")
    number = rest.partition(".")[0]
    counts = head == "blk" and number.isascii() and number.isdigit() and len(number) < 6
    return int(number) if counts else None


def group_of(name: str) -> str:
    """The part of the model that a tensor's name says it is.

    >>> group_of("blk.3.ffn_up_exps.weight"), group_of("token_embd.weight"), group_of("output.weight")
    ('experts', 'embedding', 'output')
    """
    if layer_of(name) is None:
        return _OUTER.get(name.partition(".")[0], "other")
    part = name.split(".")[2] if name.count(".") >= 2 else ""
    if "_exps" in part:
        return "experts"
    if "_shexp" in part:
        return "shared_experts"
    if "norm" in part:
        return "other"
    for start, group in (("attn", "attention"), ("ssm", "ssm"), ("ffn_gate_inp", "other"), ("ffn", "mlp")):
        if part.startswith(start):
            return group
    return "other"


class _Cursor:
    """Reads a header forwards; refuses any length beyond the file or beyond what a header may take."""

    def __init__(self, file: BinaryIO, name: str, items: list[int]) -> None:
        self.file, self.name = file, name
        self.size = os.fstat(file.fileno()).st_size
        self.buffer, self.start, self.at = b"", 0, 0  # buffer holds file[start:], at is inside it
        self.items = items  # strings that may still be walked, shared by the files of one model

    @property
    def position(self) -> int:
        return self.start + self.at

    def fail(self, why: str) -> Unreadable:
        return Unreadable(f"{self.name}: {why} (byte {self.position:,})")

    def _require(self, count: int) -> None:
        if count > self.size - self.position:
            raise self.fail(f"truncated: {count:,} bytes needed, {self.size - self.position:,} left")
        if self.position + count > MAX_HEADER_BYTES:
            raise self.fail(f"a header of more than {MAX_HEADER_BYTES // 2**20} MiB")

    def _fill(self, count: int) -> None:
        self._require(count)
        self.start += self.at
        self.file.seek(self.start)
        self.buffer, self.at = self.file.read(max(count, _CHUNK)), 0
        if len(self.buffer) < count:
            raise self.fail("truncated while reading")

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.buffer):
            self._fill(count)
        self.at += count
        return self.buffer[self.at - count : self.at]

    def skip(self, count: int) -> None:
        self._require(count)
        self.at += count
        if self.at > len(self.buffer):
            self.start, self.buffer, self.at = self.start + self.at, b"", 0

    def number(self, code: str) -> Any:
        size = struct.calcsize(code)
        if self.at + size > len(self.buffer):
            self._fill(size)
        self.at += size
        return struct.unpack_from("<" + code, self.buffer, self.at - size)[0]

    def text(self, longest: int, what: str) -> str:
        length = self.number("Q")
        if length > longest:
            raise self.fail(f"{what} of {length:,} bytes")
        try:
            return self.take(length).decode("utf-8")
        except UnicodeDecodeError:
            raise self.fail(f"{what} is not UTF-8") from None

    def prose(self) -> str:
        """A value that is text: its start is kept, the rest passed over."""
        length = self.number("Q")
        self._require(length)
        kept = self.take(min(length, MAX_KEPT))
        self.skip(length - len(kept))
        return kept.decode("utf-8", "replace")

    def pass_strings(self, count: int) -> None:
        """Step over an array of strings without keeping any."""
        self.items[0] -= count
        if self.items[0] < 0:
            raise self.fail(f"more than {MAX_ITEMS:,} strings in arrays")
        while count:
            if self.at + 8 > len(self.buffer):
                self._fill(8)
            at, last = self.at, len(self.buffer) - 8
            while count and at <= last:
                at += 8 + _LENGTH.unpack_from(self.buffer, at)[0]
                count -= 1
            beyond, self.at = max(0, at - len(self.buffer)), min(at, len(self.buffer))
            self.skip(beyond)


def read_gguf(path: str | os.PathLike[str]) -> GgufFile:
    """The header of a GGUF file; of one in several (`-00001-of-0000N.gguf`), those of all that are there.

    Raises Unreadable for anything that is not a sound header, Unsupported for other versions.
    """
    items = [MAX_ITEMS]
    first = _read_one(Path(path), items)
    split = _SPLIT.match(Path(path).name)
    count = first.metadata.get("split.count", 0)
    if not split and not (isinstance(count, int) and count > 1):
        return first
    if not split:
        return _joined(first, [first], count)
    total = int(split.group(3))
    if not 1 <= total <= MAX_FILES:
        raise Unreadable(f"{path}: one of {total:,} files; the limit is {MAX_FILES:,}")
    if isinstance(count, int) and not isinstance(count, bool) and count not in (0, total):
        raise Unreadable(f"{path}: the name says {total} files and the header {count}")
    stem = Path(path).name[: -len("-00001-of-00001.gguf")]
    parts = []
    for number in range(1, total + 1):
        other = Path(path).with_name(f"{stem}-{number:05d}-of-{total:05d}.gguf")
        if other == Path(path):
            parts.append(first)
        elif other.exists():
            parts.append(_read_one(other, items))
        if sum(len(part.tensors) for part in parts) > MAX_TENSORS:
            raise Unreadable(f"{path}: more than {MAX_TENSORS:,} tensors in its files")
    return _joined(first, parts, total)


def _joined(first: GgufFile, parts: list[GgufFile], total: int) -> GgufFile:
    """The files of one model as one; the key-values are those of the file that has the architecture's."""
    main = max(parts, key=lambda p: len(p.metadata))
    tensors = [t for part in parts for t in part.tensors]
    twice = [name for name, times in Counter(t.name for t in tensors).items() if times > 1]
    if twice:
        raise Unreadable(f"{first.path}: tensor {twice[0][:80]!r} is in two of its files")
    missing = total - len(parts)
    remarks = [remark for part in parts for remark in part.remarks]
    if missing:
        remarks.append(f"{missing} of {total} files are not there: sizes are of those that are")
    stated = main.metadata.get("split.tensors.count")
    if not missing and isinstance(stated, int) and stated != len(tensors):
        remarks.append(f"the header states {stated:,} tensors and the files hold {len(tensors):,}")
    return GgufFile(
        first.path,
        main.version,
        main.metadata,
        tuple(tensors),
        tuple(p.path for p in parts),
        missing,
        tuple(remarks),
    )


def _read_one(path: Path, items: list[int]) -> GgufFile:
    with open_regular(path) as file:
        cursor = _Cursor(file, str(path), items)
        version, tensors, keys = _preamble(cursor)
        metadata = _metadata(cursor, keys)
        listed = [_tensor(cursor) for _ in range(tensors)]
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1 or alignment > 2**20 or alignment % 8:
            raise cursor.fail("general.alignment is not a multiple of 8")
        data = -(-cursor.position // alignment) * alignment
        checked = _checked(cursor, listed, alignment, cursor.size - data)
    return GgufFile(str(path), version, metadata, checked, (str(path),))


def _preamble(cursor: _Cursor) -> tuple[int, int, int]:
    """Version, number of tensors, number of key-values."""
    if cursor.size < 24:
        raise Unreadable(f"{cursor.name}: {cursor.size} bytes, too short for a GGUF header")
    magic = cursor.take(4)
    if magic != b"GGUF":
        raise Unreadable(f"{cursor.name}: not a GGUF file (it starts with {magic!r})")
    version = cursor.number("I")
    if version not in (2, 3):
        if version and version % 2**16 == 0:
            raise Unsupported(f"{cursor.name}: a big-endian GGUF file")
        raise Unsupported(f"{cursor.name}: GGUF version {version}; 2 and 3 are read")
    tensors, keys = cursor.number("Q"), cursor.number("Q")
    if tensors > MAX_TENSORS or keys > MAX_KEYS:
        raise cursor.fail(f"states {tensors:,} tensors and {keys:,} key-values")
    return version, tensors, keys


def _metadata(cursor: _Cursor, count: int) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    for _ in range(count):
        key = cursor.text(MAX_NAME, "a key")
        if key in metadata:
            raise cursor.fail(f"key {key[:80]!r} occurs twice")
        metadata[key] = _value(cursor, cursor.number("I"))
    return metadata


def _value(cursor: _Cursor, kind: int) -> Any:
    if kind in _SCALARS:
        return cursor.number(_SCALARS[kind])
    if kind == _STRING:
        return cursor.prose()
    if kind != _ARRAY:
        raise cursor.fail(f"value of unknown type {kind}")
    inner, length = cursor.number("I"), cursor.number("Q")
    if inner == _STRING:
        cursor.pass_strings(length)
        return SkippedArray(length)
    if inner not in _SCALARS:
        raise cursor.fail(f"array of type {inner}" + (" (nested)" if inner == _ARRAY else ""))
    code = _SCALARS[inner]
    width = struct.calcsize(code)
    if length > MAX_KEPT:
        cursor.skip(length * width)
        return SkippedArray(length)
    return struct.unpack(f"<{length}{code}", cursor.take(length * width))


def _tensor(cursor: _Cursor) -> tuple[GgufTensor, int]:
    """One tensor's line and its offset into the data."""
    name = cursor.text(MAX_NAME, "a tensor name")
    dimensions = cursor.number("I")
    if not 1 <= dimensions <= 4:
        raise cursor.fail(f"tensor {name[:80]!r} has {dimensions:,} dimensions")
    shape = tuple(cursor.number("Q") for _ in range(dimensions))
    kind = GGML_TYPES.get(cursor.number("I"))
    offset = cursor.number("Q")
    elements = 1
    for side in shape:
        elements *= side
    if kind is None:
        raise cursor.fail(f"tensor {name[:80]!r} is of a type that is not known or was withdrawn")
    if not 0 < elements < 2**63:
        raise cursor.fail(f"tensor {name[:80]!r} has the shape {shape}")
    if shape[0] % kind.block_elements:
        raise cursor.fail(f"tensor {name[:80]!r}: rows of {shape[0]:,} are not whole blocks of {kind.name}")
    return GgufTensor(name, shape, kind.name, elements, tensor_bytes(kind, elements)), offset


def _checked(
    cursor: _Cursor, listed: list[tuple[GgufTensor, int]], alignment: int, data_bytes: int
) -> tuple[GgufTensor, ...]:
    """Tensors whose names differ, which lie inside the data and do not overlap."""
    if len({tensor.name for tensor, _ in listed}) != len(listed):
        raise cursor.fail("two tensors have one name")
    for tensor, offset in listed:
        if offset % alignment:
            raise cursor.fail(f"tensor {tensor.name[:80]!r} is not aligned")
        if offset + tensor.size_bytes > data_bytes:
            raise cursor.fail(
                f"tensor {tensor.name[:80]!r} ends at byte {offset + tensor.size_bytes:,} of "
                f"{max(0, data_bytes):,} of data; the file is truncated or broken"
            )
    spans = sorted((offset, offset + tensor.size_bytes) for tensor, offset in listed)
    for (_, end), (begin, _) in pairwise(spans):
        if begin < end:
            raise cursor.fail("two tensors overlap")
    return tuple(tensor for tensor, _ in listed)
