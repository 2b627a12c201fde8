"""A sign of life on stderr when an answer takes longer than a breath, and only on a terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

PATIENCE_S = 1.0


@contextlib.contextmanager
def waiting(what: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show "planning … 3 s" on a terminal's stderr after a second, and wipe it when done.

    What it yields may be told how much is done, and of how much.
    """
    so_far = [0, 0]

    def tell(done: int, of: int) -> None:
        so_far[:] = done, of

    if quiet or not sys.stderr.isatty():
        yield tell
        return
    stop = threading.Event()
    thread = threading.Thread(target=_tick, args=(what, so_far, stop), daemon=True)
    thread.start()
    try:
        yield tell
    finally:
        stop.set()
        thread.join(timeout=1.0)


def _tick(what: str, so_far: list[int], stop: threading.Event) -> None:
    started, shown = time.monotonic(), False
    while not stop.wait(PATIENCE_S if not shown else 0.5):
        count = f" {so_far[0]:,} of {so_far[1]:,}" if so_far[1] else ""
        sys.stderr.write(f"\r{what}{count} … {time.monotonic() - started:.0f} s")
        sys.stderr.flush()
        shown = True
    if shown:
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()
