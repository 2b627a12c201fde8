"""What a command costs from nothing: CPU and wall of a new process, beside Python alone and numpy alone.

    python benchmarks/startup.py [RUNS] [--source FOLDER]

Bytecode is cached before measuring. The least of some runs, taken in turn so that a busy machine is busy for all;
`over numpy` is the share of `import numpy`, which compares machines. --source measures another checkout's src.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS: dict[str, tuple[str, ...]] = {
    "python -c pass": ("-c", "pass"),
    "import numpy": ("-c", "import numpy"),
    "import outlay": ("-c", "import outlay"),
    **{
        line: ("-m", *line.split())
        for line in (
            "outlay --version",
            "outlay train --help",
            "outlay fit llama-3.1-8b -g l4",
            "outlay serve llama-3.1-8b -g l4",
            "outlay tune llama-3.1-8b -g rtx-4090 --method lora",
            "outlay train llama-3.1-8b -g 64xh100-sxm -n 1T",
            "outlay catalog list device",
            "outlay pay llama-3.3-70b --requests 3M/month --in 1200 --out 250",
        )
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="?", type=int, default=7)
    parser.add_argument("--source", type=Path, help="src folder of another checkout")
    asked = parser.parse_args()
    own = {"PYTHONPATH": str(asked.source.resolve())} if asked.source else {}
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env = kept | own
    least = {name: (float("inf"), float("inf")) for name in PROGRAMS}
    for turn in range(asked.runs + 1):
        for name, words in PROGRAMS.items():
            cpu, wall = measured([sys.executable, *words], env)
            if turn:  # the first writes bytecode and warms the disk
                least[name] = (min(cpu, least[name][0]), min(wall, least[name][1]))
    numpy_cpu = least["import numpy"][0]
    print("| command | CPU, ms | wall, ms | over numpy |\n| --- | --- | --- | --- |")
    for name, (cpu, wall) in least.items():
        print(f"| `{name}` | {1e3 * cpu:.0f} | {1e3 * wall:.0f} | {cpu / numpy_cpu:.1f} |")


def measured(command: list[str], env: dict[str, str]) -> tuple[float, float]:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


if __name__ == "__main__":
    main()
