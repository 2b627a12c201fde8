"""What a plain `pip install outlay` leaves on a machine: few packages and few megabytes."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

PACKAGES_BESIDE = 8
MEGABYTES = 110


def plain_name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found.group(0)).lower()


def needs(installed: Distribution) -> list[str]:
    """Names a distribution always needs here: no extras, no markers for other systems."""
    plain = []
    for requirement in installed.requires or []:
        _, _, marker = requirement.partition(";")
        if "extra" in marker or "win32" in marker or "Windows" in marker or "python_version <" in marker:
            continue
        plain.append(plain_name(requirement))
    return plain


def installed_set() -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    queue = ["outlay"]
    while queue:
        name = queue.pop()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            continue  # needed only on another system or Python
        queue += needs(found[name])
    return found


def size_bytes(installed: Distribution) -> int:
    """Files on disk as pip leaves them, compiled bytecode included."""
    paths = [Path(str(f.locate())) for f in installed.files or []]
    return sum(p.stat().st_size for p in paths if p.is_file())


def test_few_packages() -> None:
    beside = sorted(set(installed_set()) - {"outlay"})
    assert len(beside) <= PACKAGES_BESIDE, beside


def test_few_megabytes() -> None:
    found = installed_set()
    sizes = {name: size_bytes(d) / 1e6 for name, d in found.items()}
    package = Path(__file__).parent.parent / "src" / "outlay"
    if package.is_dir():  # an editable install lists no files of its own
        sizes["outlay"] = sum(p.stat().st_size for p in package.rglob("*") if p.is_file()) / 1e6
    assert sum(sizes.values()) <= MEGABYTES, {k: round(v, 1) for k, v in sizes.items()}
