"""Ready-made scenarios that a person recognises: annotated files of the package, by name."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec import Struct

from outlay.errors import UnknownName, suggestion

FOLDER = Path(__file__).resolve().parent.parent / "presets"
# from the smallest purse to the largest
ORDER = ("student", "startup", "enterprise-rag", "university-7b", "national-lab-70b", "frontier")


class Preset(Struct, frozen=True):
    """A scenario's file as it lies in the package; `about` is its first line."""

    name: str
    about: str
    text: str

    @property
    def scenario(self) -> dict[str, Any]:
        """The fields of the file."""
        from outlay.scenario_io import load_text

        found: dict[str, Any] = load_text(self.text, ".yaml", f"preset {self.name}")
        return found


@lru_cache(maxsize=1)
def presets() -> tuple[Preset, ...]:
    """Every preset.

    >>> [p.name for p in presets()][:2]
    ['student', 'startup']
    """
    found = []
    for name in ORDER:
        text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
        found.append(Preset(name, text.partition("\n")[0].removeprefix("# ").rstrip("."), text))
    return tuple(found)


def preset(name: str) -> Preset:
    """One preset by its name; raises UnknownName with the names there are."""
    asked = name.strip().lower().replace("_", "-").replace(" ", "-")
    for found in presets():
        if found.name == asked:
            return found
    raise UnknownName(
        f"--preset: no preset {name!r}; there are {', '.join(ORDER)}, and list{suggestion(asked, ORDER)}", "--preset"
    )
