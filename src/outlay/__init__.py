"""outlay: what a large language model takes over its whole life, in numbers a person can act on.

The public names, loaded when first used so that importing the package stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from outlay._version import __version__

if TYPE_CHECKING:
    from outlay.api import plan
    from outlay.derive import Quantity
    from outlay.errors import OutlayError
    from outlay.result import Result
    from outlay.scenario import Scenario

_HOME = {
    "plan": "outlay.api",
    "Result": "outlay.result",
    "Quantity": "outlay.derive",
    "Scenario": "outlay.scenario",
    "OutlayError": "outlay.errors",
}
__all__ = ["OutlayError", "Quantity", "Result", "Scenario", "__version__", "plan"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'outlay' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
