"""Files of 10 GB whose header lies: refused in under a second and 100 MB, whatever their ending."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

SIZE = 10 * 10**9  # a hole: nothing is written to the disk
STARTS = {
    "h.safetensors": struct.pack("<Q", SIZE - 8),
    "lie.safetensors": struct.pack("<Q", 15_900_000) + b'{"a":' * 1000,
    "long.safetensors": struct.pack("<Q", 90_000_000) + b'{"a":' * 1000,
    "open.safetensors": struct.pack("<Q", 2**63),
    "h.gguf": b"GGUF" + struct.pack("<IQQ", 3, 2**60, 2**60),
    "strings.gguf": b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + struct.pack("<IIQ", 9, 8, 2**40),
    "text.gguf": b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**40),
    "config.json": b'{"model_type": "llama", "x": "',
    "rows.json": b"[" * 100_000,
    "h.yaml": b"model: &a [",
    "h.toml": b"model = '''",
    "h.sh": b"vllm serve ",
    "h.log": b"INFO model weights took 15 GiB ",
    "none": b"vllm serve a/b ",
    "model.safetensors.index.json": b'{"weight_map": {',
}
CHILD = """
import json, os, resource, sys, time
import outlay
from outlay.errors import OutlayError
from outlay.subject import subject_of
found = {}
for path in sys.argv[1:]:
    begun = time.process_time()
    try:
        said = "read: " + (kind := subject_of(path).kind)
        if kind == "model":
            outlay.plan({"model": path})
    except OutlayError as error:
        said = error.kind
    found[os.path.basename(path)] = [said, time.process_time() - begun]
try:  # of this program alone; getrusage counts what its parent held too
    with open("/proc/self/status") as status:
        most = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
except OSError:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([found, most * 1024]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="holes and resource usage are of POSIX systems")
def test_a_lie_of_ten_gigabytes_costs_nothing(tmp_path: Path) -> None:
    for name, start in STARTS.items():
        with (tmp_path / name).open("wb") as file:
            file.write(start)
            file.truncate(SIZE)
    paths = [str(tmp_path / name) for name in STARTS]
    child = subprocess.run([sys.executable, "-c", CHILD, *paths], capture_output=True, text=True, timeout=60)
    assert child.returncode == 0, child.stderr[-2000:]
    found, most_bytes = json.loads(child.stdout)
    assert most_bytes < 100e6
    for name, (said, seconds) in found.items():
        assert seconds < 1, (name, seconds)
        assert said in ("unreadable", "unsupported", "read: log", "unknown_name"), (name, said)
    assert found["h.gguf"][0] == found["h.safetensors"][0] == "unreadable"
