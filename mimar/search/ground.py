"""What a black-box search works on, resolved: a benchmark table, or a lab whose networks are trained."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from mimar.core.errors import DataError, UsageError
from mimar.evaluators import benchmarks
from mimar.evaluators.table import Table
from mimar.evaluators.tuned import tuned
from mimar.search import finish
from mimar.search.lab import Lab
from mimar.search.session import best
from mimar.space import Architecture, Proposal, Space, Trial
from mimar.supernet import chosen
from mimar.tasks import Measure


class Named(Protocol):
    """What a result says of the search that it came from."""

    @property
    def name(self) -> str: ...
    @property
    def seed(self) -> int: ...


@dataclass(frozen=True)
class TableLab:
    """A benchmark that brings its own space: nothing is trained, so there is neither data nor device."""

    table: Table
    caption: str

    @property
    def space(self) -> Space:
        """The space of the table."""
        return self.table.space

    @property
    def data(self) -> Table:
        """What the figures come from; its digest is the run's."""
        return self.table

    @property
    def primary(self) -> Measure:
        """The measure that the search looks at."""
        return self.table.measures[0]


def benchmark(task: Any) -> Table | None:
    """Return the table that a task is or names; None where it is a task with data."""
    if isinstance(task, Table):
        return task
    return benchmarks.named(task) if benchmarks.is_benchmark(task) else None


def ground(net: Any, task: Any, seed: int, device: str, larger: Any = None, tune: str = "") -> Lab | TableLab:
    """Return what a search works on. Raises UsageError for a net, or for training to tune, beside a table: it has neither."""
    table = benchmark(task)
    if table is None:
        return Lab(net, task, seed, device, larger, recipe=tuned(tune))
    if net is not None:
        raise UsageError(f"{table.name} is a benchmark table with a space of its own: leave out net={net!r}")
    if tune:
        raise UsageError(f"{table.name} is a benchmark table, on which nothing is trained: leave out tune={tune!r}")
    return TableLab(table, task if isinstance(task, str) else table.name)


class Known:
    """The costs of a lab's networks that are known before training: {params, macs}, each architecture counted once."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.found: dict[Architecture, dict[str, float]] = {}

    def __call__(self, architecture: Architecture) -> Mapping[str, float]:
        if architecture not in self.found:
            net: nn.Module = chosen(self.lab.final, architecture).net
            params = sum(p.numel() for p in net.parameters() if p.requires_grad)
            self.found[architecture] = {
                "params": float(params),
                "macs": float(self.lab.network_macs(architecture)),
            }
        return self.found[architecture]


def verdict(lab: TableLab, architecture: Architecture, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the figures of a search's answer: what the search saw, and what the table says of it finally."""
    if lab.primary.name not in metrics:  # the search looked at an estimate
        metrics = {**lab.table.evaluate(Proposal(architecture)).metrics, **metrics}
    try:
        return {**metrics, **lab.table.verdict(architecture)}
    except DataError:
        return dict(metrics)


def answer(search: Named, lab: TableLab, winner: Trial, beside: Sequence[Trial], cost: float) -> dict[str, Any]:
    """Return the result of a search on a table as JSON, random architectures beside the one that it found."""
    return {
        "recipe": search.name,
        "task": lab.caption,
        "seed": search.seed,
        "architecture": finish.plain(winner.architecture),
        "metrics": verdict(lab, winner.architecture, winner.result.metrics),
        "baseline": {"random": _summary(lab, beside)},
        "evaluations": 1,
        "inputs": None,
        "supernet": {},
        "budget": {"search": cost, "retrain": 0.0, "baseline": 0.0},
    }


def _summary(lab: TableLab, trials: Sequence[Trial]) -> dict[str, Any]:
    """Return {n, best, mean, std} of the test figures; `best` is that of the best trial."""
    tested = [lab.table.verdict(t.architecture) for t in trials if t.result.status == "ok"]
    test = f"test_{lab.primary.name.removeprefix('valid_')}"
    seen = [t.result.metrics for t in trials]  # empty where an evaluation failed
    figures = [t[test] for t in tested if test in t] or [m[lab.primary.name] for m in seen if lab.primary.name in m]
    top = best(trials)
    found: dict[str, Any] = {"n": len(trials), "best": None, "mean": None, "std": None}
    if top is None or not figures:
        return found
    shown = verdict(lab, top.architecture, top.result.metrics)
    mean = math.fsum(figures) / len(figures)
    spread = math.fsum((f - mean) ** 2 for f in figures) / max(len(figures) - 1, 1)
    return found | {"best": shown.get(test, shown[lab.primary.name]), "mean": mean, "std": math.sqrt(spread)}
