"""The degrees a serving phase gives → layouts that can be, of one kind of replica or of two pools."""

from __future__ import annotations

from msgspec import Struct

from outlay.architecture import Architecture
from outlay.errors import Inconsistent, near
from outlay.resolve.engines import Engine
from outlay.resolve.serve.scale import most_field
from outlay.scenario import Disaggregated, Fleet, Pool, Serve
from outlay.steps.serve.inputs import ServeLayout

PARALLEL = ("tensor", "pipeline", "expert", "data", "decode_context_parallel", "replicas")


class PoolLayout(Struct, frozen=True):
    """One pool of a disaggregated deployment; sequences None keeps the phase's own."""

    name: str
    layout: ServeLayout
    replicas: int
    sequences: int | None

    @property
    def devices(self) -> int:
        return self.replicas * int(self.layout.devices)


def whole_layout(given: Serve, fleet: Fleet, engine: Engine, arch: Architecture) -> ServeLayout:
    """The layout of every replica; pipeline takes all devices where an engine splits by layers."""
    split = given.pipeline is None and given.tensor is None and engine.number("layer_split")
    pipeline = min(fleet.devices, arch.layers) if split else int(given.pipeline or 1)
    layout = _checked(given, pipeline, int(given.decode_context_parallel or 1), arch, "serve")
    _enough(int(given.replicas or 1) * int(layout.devices), fleet, most_field(given) or "serve.tensor")
    return layout


def pool_layouts(given: Serve, fleet: Fleet, arch: Architecture) -> tuple[PoolLayout, ...]:
    """The pools of a disaggregated deployment; the fields of a whole one must be absent."""
    if given.disaggregated is None:
        return ()
    for name in PARALLEL:
        if getattr(given, name) is not None:
            raise Inconsistent(
                f"serve.{name}: each pool of serve.disaggregated has its own; leave it out here",
                f"serve.{name}",
            )
    pools = []
    for name in ("prefill", "decode"):
        pool: Pool = getattr(given.disaggregated, name)
        path = f"serve.disaggregated.{name}"
        layout = _checked(pool, int(pool.pipeline or 1), 1, arch, path)
        pools.append(PoolLayout(name, layout, int(pool.replicas or 1), pool.max_num_seqs))
    _enough(sum(pool.devices for pool in pools), fleet, most_field(given) or "serve.disaggregated")
    return tuple(pools)


def given_layouts(
    given: Disaggregated | None, arch: Architecture
) -> tuple[ServeLayout | None, ServeLayout | None]:
    """Of pools that are searched for: the layout of each that has degrees; None where they are open."""
    if given is None:
        return None, None
    first, second = (None if all(getattr(pool, degree) is None for degree in PARALLEL[:4]) else
                     _checked(pool, int(pool.pipeline or 1), 1, arch, f"serve.disaggregated.{name}")
                     for name, pool in (("prefill", given.prefill), ("decode", given.decode)))
    return first, second


def _enough(devices: int, fleet: Fleet, field: str) -> None:
    if devices > fleet.devices:
        raise Inconsistent(
            f"{field}: replicas of this layout are {devices} devices, more than the {fleet.devices} of the fleet",
            field,
        )


def _checked(given: Serve | Pool, pipeline: int, context: int, arch: Architecture, path: str) -> ServeLayout:
    """Degrees that divide what they split; Inconsistent names the field that does not."""
    tensor, data, expert = int(given.tensor or 1), int(given.data or 1), int(given.expert or 1)
    heads = max((k.heads for k, _ in arch.groups if k.mixer in ("attention", "mla")), default=tensor)
    if pipeline > arch.layers:
        field = f"{path}.pipeline"
        raise Inconsistent(f"{field}: {pipeline} stages are more than the {arch.layers} layers", field)
    for value, whole, field, what in (
        (tensor, heads, "tensor", f"the {heads} heads"),
        (expert, tensor * data, "expert", f"tensor x data, {tensor * data}"),
        (context, tensor, "decode_context_parallel", f"tensor, {tensor}"),
    ):
        if whole % value:
            hint = near(value, (n for n in range(1, whole + 1) if whole % n == 0))
            ranks = "; attention ranks (data) need not divide them" if field == "tensor" else ""
            raise Inconsistent(f"{path}.{field}: {value} does not divide {what}; {hint}{ranks}", f"{path}.{field}")
    return ServeLayout(tensor, pipeline, expert, data, context)
