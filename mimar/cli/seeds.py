"""Several seeds of one search: a process each, some at once, and their mean and spread."""

from __future__ import annotations

import json as text_of
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import typer

from mimar.core.errors import MimarError
from mimar.core.units import percent


@dataclass
class Child:
    """One seed's process; its own session, so that Ctrl-C reaches it once and through us."""

    seed: int
    folder: Path
    process: subprocess.Popen[str]
    errors: IO[str] | None
    lines: list[str] = field(default_factory=list)

    def end(self) -> dict[str, Any] | None:
        """Wait, and return the result or None."""
        stdout, _ = self.process.communicate()
        if self.errors is not None:
            self.errors.seek(0)
            self.lines = self.errors.read().splitlines()
            self.errors.close()
        return text_of.loads(stdout.splitlines()[-1]) if self.process.returncode == 0 else None


def run(words: Sequence[str], seeds: range, folder: Path, *, workers: int, json: bool) -> None:
    """Run `mimar search WORDS` for every seed into FOLDER/seed-S, `workers` at once, and tell the summary.

    Raises MimarError when seeds failed, after the others have ended, and on Ctrl-C with how to go on.
    """
    found: dict[int, dict[str, Any]] = {}
    failed: dict[int, str] = {}
    waiting, running = list(seeds), list[Child]()
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(_started(words, waiting[0], folder, workers))
                waiting.pop(0)
            child = running[0]
            result = child.end()
            running.pop(0)
            if result is None:
                failed[child.seed] = child.lines[-1] if child.lines else "see above"
                typer.echo(f"seed {child.seed}: {failed[child.seed]}", err=True)
            else:
                found[child.seed] = result
                typer.echo(f"seed {child.seed}: {percent(result['metrics']['test_accuracy'])}", err=True)
    except KeyboardInterrupt:
        raise MimarError(_stopped(running, waiting, words, folder)) from None
    if found:
        typer.echo(text_of.dumps(summary(found), sort_keys=True) if json else told(found, folder))
    if failed:
        raise MimarError(f"{len(failed)} of {len(seeds)} seeds failed: {', '.join(map(str, failed))}")


def _started(words: Sequence[str], seed: int, folder: Path, workers: int) -> Child:
    place = folder / f"seed-{seed}"
    command = [sys.executable, "-m", "mimar.cli", "search", *words]
    command += ["--seed", str(seed), "--out", str(place), "--json"]
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // workers))} if workers > 1 else {}
    errors = (
        tempfile.TemporaryFile("w+", encoding="utf-8") if workers > 1 else None
    )  # displays would overwrite each other
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
        env={**os.environ, **threads},
    )
    return Child(seed, place, process, errors)


def _stopped(running: list[Child], waiting: list[int], words: Sequence[str], folder: Path) -> str:
    for child in running:
        child.process.send_signal(signal.SIGINT)
    for child in running:
        child.end()
    steps = [f"mimar resume {shlex.quote(str(child.folder))}" for child in running]
    if waiting:
        rest = ["--seed", str(waiting[0]), "--seeds", str(len(waiting)), "--out", str(folder)]
        steps.append(f"mimar search {shlex.join([*words, *rest])}")
    return f"saved; continue with: {' ; '.join(steps)}"


def summary(found: dict[int, dict[str, Any]]) -> dict[str, Any]:
    """Return {recipe, task, seeds, metrics and baseline as {n, mean, std}, results}; std is that of a sample."""
    results = [found[seed] for seed in sorted(found)]
    beside = [r["baseline"]["random"] for r in results]
    return {
        "recipe": results[0]["recipe"],
        "task": results[0]["task"],
        "seeds": sorted(found),
        "metrics": {"test_accuracy": spread([r["metrics"]["test_accuracy"] for r in results])},
        "baseline": {key: spread([b[key] for b in beside if b["n"]]) for key in ("best", "mean")},
        "results": results,
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return {n, mean, std} with the standard deviation of a sample; None where there is none."""
    mean = statistics.fmean(values) if values else None
    return {"n": len(values), "mean": mean, "std": statistics.stdev(values) if len(values) > 1 else None}


def told(found: dict[int, dict[str, Any]], folder: Path) -> str:
    """Return the summary as a person reads it."""
    held = summary(found)
    rows = {"test accuracy": held["metrics"]["test_accuracy"]}
    rows |= {f"random {key}": held["baseline"][key] for key in ("best", "mean")}
    lines = [f"{name:15}{percent(s['mean'])} ± {percent(s['std'])} (n = {s['n']})" for name, s in rows.items()]
    return "\n".join([*lines, f"{'runs':15}{folder}"])
