"""Scaling laws: loss of a model by parameters and tokens, and the split of compute that lowers it most."""

from __future__ import annotations

from typing import Any

FLOP_PER_PARAMETER_TOKEN = 6.0  # forward and backward, without attention


def training_flop(parameters: Any, tokens: Any) -> Any:
    """FLOP of training: 6 N D (Kaplan et al. 2020, arXiv:2001.08361; Hoffmann et al. 2022, arXiv:2203.15556).

    >>> round(training_flop(70e9, 1.4e12) / 1e23, 2)
    5.88
    """
    return FLOP_PER_PARAMETER_TOKEN * parameters * tokens


def loss(parameters: Any, tokens: Any, floor: Any, a: Any, b: Any, alpha: Any, beta: Any) -> Any:
    """Loss in nats a token: L = E + A/N^alpha + B/D^beta (Hoffmann et al. 2022, eq. 2).

    With the constants of Besiroglu et al. 2024 (arXiv:2404.10102), Chinchilla, 70B on 1.4T tokens:

    >>> round(loss(70e9, 1.4e12, 1.8172, 482.01, 2085.43, 0.3478, 0.3658), 3)
    1.974
    """
    return floor + a / parameters**alpha + b / tokens**beta


def optimal_parameters(flop: Any, a: Any, b: Any, alpha: Any, beta: Any) -> Any:
    """Parameters of least loss for a compute C: G (C/6)^(beta/(alpha+beta)), G = (alpha A/(beta B))^(1/(alpha+beta)).

    Hoffmann et al. 2022, eq. 4, with the constants of Besiroglu et al. 2024. Table 3 of the former puts 67B at
    5.76e23 FLOP:

    >>> round(optimal_parameters(5.76e23, 482.01, 2085.43, 0.3478, 0.3658) / 1e9, 1)
    72.2
    """
    whole = alpha + beta
    return (alpha * a / (beta * b)) ** (1.0 / whole) * (flop / FLOP_PER_PARAMETER_TOKEN) ** (beta / whole)


def optimal_tokens(flop: Any, a: Any, b: Any, alpha: Any, beta: Any) -> Any:
    """Tokens of least loss for a compute: what is left of it, C / (6 N).

    Table 3 of Hoffmann et al. 2022 trains 67B on 1.5T tokens with 5.76e23 FLOP:

    >>> round(optimal_tokens(5.76e23, 482.01, 2085.43, 0.3478, 0.3658) / 1e12, 2)
    1.33
    """
    return flop / (FLOP_PER_PARAMETER_TOKEN * optimal_parameters(flop, a, b, alpha, beta))


def parameters_at_ratio(flop: Any, tokens_per_parameter: Any) -> Any:
    """Parameters of a model trained on so many tokens a parameter: sqrt(C / (6 r)).

    >>> round(parameters_at_ratio(5.88e23, 20) / 1e9, 1)
    70.0
    """
    return (flop / (FLOP_PER_PARAMETER_TOKEN * tokens_per_parameter)) ** 0.5
