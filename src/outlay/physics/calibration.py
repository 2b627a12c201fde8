"""What a few runs of one's own say of the next: a factor on a prediction, from measured over predicted.

The logarithm of measured over predicted is taken as an offset of the whole group (this model on this device with this
engine), a part that loads alike share, and the noise of a run. Groups far off are rare but not as rare as a normal law
has them, so the offset is Student's t, written as a mixture of normals (Lange, Little and Taylor, JASA 84, 1989).
Within each part of the mixture everything is normal and the posterior is that of Gaussian processes (Rasmussen and
Williams 2006, eq. 2.22-2.26, 2.30).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

from msgspec import Struct

PARTS = 12  # normals in the mixture
Z_EDGE = NormalDist().inv_cdf(0.9)


class Spreads(Struct, frozen=True):
    """Deviations of the logarithm: of the offset of a group, of what alike loads share, of one run.

    alike is how far in logarithms two loads lie when what they share has fallen to 1/e; freedom is that of Student's t.
    """

    group: float
    load: float
    run: float
    alike: float
    freedom: float


class Factor(Struct, frozen=True):
    """Measured over predicted of the next run: its median and 80 % interval."""

    value: float
    low: float
    high: float


def posterior(
    ratios: Sequence[float],
    points: Sequence[Sequence[float]],
    at: Sequence[float] | None,
    middle: float,
    spreads: Spreads,
    counts: Sequence[float] | None = None,
) -> Factor:
    """The factor at a load, from runs at others.

    ratios: measured over predicted; points: the logarithms that place each run's load, in one order; at: those of the
    load asked about, None for one unlike any. middle is the factor expected without runs. counts: runs behind each
    ratio, where it is the geometric mean of several of one load.

    With many runs of one load the factor is theirs; with none it is the prior; one run is trusted as far as it can be:

    >>> wide = Spreads(group=0.1, load=0.0, run=0.1, alike=1.0, freedom=1e6)
    >>> round(posterior([1.2], [(0.0,)], (0.0,), 1.0, wide).value, 4) == round(1.2 ** 0.5, 4)
    True
    >>> round(posterior([], [], (0.0,), 1.0, wide).high, 3) == round(math.exp(Z_EDGE * 0.1 * 2**0.5), 3)
    True
    """
    import numpy as np

    count = len(ratios)
    off = np.log(np.asarray(ratios, dtype=float)) - math.log(middle)
    where = np.asarray(points, dtype=float).reshape(count, len(points[0]) if count else len(at or ()))
    shared = spreads.load**2 * np.exp(-_apart(where, where) / spreads.alike)
    if at is None:
        toward = np.zeros(count)
    else:
        toward = spreads.load**2 * np.exp(-_apart(where, np.asarray([at], dtype=float))[:, 0] / spreads.alike)
    repeats = np.ones(count) if counts is None else np.asarray(counts, dtype=float)
    noise = shared + spreads.run**2 * np.diag(1.0 / repeats)
    alone = spreads.load**2 + spreads.run**2
    means, deviations, weights = [], [], []
    for scale in _scales(spreads.freedom):
        group = (scale * spreads.group) ** 2
        chol = np.linalg.cholesky(noise + group)
        half = np.linalg.solve(chol, off)
        cross = np.linalg.solve(chol, toward + group)
        means.append(float(cross @ half))
        deviations.append(math.sqrt(max(group + alone - float(cross @ cross), 1e-12)))
        weights.append(-0.5 * float(half @ half) - float(np.log(np.diag(chol)).sum()))
    top = max(weights)
    share = [math.exp(weight - top) for weight in weights]
    found = [_quantile(q, means, deviations, share) for q in (0.5, 0.1, 0.9)]
    return Factor(*(middle * math.exp(x) for x in found))


def _apart(first: Any, second: Any) -> Any:
    """Distance of every point of the one from every point of the other."""
    import numpy as np

    if not len(first):
        return np.zeros((0, len(second)))
    return np.sqrt(((first[:, None, :] - second[None, :, :]) ** 2).sum(axis=2))


def _scales(freedom: float) -> list[float]:
    """Deviations of the normals that together make Student's t of deviation-like scale one: sqrt(freedom/chi²).

    The quantiles of chi² are Wilson and Hilferty's (PNAS 17, 1931).
    """
    from statistics import NormalDist

    third = 2.0 / (9.0 * freedom)
    chi = [(1.0 - third + NormalDist().inv_cdf((i + 0.5) / PARTS) * math.sqrt(third)) ** 3 for i in range(PARTS)]
    return [math.sqrt(1.0 / max(c, 1e-3)) for c in chi]


def _quantile(q: float, means: Sequence[float], deviations: Sequence[float], weights: Sequence[float]) -> float:
    """Of a mixture of normals, by halving."""
    total = sum(weights)
    low = min(m - 12.0 * d for m, d in zip(means, deviations, strict=True))
    high = max(m + 12.0 * d for m, d in zip(means, deviations, strict=True))
    for _ in range(60):
        middle = 0.5 * (low + high)
        below = sum(w * 0.5 * math.erfc((m - middle) / (d * math.sqrt(2.0)))
                    for m, d, w in zip(means, deviations, weights, strict=True)) / total
        low, high = (middle, high) if below < q else (low, middle)
    return 0.5 * (low + high)


def load_point(
    in_flight: float, prompt_tokens: float, output_tokens: float, devices: float, weight_bytes: float
) -> tuple[float, ...]:
    """Where a load on a replica lies among others: logarithms of requests in flight a device, of both lengths, of
    devices, and half the binary logarithm of how much narrower weights are than 16 bits.

    >>> load_point(32, 1, 1, 4, 1.0)[0] == math.log(8), load_point(32, 1, 1, 4, 1.0)[-1]
    (True, 0.5)
    """
    return (math.log(max(in_flight, 1e-6) / devices), math.log(max(prompt_tokens, 1.0)),
            math.log(max(output_tokens, 1.0)), math.log(devices), 0.5 * math.log2(2.0 / max(weight_bytes, 1e-3)))
