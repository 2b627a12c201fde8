"""Power of a device between idle and rated, and of the node around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from outlay.physics import num

Num = float | NDArray[np.float64]


def compute_activity(flop: Num, seconds: Num, peak_flop_per_s: Num) -> Num:
    """Share of the dense peak that is used, recomputation counted: what heats the arithmetic units.

    Llama 3 405B at 400 TFLOP/s a device in bf16 (arXiv:2407.21783) on H100's 989:

    >>> round(float(compute_activity(400e12, 1.0, 989e12)), 2)
    0.4
    """
    share: Num = num.minimum(1.0, flop / (seconds * peak_flop_per_s))
    return share


def memory_activity(moved_bytes: Num, seconds: Num, memory_bytes_per_s: Num) -> Num:
    """Share of the memory bandwidth that is used: what heats the memory and its interface.

    Reading 16 GB of weights every 8 ms on an H100 (3.35 TB/s):

    >>> round(float(memory_activity(16e9, 8e-3, 3.35e12)), 2)
    0.6
    """
    share: Num = num.minimum(1.0, moved_bytes / (seconds * memory_bytes_per_s))
    return share


def activity_level(compute_activity: Num, memory_activity: Num, compute_weight: Num, memory_weight: Num,
                   memory_exponent: Num, compute_exponent: Num = 1.0, busy: Num = 0.0) -> Num:
    """How far between idle and its ceiling a device's power is: min(1, wc c^y + wm m^x + busy).

    Exponents below one say that little work already costs: units that wait for operands are clocked too. busy is
    what kernels that keep units occupied beyond their useful work add, such as experts of few rows each.

    >>> float(activity_level(0.4, 0.0, 2.57, 0.97, 0.6))
    1.0
    >>> round(float(activity_level(0.0, 0.6, 2.57, 0.97, 0.6)), 2)
    0.71
    """
    level: Num = num.minimum(1.0, compute_weight * num.power(compute_activity, compute_exponent)
                            + memory_weight * num.power(memory_activity, memory_exponent) + busy)
    return level


def clock_share(cap_w: Num, demand_w: Num, idle_w: Num, exponent: Num) -> Num:
    """Share of its clock that a device keeps where a power cap is below what the work would draw.

    Dynamic power goes with frequency times voltage squared. Where voltage follows frequency that is the third power
    of the clock, at the voltage's floor the first: share = ((cap - idle) / (demand - idle))^(1/exponent). An H100 that
    prompts would take to 647 W, held to half its 700 W, keeps 0.70 of its clock with the second power; Splitwise
    (ISCA 2024, section III) measured whole prompts, a part of which is arithmetic, 1.3 times as long and answers,
    which draw less than the cap, as fast as before:

    >>> round(float(clock_share(350.0, 647.0, 70.7, 2.0)), 2), round(float(clock_share(350.0, 647.0, 70.7, 3.0)), 2)
    (0.7, 0.79)
    >>> float(clock_share(350.0, 340.0, 70.7, 2.0))
    1.0
    """
    room = num.maximum(cap_w - idle_w, 0.0) / num.maximum(demand_w - idle_w, 1e-9)
    share: Num = num.minimum(1.0, num.power(room, 1.0 / exponent))
    return share


def device_power_w(rated_w: Num, level: Num, idle_share: Num, ceiling_share: Num, cap_w: Num) -> Num:
    """Mean power of a device: idle + (ceiling - idle) x activity level, never above its cap.

    rated_w: board power; idle_share and ceiling_share: power without work and under full work, over rated;
    cap_w: a set limit (rated_w when none). With constants fitted on A100 (static batches of a 70B model,
    Splitwise, ISCA 2024) and B200 (steady-state serving) the same formula gives H100 serving with a median
    error of 9 %, p90 18 %, bias +9 % (tools/fit_power.py). An H100 in training:

    >>> round(float(device_power_w(700.0, 1.0, 0.105, 0.955, 700.0)))
    668
    >>> float(device_power_w(700.0, 1.0, 0.105, 0.955, 500.0))
    500.0
    """
    power: Num = num.minimum(cap_w, rated_w * (idle_share + (ceiling_share - idle_share) * level))
    return power


def node_power_w(device_w: Num, devices_per_node: Num, host_factor: Num) -> Num:
    """Power of a node at its plugs: its devices times the host factor.

    Eight H100 at 668 W and a factor of 1.35 are 7.2 kW; Dell measured 7.10 kW (AC mean of a node over
    MLPerf Training v4.1 Llama 2 70B LoRA on eight nodes).

    >>> round(float(node_power_w(668.0, 8, 1.35)))
    7214
    """
    return device_w * devices_per_node * host_factor


def host_factor(node_w: Num, device_w: Num, devices_per_node: Num) -> Num:
    """Node power over the power of its devices.

    A DGX H100 at its rated 10.2 kW: 1.82, an upper edge since fans and CPUs rarely run at rating.

    >>> round(float(host_factor(10_200.0, 700.0, 8)), 2)
    1.82
    """
    return node_w / (device_w * devices_per_node)
