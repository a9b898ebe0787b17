"""What a newcomer waits for: import time, --help time, demo time, and the peak memory of each.

Every figure is the best of several fresh processes (the demo runs once), by wall clock and by `ru_maxrss` of the child.
`import torch` and `import mimar.supernet` alternate, so that both see the same machine.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from conditions import write

ROUNDS = 3
MIMAR = str(Path(sys.executable).parent / "mimar")


def measured(command: list[str], *, show: bool = False) -> tuple[float, float]:
    """Return (seconds, peak memory in MiB) of one child process; `show` lets it print."""
    # a process in between, since RUSAGE_CHILDREN is a maximum over all children so far
    start, read = time.perf_counter(), os.pipe()
    child = os.fork()
    if child == 0:
        sink = None if show else subprocess.DEVNULL
        done = subprocess.run(command, stdout=sink, stderr=sink, check=False)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        os.write(read[1], f"{done.returncode} {peak}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    seconds = time.perf_counter() - start
    code, peak = map(int, os.read(read[0], 100).split())
    os.close(read[0]), os.close(read[1])
    if code:
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    return seconds, peak / 1024


def main() -> None:
    """Measure, print, write the CSV."""
    python = [sys.executable, "-c"]
    jobs = {
        "import torch": [*python, "import torch"],
        "import mimar": [*python, "import mimar"],
        "import mimar.recipes.idarts": [*python, "import mimar.recipes.idarts"],
        "mimar --help": [MIMAR, "--help"],
    }
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    for _ in range(ROUNDS):
        for name, command in jobs.items():
            found[name].append(measured(command))
    with tempfile.TemporaryDirectory() as folder:
        demo = [MIMAR, "search", "idarts", "epochs=40", "--task", "digits", "--out", f"{folder}/demo"]
        found["make demo, after installation"] = [measured(demo, show=True)]
    rows = [
        {
            "what": name,
            "seconds": round(min(s for s, _ in times), 3),
            "slowest": round(max(s for s, _ in times), 3),
            "peak_mib": round(max(m for _, m in times)),
            "rounds": len(times),
        }
        for name, times in found.items()
    ]
    write("startup", rows)


if __name__ == "__main__":
    main()
