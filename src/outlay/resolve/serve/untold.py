"""Pools whose replicas nobody told: one of each is planned, and times span what deployers choose."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from outlay.catalog.store import DATA
from outlay.derive import Quantity, normal_draws
from outlay.resolve.fleet import fleet_record
from outlay.resolve.notes import Notes
from outlay.resolve.serve.fitted import spans
from outlay.resolve.serve.scale import with_most
from outlay.scenario import Fleet, Serve

CONSTANTS = DATA / "serve_pool_constants.csv"
FIELD = "serve.disaggregated.prefill.replicas, decode.replicas"


class Untold(Struct, frozen=True):
    """Replicas of prompts over replicas of answers, as deployers choose them by what each pool has to do.

    even: where one replica of each is equally busy; exponent: of prompts' load over answers'; spread: deviation of
    its logarithm. The smaller pool has one replica. most: of each, as far as the fleet holds them.
    """

    even: float
    exponent: float
    spread: float
    most: tuple[float, float]
    seed: int

    def ratio(self, busier: float) -> Quantity:
        """Around one of each, nominally. busier: load of the prompt pool over that of the other, with one of each."""
        middle = np.log(self.even) + self.exponent * np.log(busier)
        drawn = np.exp(middle + self.spread * normal_draws(self.seed, "serve.pools.replicas"))
        drawn = np.clip(drawn, 1.0 / self.most[1], self.most[0])
        return Quantity(1.0, "ratio", "replicas of prompts over replicas of answers, not told", samples=drawn,
                        sources=("serve_pool_constants: published deployments of two pools",), basis="assumed")


def is_told(given: Serve | None) -> bool:
    """Whether pools say how many replicas they have, either of them; the most that may be are so many."""
    pools = None if given is None else with_most(given).disaggregated
    return pools is None or pools.prefill.replicas is not None or pools.decode.replicas is not None


def is_uncounted(named: str | Fleet | None) -> bool:
    """Whether a fleet names a device and no number of them."""
    return named is None or fleet_record(named).devices == 1


def counted(fleet: Fleet, given: Serve | None) -> Fleet:
    """A fleet that names a device and no number, for pools that do not say their replicas: one of each."""
    if fleet.devices > 1 or is_told(given):
        return fleet
    return replace(fleet, devices=sum(pool_sizes(given)))


def pool_sizes(given: Serve | None) -> tuple[int, int]:
    """Devices of a replica of each pool, by the degrees given."""
    assert given is not None and given.disaggregated is not None
    first, second = (int(pool.tensor or 1) * int(pool.pipeline or 1) * int(pool.data or 1)
                     for pool in (given.disaggregated.prefill, given.disaggregated.decode))
    return first, second


def resolve_untold(given: Serve, fleet: Fleet, uncounted: bool, notes: Notes, seed: int) -> Untold | None:
    """None where replicas are told, or where the fleet holds no more than one of each."""
    if is_told(given):
        return None
    first, second = pool_sizes(given)
    most = (np.inf, np.inf)
    if not uncounted:
        most = max((fleet.devices - second) // first, 1), max((fleet.devices - first) // second, 1)
    if most == (1, 1):
        return None
    notes.assume(FIELD, "1 + 1", "replicas of the pools are not told: one of each is planned and paid for; intervals "
                 "of times and throughput span what published deployments chose", "serve_pool_constants")
    rows = constants()
    return Untold(rows["even", "ratio"][1], rows["exponent", "load"][1], rows["spread", "ratio"][1], most, seed)


def untold_scope(device: str, without: str) -> str:
    """Whose residual a plan takes; where it is scored, that of rows of other devices."""
    own = f"residual.untold@without/{device}"
    return own if without and any(scope == own for scope, _ in constants()) else "residual.untold"


@lru_cache(maxsize=1)
def constants() -> dict[tuple[str, str], tuple[float, float, float]]:
    """Low, value and high by id and parameter."""
    return spans(CONSTANTS)
