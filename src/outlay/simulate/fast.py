"""The inner loop compiled, where numba is installed (`pip install outlay[fast]`): the same functions, on arrays.

The modules of the inner loop are loaded a second time under other names, and there every function is a compiled
one. What is compiled is kept beside the source, under names that change with any of it.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

MODULES = ("core_kv", "core_time", "core_step", "core_engine", "core_ranks", "core_come", "core_run")

# Small ones that are called often: a call hands over all tables, which takes longer than what these do.
INLINED = (
    "any_inside", "blocks_ahead", "crossings", "decode_s", "due", "joint_s", "known_of", "load_of", "log", "longer_s",
    "look", "mixed_step", "passes", "ranks_of", "run_done", "running_beside", "set_clock", "set_load", "step_done",
    "steps_ahead", "steps_s", "take_blocks", "take_prompts", "touch", "touch_all")


def installed() -> bool:
    return importlib.util.find_spec("numba") is not None


def compiled_before() -> bool:
    """Whether this version's inner loop lies compiled beside the source: then it loads in about a second."""
    _, digest = _sources()
    return any(Path(__file__).with_name("__pycache__").glob(f"core_run.run_{digest}*.nbi"))


def _sources() -> tuple[list[Path], str]:
    paths = [Path(__file__).with_name(f"{name}.py") for name in MODULES]
    return paths, sha256(b"".join(path.read_bytes() for path in (*paths, Path(__file__)))).hexdigest()[:12]


@lru_cache(maxsize=1)
def compiled_run() -> Any:
    """The compiled main loop; the first call of it compiles, or loads what was compiled before."""
    numba: Any = importlib.import_module("numba")

    paths, digest = _sources()
    names: dict[str, Any] = {}
    for name, path in zip(MODULES, paths, strict=True):
        own = f"outlay.simulate._compiled_{name}_{digest}"
        spec = importlib.util.spec_from_file_location(own, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[own] = module
        spec.loader.exec_module(module)
        vars(module).update({key: value for key, value in names.items() if key in vars(module)})
        for function, one in inspect.getmembers(module, inspect.isfunction):
            if one.__module__ == own:
                one.__qualname__ = f"{function}_{digest}"
                # Nothing is allocated in there, so nothing needs counting of references.
                compiled = numba.njit(
                    cache=True, error_model="numpy", _nrt=False, no_cpython_wrapper=function != "run",
                    no_cfunc_wrapper=True, inline="always" if function in INLINED else "never")(one)
                setattr(module, function, compiled)
                names[function] = compiled
    return names["run"]
