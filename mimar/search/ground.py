"""What a black-box search works on, resolved: a benchmark table, or a lab whose networks are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from mimar.core.errors import DataError, UsageError
from mimar.evaluators import benchmarks
from mimar.evaluators.table import Table
from mimar.search.lab import Lab
from mimar.space import Architecture, Space
from mimar.supernet import chosen
from mimar.tasks import Measure


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


def ground(net: Any, task: Any, seed: int, device: str, larger: Any = None) -> Lab | TableLab:
    """Return what a search works on; raises UsageError for a net beside a table, which has a space of its own."""
    table = benchmark(task)
    if table is None:
        return Lab(net, task, seed, device, larger)
    if net is not None:
        raise UsageError(f"{table.name} is a benchmark table with a space of its own: leave out net={net!r}")
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
    try:
        return {**metrics, **lab.table.verdict(architecture)}
    except DataError:
        return dict(metrics)
