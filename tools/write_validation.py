"""Score every published case and write docs/validation.md and the one-line summary the screens print.

    python tools/write_validation.py [TABLES_FOLDER]

Tables of the folder stand in place of those shipped in the package, or beside them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from outlay.validate import scoreboard
from outlay.validate.page import page, summary

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "validation.md"
NOTES = ROOT / "docs" / "validation-notes.md"
SUMMARY = ROOT / "src" / "outlay" / "validate" / "summary.json"


@contextmanager
def tables_with(folders: Iterable[Path]) -> Iterator[Path]:
    """A folder of the tables shipped in the package, those of other folders in their place or beside them."""
    with TemporaryDirectory() as both:
        for table in (*scoreboard.CASES.glob("*.csv"), *(p for folder in folders for p in folder.glob("*.csv"))):
            (Path(both) / table.name).unlink(missing_ok=True)
            (Path(both) / table.name).symlink_to(table.resolve())
        yield Path(both)


def main() -> None:
    with tables_with(map(Path, sys.argv[1:2])) as folder:
        found, verdicts = scoreboard.outcomes(folder), scoreboard.fits(folder)
    notes = NOTES.read_text(encoding="utf-8") if NOTES.exists() else "Nothing noted."
    PAGE.write_text(page(found, verdicts, notes), encoding="utf-8")
    SUMMARY.write_text(json.dumps(summary(found)) + "\n", encoding="utf-8")
    print(f"{len(found)} cases scored; wrote {PAGE.relative_to(ROOT)} and {SUMMARY.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
