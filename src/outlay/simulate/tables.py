"""Tables of a simulation as CSV or Parquet: what each column is, and how it is written."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from outlay.errors import BadValue, Unsupported

Column = NDArray[Any]
FORMS = ("csv", "parquet")
ROWS = 100_000  # written at once


def table_form(path: str, field: str = "output") -> str:
    """csv or parquet, by the ending of a file's name; what Parquet needs must be there.

    >>> table_form("requests.csv")
    'csv'
    """
    form = Path(path).suffix.lower().lstrip(".")
    if form not in FORMS:
        raise BadValue(f"{Path(path).name}: a table is written as .csv or .parquet", field)
    if form == "parquet":
        _pyarrow(path, field)
    return form


def write_table(stream: IO[bytes], columns: Mapping[str, Column], form: str) -> None:
    """Columns to an open file. What is not known of a row (the times of a refused request) is empty."""
    if form == "parquet":
        pa, pq = _pyarrow("", "output")
        pq.write_table(pa.table({name: pa.array(column, from_pandas=True) for name, column in columns.items()}), stream)
        return
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow(columns)
    rows = len(next(iter(columns.values())))
    for start in range(0, rows, ROWS):
        parts = [_cells(column[start : start + ROWS]) for column in columns.values()]
        writer.writerows(zip(*parts, strict=True))
    text.flush()
    text.detach()


def _cells(column: Column) -> list[Any]:
    if column.dtype.kind != "f" or not np.isnan(column).any():
        return list(column.tolist())
    return ["" if value != value else value for value in column.tolist()]


def _pyarrow(path: str, field: str) -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise Unsupported(f"{Path(path).name}: Parquet needs pyarrow; pip install 'outlay[parquet]', or write .csv",
                          field) from None
    return pa, pq
