"""`outlay demo`: one screen about a real model."""

from __future__ import annotations

import click


@click.command(name="demo", short_help="One screen: what a real model takes, from scratch.")
def command() -> int:
    """What a real model takes, from scratch: compute, money, energy and environment."""
    from outlay.errors import Unsupported

    raise Unsupported("the demo is not built yet", "demo")
