"""The command line: one file a command, loaded when it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and leave with its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--version"]:  # answered before anything else is imported
        from outlay._version import __version__

        sys.stdout.write(f"outlay {__version__}\n")
        return
    try:
        from outlay.cli.shell import run

        code = run(arguments)
    except KeyboardInterrupt:  # before anything was there to say so
        code = 130
    sys.exit(code)
