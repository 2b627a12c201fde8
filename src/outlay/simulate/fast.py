"""The inner loop compiled, where numba is installed (`pip install outlay[fast]`): the same functions, on arrays.

The functions of the inner loop are taken as they are and given names that lead to compiled ones. What is compiled is
kept beside the source, under a name that changes with any of it.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import types
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

MODULES = tuple(f"outlay.simulate.{name}" for name in ("core_kv", "core_step", "core_engine", "core_run"))


def installed() -> bool:
    return importlib.util.find_spec("numba") is not None


@lru_cache(maxsize=1)
def compiled_run() -> Any:
    """The compiled main loop; the first call of it compiles, or loads what was compiled before."""
    import numba  # type: ignore[import-not-found, unused-ignore]

    modules = [importlib.import_module(name) for name in MODULES]
    digest = sha256(b"".join(Path(str(m.__file__)).read_bytes() for m in modules)).hexdigest()[:12]
    names: dict[str, Any] = {"__name__": "outlay.simulate.fast_core", "math": importlib.import_module("math")}
    for module in modules:
        names.update({k: v for k, v in vars(module).items() if isinstance(v, int)})
    for module in modules:
        for name, one in inspect.getmembers(module, inspect.isfunction):
            if one.__module__ != module.__name__:
                continue
            copy = types.FunctionType(one.__code__, names, name)
            copy.__qualname__ = f"{name}_{digest}"
            names[name] = numba.njit(cache=True)(copy)
    return names["run"]
