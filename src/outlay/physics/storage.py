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


# ---------------------------------------------------------------- a corpus, stage by stage

def tokens_before(tokens: Num, kept: Num) -> Num:
    """Tokens that a stage must be given so that so many are left after it keeps its share.

    FineWeb's filters keep 15T of 20T tokens (arXiv:2406.17557):

    >>> tokens_before(15e12, 0.75) / 1e12
    20.0
    """
    return tokens / kept


def raw_bytes(tokens: Num, raw_bytes_per_token: Num) -> Num:
    """Compressed web archive behind so many extracted tokens.

    FineWeb: 96 snapshots of about 82 TB gave 36T tokens, 219 bytes each (arXiv:2406.17557):

    >>> round(raw_bytes(36e12, 96 * 82e12 / 36e12) / 1e15, 2)
    7.87
    """
    return tokens * raw_bytes_per_token


def cleaning_core_s(raw_bytes: Num, core_hours_per_byte: Num) -> Num:
    """Processor-core seconds to clean a web archive.

    CCNet: 8.5 hours on 5,000 cores for a snapshot of about 75 TB (arXiv:1911.00359):

    >>> round(cleaning_core_s(75e12, 8.5 * 5000 / 75e12) / 3600)
    42500
    """
    return raw_bytes * core_hours_per_byte * 3600.0


def scoring_device_s(parameters: Num, tokens: Num, peak_flop_per_s: Num, utilization: Num) -> Num:
    """Device-seconds for an encoder to read so many tokens once: 2 N FLOP a token (arXiv:2001.08361).

    A classifier of 109M parameters over 15T tokens on an H100 (989 TFLOP/s) at 15 % of its peak:

    >>> round(scoring_device_s(109e6, 15e12, 989e12, 0.15) / 3600)
    6123
    """
    return 2.0 * parameters * tokens / (peak_flop_per_s * utilization)


def object_requests(moved_bytes: Num, object_bytes: Num) -> Num:
    """Requests to write or read so many bytes in objects of one size.

    >>> object_requests(44e12, 1e9)
    44000.0
    """
    return moved_bytes / object_bytes
