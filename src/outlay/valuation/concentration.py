"""How much of something few hold: shares, Herfindahl-Hirschman index, Gini coefficient."""

from __future__ import annotations

from collections.abc import Sequence


def shares(amounts: Sequence[float]) -> list[float]:
    """Parts of the whole, largest first.

    >>> shares([1, 3])
    [0.75, 0.25]
    """
    whole = sum(amounts)
    return sorted((a / whole for a in amounts), reverse=True) if whole > 0 else []


def hhi(amounts: Sequence[float]) -> float:
    """Herfindahl-Hirschman index, 0 to 10,000: the sum of squared percentages (US Merger Guidelines 2023, section 2.1).

    Markets above 1,800 are called highly concentrated there. Its own example, four firms of 30, 30, 20 and 20 %:

    >>> round(hhi([30, 30, 20, 20]))
    2600
    """
    return sum((100.0 * share) ** 2 for share in shares(amounts))


def gini(amounts: Sequence[float]) -> float:
    """Gini coefficient of amounts: 0 when all hold the same, (n-1)/n when one holds all.

    With x sorted from small to large: sum((2i - n - 1) x_i) / (n sum(x)) (Sen 1973).

    >>> gini([1, 1, 1]), round(gini([0, 0, 0, 1]), 2)
    (0.0, 0.75)
    """
    ordered = sorted(amounts)
    n, whole = len(ordered), sum(ordered)
    if n == 0 or whole <= 0:
        return 0.0
    return sum((2 * i - n - 1) * x for i, x in enumerate(ordered, 1)) / (n * whole)
