"""Bytes at rest: checkpoints and datasets, how long they are kept, how fast they are written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Num = float | NDArray[np.float64]


def checkpoint_bytes(parameters: Num, weight_bytes: Num, master_bytes: Num, optimizer_bytes: Num) -> Num:
    """Size of one training checkpoint: weights, master copy and optimiser state of every parameter.

    Bytes are per parameter. A 405B model with 2 + 4 + 8 bytes: 5.7 TB.

    >>> round(checkpoint_bytes(405e9, 2.0, 4.0, 8.0) / 1e12, 2)
    5.67
    """
    return parameters * (weight_bytes + master_bytes + optimizer_bytes)


def checkpoint_write_s(checkpoint_bytes: Num, write_bytes_per_s: Num) -> Num:
    """Time to write a checkpoint to storage shared by all writers.

    write_bytes_per_s: of the whole job. Llama 3's cluster sustains 2 TB/s (arXiv:2407.21783):

    >>> checkpoint_write_s(5.67e12, 2e12)
    2.835
    """
    return checkpoint_bytes / write_bytes_per_s


def checkpoint_snapshot_s(checkpoint_bytes: Num, devices: Num, host_link_bytes_per_s: Num) -> Num:
    """Time training stops for an asynchronous checkpoint: every device copies its part to host memory.

    >>> round(checkpoint_snapshot_s(5.67e12, 16_384, 25e9), 3)
    0.014
    """
    return checkpoint_bytes / (devices * host_link_bytes_per_s)


def checkpoint_stall_s(snapshot_s: Num, write_s: Num, interval_s: Num, asynchronous: Num) -> Num:
    """Time training stops for one checkpoint.

    asynchronous: 1 when writing goes on behind training, 0 when training waits for the write. Behind
    training, only what does not fit into the interval is waited for.

    >>> float(checkpoint_stall_s(1.0, 60.0, 600.0, 1)), float(checkpoint_stall_s(1.0, 60.0, 600.0, 0))
    (1.0, 60.0)
    """
    behind = snapshot_s + np.maximum(0.0, write_s - interval_s)
    stall: Num = np.where(np.asarray(asynchronous) > 0, behind, np.maximum(snapshot_s, write_s))
    return stall



def kept_bytes(checkpoint_bytes: Num, kept: Num) -> Num:
    """Bytes of the checkpoints kept at once.

    >>> kept_bytes(5.67e12, 3)
    17010000000000.0
    """
    return checkpoint_bytes * kept


def dataset_bytes(tokens: Num, bytes_per_token: Num) -> Num:
    """Size of a corpus at rest.

    bytes_per_token: 2 or 4 tokenised (16 or 32 bit), 1.7-1.8 compressed JSON lines (Dolma: 4,197 GB for
    2,415B tokens), 2.9 FineWeb parquet, 4.2-4.5 plain English text.

    >>> round(dataset_bytes(15e12, 2.9) / 1e12, 1)
    43.5
    """
    return tokens * bytes_per_token


def byte_seconds(stored_bytes: Num, stored_s: Num) -> Num:
    """Bytes times the time they are kept: what storage is billed by.

    >>> byte_seconds(1e12, 3600.0)
    3600000000000000.0
    """
    return stored_bytes * stored_s


def storage_energy_j(byte_s: Num, w_per_byte: Num) -> Num:
    """Energy of stored bytes: replicated drives turning.

    One terabyte for an hour on disk at 0.65 W/TB (Cloud Carbon Footprint methodology), unreplicated:

    >>> round(storage_energy_j(1e12 * 3600, 0.65e-12) / 3600, 2)
    0.65
    """
    return byte_s * w_per_byte
