"""The peak memory of one step of the DARTS supernet, ours against plain: `ru_maxrss` of a fresh process for each.

    python benchmarks/memory.py [--quick]

Nothing is subtracted: the interpreter and the libraries (row "after the imports") are part of both.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys

# Neither torch nor what imports it: a child starts with the peak of the process that it is forked from.
FORMS = ("plain", "ours")


def peak() -> float:
    """Return the largest memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(form: str, size: list[str]) -> None:
    """Take one step; print the peaks after the imports and after the step."""
    from steps import Forms, Size

    base = peak()
    getattr(Forms(Size("darts", *map(int, size))), form)()()
    print(base, peak())


def measured(form: str, size: tuple[int, ...]) -> tuple[float, float]:
    """Return the two peaks of a fresh process."""
    command = [sys.executable, __file__, "--child", form, *map(str, size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    base, top = map(float, done.stdout.split())
    return base, top


def main() -> None:
    """Measure, print, write the CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small and few; nothing is written")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child[0], given.child[1:])
        return
    sizes, rounds = ([(3, 4, 8, 4)], 1) if given.quick else ([(8, 16, 32, 16), (8, 16, 32, 64)], 2)
    found = {size: {form: [measured(form, size) for _ in range(rounds)] for form in FORMS} for size in sizes}

    from conditions import show, write
    from steps import Bound, Size, row

    rows = []
    for size, peaks in found.items():
        ours, plain = ([top for _, top in peaks[form]] for form in ("ours", "plain"))
        rows.append(row("peak MiB, ours / plain", Size("darts", *size), ours, plain, Bound("<=", 0.5, 0.25)))
        for form, tops in (("ours", ours), ("plain", plain)):
            bases = [base for base, _ in peaks[form]]
            rows.append(row(f"of which after the imports, {form}", Size("darts", *size), bases, tops, None))
    show(rows) if given.quick else write("memory", rows)


if __name__ == "__main__":
    main()
