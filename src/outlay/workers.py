"""Many plans or simulations at once: one seam, `concurrent.futures`-shaped, over this process, others, or a cluster.

What is handed over is a function at a module's top and picklable items; results come in the order of the items and
do not depend on how many workers there are. A worker that is killed costs nothing but time: its items are tried
again, a few times, since what kills it may be the item itself.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib import import_module
from itertools import islice
from typing import Any, TypeVar

from outlay.errors import BadValue, Unsupported

T = TypeVar("T")
R = TypeVar("R")
TRIES = 4
ANSWERS_WITHIN_S = 5.0
AHEAD = 8  # items a worker handed out beyond the one that is waited for: memory stays bounded
FIELD = "--cluster"
TOKEN = "if it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
SPELLINGS = "local, local:4, auto, or ray://host:10001"


class Serial(Executor):
    """In this process, at once."""

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        done: Future[R] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


class RayExecutor(Executor):
    """Tasks on a Ray cluster; Ray itself tries those of a killed worker again.

    address: "auto" joins the cluster of this machine, or starts one here; else that of a cluster's head.
    Raises Unsupported where Ray is not installed, BadValue where no cluster answers.
    """

    def __init__(self, address: str, **options: Any) -> None:
        try:
            ray: Any = import_module("ray")
        except ImportError:
            raise Unsupported("--cluster: needs Ray: pip install 'outlay[cluster]'", FIELD) from None
        self.ray = ray
        self.started = not ray.is_initialized()
        if self.started:
            try:
                _join(ray, address, options)
            except ImportError:
                raise Unsupported(f"{FIELD}: ray:// needs Ray's client: pip install 'outlay[cluster]'", FIELD) from None
            except (ConnectionError, RuntimeError, ValueError, OSError) as error:
                why = _first(error) + (f"; {TOKEN}" if "timeout" in str(error) else "")
                raise BadValue(f"{FIELD}: no Ray cluster answers at {address}: {why}", FIELD) from None
        held: dict[str, float] = ray.cluster_resources()
        self.workers = max(1, int(held.get("CPU", 1)))

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        task = self.ray.remote(num_cpus=1, max_retries=TRIES - 1)(_called)
        found: Future[R] = task.remote(fn, *args, **kwargs).future()
        return found

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if self.started:
            self.ray.shutdown()


def _called(fn: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """Ray takes functions alone, and what is handed over may hold arguments already."""
    return fn(*args, **kwargs)


def _join(ray: Any, address: str, options: dict[str, Any]) -> None:
    logging.getLogger("ray").setLevel(logging.ERROR)  # what it says of itself is not the answer's
    if address != "auto":
        _reachable(address)
        ray.init(address=address, log_to_driver=False)
        return
    if ":" in (named := os.environ.get("RAY_ADDRESS", "")):
        _reachable(named)
    try:
        ray.init(address="auto", log_to_driver=False)
    except ConnectionError:  # none on this machine: start one
        ray.init(log_to_driver=False, configure_logging=False, include_dashboard=False, **options)


def _reachable(address: str) -> None:
    """Whether somebody listens there; Ray itself would go on asking for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise BadValue(f"{FIELD}: {address!r} is none of {SPELLINGS}", FIELD)
    with socket.create_connection((host, int(port)), timeout=ANSWERS_WITHIN_S):
        pass


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def how_many(where: str | None) -> int:
    """Processes that a local spelling asks for; 1 without one.

    >>> how_many(None), how_many("local:3")
    (1, 3)
    """
    if where is None:
        return 1
    name, _, count = where.partition(":")
    if name != "local":
        raise BadValue(f"{FIELD}: {where!r} is none of {SPELLINGS}", FIELD)
    if not count:
        return os.cpu_count() or 1
    if not count.isdigit() or not 1 <= int(count) <= 4096:
        raise BadValue(f"{FIELD}: local:{count} is not local: and a number of processes from 1 to 4096", FIELD)
    return int(count)


def run_all(fn: Callable[[T], R], items: Iterable[T], where: str | None = None, **options: Any) -> Iterator[R]:
    """fn of every item, in their order. where: None for this process, local[:N] for others, auto or ray://… for Ray.

    An exception of fn is raised in its item's turn. BrokenProcessPool when workers die on the same items again and
    again.
    """
    if where is not None and (where == "auto" or where.startswith("ray://")):
        with RayExecutor(where, **options) as cluster:
            yield from _in_order(cluster, fn, iter(items), cluster.workers)
        return
    count = how_many(where)
    if count == 1:
        yield from map(fn, items)
        return
    yield from _local(fn, iter(items), count)


def _in_order(pool: Executor, fn: Callable[[T], R], items: Iterator[T], workers: int) -> Iterator[R]:
    waiting = [pool.submit(fn, item) for item in islice(items, workers * AHEAD)]
    while waiting:
        yield waiting.pop(0).result()
        waiting += [pool.submit(fn, item) for item in islice(items, 1)]


def _local(fn: Callable[[T], R], items: Iterator[T], count: int) -> Iterator[R]:
    """Processes of this machine; a pool that broke is made anew and what it had not answered is asked again."""
    held: list[T] = list(islice(items, count * AHEAD))
    tries = 0
    while held:
        with ProcessPoolExecutor(count) as pool:
            waiting: list[Future[R]] = []
            try:
                waiting = [pool.submit(fn, item) for item in held]
                while waiting:
                    answer = waiting[0].result()
                    del waiting[0], held[0]
                    tries = 0
                    yield answer
                    for item in islice(items, 1):
                        held.append(item)
                        waiting.append(pool.submit(fn, item))
            except BrokenProcessPool:
                tries += 1
                if tries >= TRIES:
                    raise
