"""The state of a search: everything that changes while it runs, as JSON and tensors and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class State:
    """`json`: counters, names, figures. `tensors`: weights, alphas, optimiser moments, aliased by the loop that runs.

    Whoever keeps a state while the loop goes on must copy it (`snapshot`); between two events it is consistent.
    """

    json: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    def put(self, group: str, names: Iterable[str], tensors: Iterable[Tensor]) -> None:
        """Alias tensors under group/name."""
        self.tensors.update({f"{group}/{n}": t.detach() for n, t in zip(names, tensors, strict=True)})

    def group(self, group: str) -> dict[str, Tensor]:
        """Return the tensors of one group by name."""
        start = f"{group}/"
        return {name[len(start) :]: t for name, t in self.tensors.items() if name.startswith(start)}

    def drop(self, *groups: str) -> None:
        """Forget groups."""
        for name in [n for n in self.tensors if n.split("/")[0] in groups]:
            del self.tensors[name]

    def snapshot(self) -> State:
        """Return a copy that later steps do not touch."""
        return State(copy.deepcopy(self.json), {n: t.detach().clone() for n, t in self.tensors.items()})


def copy_into(targets: Iterable[Tensor], sources: Iterable[Tensor]) -> None:
    """Write `sources` into `targets` in place."""
    with torch.no_grad():
        for target, source in zip(targets, sources, strict=True):
            target.copy_(source)


def moments(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the tensors of an optimiser's state as {"0/momentum_buffer": …}, aliased."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    found = {}
    for i, p in enumerate(parameters):
        for key, value in optimiser.state.get(p, {}).items():
            if value is not None:
                found[f"{i}/{key}"] = value
    return found


def restore_moments(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give an optimiser the state that `moments` returned, as copies."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for name, value in tensors.items():
        index, _, key = name.partition("/")
        weight = parameters[int(index)]
        moved = value.to(weight.device) if value.shape == weight.shape else value  # step counts stay on the CPU
        optimiser.state[weight][key] = moved.detach().clone()
