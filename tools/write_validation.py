"""Score every published case and write docs/validation.md and the one-line summary the screens print.

    python tools/write_validation.py [TABLES_FOLDER]

Without a folder the tables shipped in the package are scored.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from outlay.validate import scoreboard
from outlay.validate.page import page, summary

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "validation.md"
NOTES = ROOT / "docs" / "validation-notes.md"
SUMMARY = ROOT / "src" / "outlay" / "validate" / "summary.json"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else scoreboard.CASES
    found = scoreboard.outcomes(folder)
    notes = NOTES.read_text(encoding="utf-8") if NOTES.exists() else "Nothing noted."
    PAGE.write_text(page(found, scoreboard.fits(folder), notes), encoding="utf-8")
    SUMMARY.write_text(json.dumps(summary(found)) + "\n", encoding="utf-8")
    print(f"{len(found)} cases scored; wrote {PAGE.relative_to(ROOT)} and {SUMMARY.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
