"""Several seeds of one search: a process each, some at once, and their mean and spread."""

from __future__ import annotations

import json as text_of
import os
import shlex
import signal
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from mimar.core.errors import MimarError
from mimar.report.words import verdict


@dataclass(frozen=True)
class Child:
    """One seed's process; its own session, so that Ctrl-C reaches it once and through us."""

    seed: int
    folder: Path
    process: subprocess.Popen[str]

    def end(self) -> dict[str, Any] | None:
        """Wait, and return the result or None."""
        stdout, _ = self.process.communicate()
        return text_of.loads(stdout.splitlines()[-1]) if self.process.returncode == 0 else None

    def trouble(self) -> str:
        """Return the last line of its log, or where it was said."""
        log = _log(self.folder)
        said = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        return said[-1] if said else "see above"


def run(words: Sequence[str], seeds: range, folder: Path, *, workers: int, json: bool) -> None:
    """Run `mimar search WORDS` for every seed into FOLDER/seed-S, `workers` at once, and tell the summary.

    Raises MimarError when seeds failed, after the others have ended, and on Ctrl-C with how to go on.
    """
    found: dict[int, dict[str, Any]] = {}
    failed: list[int] = []
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
                failed.append(child.seed)
                typer.echo(f"seed {child.seed} failed: {child.trouble()}", err=True)
            else:
                found[child.seed] = result
                m = verdict(result)
                typer.echo(f"seed {child.seed}: {m.form(m.of(result))}", err=True)
    except KeyboardInterrupt:
        raise MimarError(_stopped(running, waiting, words, folder)) from None
    if found:
        typer.echo(text_of.dumps(summary(found), sort_keys=True) if json else told(found, folder))
    if failed:
        raise MimarError(f"{len(failed)} of {len(seeds)} seeds failed: {', '.join(map(str, failed))}")


def _started(words: Sequence[str], seed: int, folder: Path, workers: int) -> Child:
    """Start a process; one of several writes a log, since their displays would overwrite each other."""
    place = folder / f"seed-{seed}"
    command = [sys.executable, "-m", "mimar.cli", "search", *words, "--seed", str(seed), "--out", str(place), "--json"]
    if workers == 1:
        return Child(seed, place, subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True))
    folder.mkdir(parents=True, exist_ok=True)
    share = {**os.environ, "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // workers))}
    with _log(place).open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True, env=share
        )
    return Child(seed, place, process)


def _log(place: Path) -> Path:
    return place.with_name(f"{place.name}.log")


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
    beside, m = [r["baseline"]["random"] for r in results], verdict(results[0])
    own = [value for value in map(m.of, results) if value is not None]
    return {
        "recipe": results[0]["recipe"],
        "task": results[0]["task"],
        "seeds": sorted(found),
        "metrics": {m.title.replace(" ", "_"): spread(own)},
        "baseline": {key: spread([b[key] for b in beside if b["n"]]) for key in ("best", "mean")},
        "results": results,
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return {n, mean, std} with the standard deviation of a sample; None where there is none."""
    mean = statistics.fmean(values) if values else None
    return {"n": len(values), "mean": mean, "std": statistics.stdev(values) if len(values) > 1 else None}


def told(found: dict[int, dict[str, Any]], folder: Path) -> str:
    """Return the summary as a person reads it."""
    held, m = summary(found), verdict(next(iter(found.values())))
    rows = {m.title: next(iter(held["metrics"].values()))}
    rows |= {f"random {key}": held["baseline"][key] for key in ("best", "mean")}
    width = max(15, len(m.title) + 2)
    lines = [f"{name:{width}}{m.form(s['mean'])} ± {m.form(s['std'])} (n = {s['n']})" for name, s in rows.items()]
    return "\n".join([*lines, f"{'runs':{width}}{folder}"])
