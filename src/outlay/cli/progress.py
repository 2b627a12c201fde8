"""A sign of life on stderr when an answer takes longer than a breath, and only on a terminal."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

PATIENCE_S = 1.0


@contextlib.contextmanager
def waiting(what: str, quiet: bool = False) -> Iterator[None]:
    """Show "planning … 3 s" on a terminal's stderr after a second, and wipe it when done."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_tick, args=(what, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=1.0)


def _tick(what: str, done: threading.Event) -> None:
    started, shown = time.monotonic(), False
    while not done.wait(PATIENCE_S if not shown else 0.5):
        sys.stderr.write(f"\r{what} … {time.monotonic() - started:.0f} s")
        sys.stderr.flush()
        shown = True
    if shown:
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()
