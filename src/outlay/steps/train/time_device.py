"""A device running one kind of training software: formulas with its limits and constants bound."""

from __future__ import annotations

from typing import Any

from outlay.architecture import LayerKind
from outlay.derive import derive
from outlay.physics import collectives, roofline
from outlay.steps.efficiency import ELEMENT_BYTES, Efficiency, framework_class
from outlay.steps.inputs import Hardware, Recipe
from outlay.steps.layers import HALF, Shape

Num = Any  # float, array or Quantity


def product(a: Any, b: Any) -> Any:
    """One quantity times another."""
    return a * b


def _passes(moved: Any, passes: Any, routed: Any, routing_passes: Any) -> Any:
    """Bytes moved, by how often this software passes over them; routing tokens to experts apart."""
    return moved * passes + routed * routing_passes


class Device:
    """A device running one kind of software: the formulas with its constants bound."""

    def __init__(self, hw: Hardware, recipe: Recipe) -> None:
        self.hw, self.recipe = hw, recipe
        self.efficiency: Efficiency = hw.efficiency
        self.framework = "xla" if self.efficiency.generation == "tpu" else framework_class(recipe)
        self.element_bytes = ELEMENT_BYTES.get(recipe.precision, HALF)
        self.activation_bytes = max(self.element_bytes, HALF)  # what is kept out of 8 bits stays in 16
        wide = self.element_bytes > HALF
        self.wide_peak = hw.peak_flop_per_s if wide else hw.peak_flop_per_s_16bit
        self.core_peak = derive(
            roofline.power_capped_peak,
            f"{'32' if wide else '16'}-bit peak under the power cap",
            "FLOP/s",
            peak_flop_per_s=self.wide_peak,
            power_limit_ratio=hw.power_limit_ratio,
            exponent=self.constant("power.exponent"),
        )

    def constant(self, name: str) -> Num:
        return self.efficiency.value(name, self.framework)

    def matmuls(self, shapes: tuple[Shape, ...], label: str, ratio: str = "matmul", low: bool = True) -> Num:
        """Matrix multiplications in the recipe's precision; at least in 16 bits where low is False."""
        if not shapes:
            return 0.0
        low = low and self.element_bytes < HALF
        grid = self.efficiency.grid(self.recipe.precision if low else "bf16")
        width = "16bit" if not low else "8bit" if self.element_bytes > 0.9 else "4bit"
        return derive(
            roofline.matmul_time_s,
            label,
            "s",
            shapes=shapes,
            element_bytes=self.element_bytes if low else self.activation_bytes,
            peak_flop_per_s=self.hw.peak_flop_per_s if low else self.wide_peak,
            sustained_flop_per_s=self.sustained(width),
            memory_bytes_per_s=self.hw.memory_bytes_per_s,
            grid=grid,
            ratio=self.constant(f"{ratio}.{width}"),
            kernel_gap_s=self.constant("kernel.gap_s"),
            rows_half=self.constant("experts.rows_half") if ratio == "experts" else 0.0,
        )

    def sustained(self, width: str) -> Num:
        return derive(
            roofline.sustained_flop_per_s,
            f"arithmetic the power budget feeds, {width}",
            "FLOP/s",
            power_w=self.hw.power_w,
            power_limit_ratio=self.hw.power_limit_ratio,
            flop_per_joule=self.constant(f"flop_per_joule.{width}"),
        )

    def traffic(self, moved: Num, routed: Num, label: str) -> Num:
        """Kernels that only move bytes, as often as this software passes over them."""
        times = derive(
            _passes,
            f"{label}: bytes",
            "B",
            moved=moved,
            passes=self.constant("traffic.ratio"),
            routed=routed,
            routing_passes=self.constant("routing.ratio"),
        )
        return derive(
            roofline.traffic_time_s,
            label,
            "s",
            traffic_bytes=times,
            memory_bytes_per_s=self.hw.memory_bytes_per_s,
            memory_utilisation=self.constant("memory.utilisation"),
        )

    def core(self, kind: LayerKind, flop: Num, moved: Num, context: Num, direction: str) -> Num:
        """Attention or scan, forward or backward."""
        if kind.mixer == "none":
            return 0.0
        flavour = "attention" if kind.mixer in ("attention", "mla") else "scan"
        if flavour == "attention" and self.recipe.attention == "unfused":
            flavour = "unfused"
        flop = derive(
            collectives.slowest_share,
            f"{flavour}, {direction}: arithmetic of the busiest rank",
            "FLOP",
            mean=flop,
            context=context,
            imbalance=self.constant("context.imbalance"),
        )
        return derive(
            roofline.attention_time_s,
            f"{flavour}, {direction}",
            "s",
            flop=flop,
            traffic_bytes=moved,
            peak_flop_per_s=self.core_peak,
            memory_bytes_per_s=self.hw.memory_bytes_per_s,
            utilisation=self._core_utilisation(flavour, direction),
            memory_utilisation=self.constant("memory.utilisation"),
        )

    def _core_utilisation(self, flavour: str, direction: str) -> Num:
        forward = self.constant(f"{flavour}.forward")
        if direction == "forward":
            return forward
        return derive(
            product,
            f"{flavour}, utilisation backward",
            "",
            a=forward,
            b=self.constant("attention.backward_ratio"),
        )

    def links(self, operation: str) -> dict[str, Num]:
        """Link speeds and latencies a collective reaches; operation is reduce, gather, all_to_all or
        message.
        """
        fast = derive(
            product,
            f"fast link, {operation}",
            "B/s",
            a=self.hw.fast_bytes_per_s,
            b=self.constant(f"link.{operation}"),
        )
        slow = derive(
            product,
            f"slow link, {operation}",
            "B/s",
            a=self.hw.slow_bytes_per_s,
            b=self.constant(f"network.{operation}"),
        )
        latency = "network.hop_s" if operation == "gather" else "network.latency_s"
        return {
            "fast_bytes_per_s": fast,
            "slow_bytes_per_s": slow,
            "fast_latency_s": self.constant("link.latency_s"),
            "slow_latency_s": self.constant(latency),
        }

    def exposed(self, communication: Num, window: Num, overlap: str, label: str) -> Num:
        return derive(
            collectives.exposed_s,
            label,
            "s",
            communication_s=communication,
            window_s=window,
            overlap=self.constant(overlap),
        )
