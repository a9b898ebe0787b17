"""What a search is about, resolved: the task with its splits, the model with choices, the supernet, the device."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import nn

from mimar import nets, tasks
from mimar.core import count
from mimar.core.errors import DataError, SpaceError, UsageError
from mimar.core.streams import derive, isolated, stream
from mimar.evaluators import Retrain, benchmarks
from mimar.evaluators.auxiliary import attach_auxiliary
from mimar.evaluators.table import Table
from mimar.nets.remodel import Remodel, Same
from mimar.objectives import option_costs
from mimar.space import Architecture, Choice, Space, of
from mimar.space.beside import beside
from mimar.space.owners import owners
from mimar.space.structures import RECIPE
from mimar.supernet import Engine, Fused, Supernet, chosen
from mimar.tasks import Augment, BoundTask, Measure, Task

DEFAULT_NET = "nasbench201:cells=1,channels=8"
DEFAULT_TASK = "digits"


@dataclass(frozen=True)
class Lab:
    """The things on which the parts of a search work; rebuilt from the recipe whenever it starts or resumes."""

    net: nn.Module | str | None
    task: Task | str | None
    seed: int
    device: str
    larger: nn.Module | str | None = None  # where finished architectures are trained, if not in `net`
    engine: Engine = Fused()  # what executes the supernet
    remodel: Remodel = Same()  # what is changed in the net before it is searched
    recipe: tuple[Choice, ...] = ()  # how finished networks are trained, as choices beside those of the net

    @property
    def order(self) -> dict[str, Any]:
        """What another process needs to build the same lab; how the supernet is executed is left to it."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "engine"}

    @cached_property
    def data(self) -> BoundTask:
        """The task with its splits drawn from the seed."""
        return named_task(self.task).split(self.seed)

    @cached_property
    def supernet(self) -> Supernet:
        """The supernet of a fresh model, initialised under the seed."""
        net = Supernet(self._model(self.net, affine=False).to(self.device), engine=self.engine)
        if not net.space.choices:
            raise SpaceError(
                "the model has no choices; put a mimar.OneOf({...}, name=...) where something is to be found"
            )
        return net

    @cached_property
    def final(self) -> nn.Module:
        """The model from which finished architectures are extracted: with affine batch norm where mimar built it.

        Raises SpaceError when a larger net of `Retrain.net` offers other choices than the net searched.
        """
        if self.larger is None:
            return self._model(self.net, affine=True)
        model = self._model(self.larger, affine=True)
        ours, theirs = ({c.name: c.options for c in s.choices} for s in (self.supernet.space, of(model)))
        if ours != theirs:
            other = min(set(ours.items()) ^ set(theirs.items()))[0]
            raise SpaceError(
                f"the net to retrain in has other choices than the one searched ({other!r} is not the same in both); "
                "give one of the same space, such as the same name with more cells and channels"
            )
        return model

    @cached_property
    def space(self) -> Space:
        """The space of the model, and what is beside it."""
        return beside(self.supernet.space, self.recipe) if self.recipe else self.supernet.space

    def _model(self, net: nn.Module | str | None, *, affine: bool) -> nn.Module:
        with isolated(derive(self.seed, "model")):
            if isinstance(net, nn.Module):
                return self.remodel(copy.deepcopy(net).cpu(), final=affine)
            if not isinstance(net, str | None):
                raise UsageError(
                    f"net is a {type(net).__name__}; give a module with choices, or a name of: {', '.join(nets.names())}"
                )
            channels, classes = self.data.task.shape[0], self.data.task.classes
            more = self.remodel.options(final=affine)
            model = nets.named(net or DEFAULT_NET, in_channels=channels, classes=classes, affine=affine, **more)
            return self.remodel(model, final=affine)

    @property
    def caption(self) -> str:
        """The task as it was asked for, options included."""
        return self.task if isinstance(self.task, str) else self.data.task.name

    @property
    def primary(self) -> Measure:
        """The measure that networks are compared by: the task's first."""
        return self.data.task.measures[0]

    def better(self, value: float) -> float:
        """Return a value of the primary measure so that larger is better."""
        return value if self.primary.direction == "max" else -value

    def examples(self, size: int) -> Any:
        """Return the inputs of the first training samples, on the device."""
        batch = next(iter(self.data.batches("train", None, size=size, device=self.device)))
        return self.data.inputs(batch)

    def ready(self, retrain: Retrain) -> None:
        """Raise now what would otherwise end the run after the search: a net that cannot be retrained as asked."""
        architecture = self.space.sample(stream(self.seed, "ready"))
        net = chosen(self.final, architecture, fresh=stream(self.seed, "ready")).net
        if not any(p.requires_grad for p in net.parameters()):
            raise SpaceError("the model has no parameter to train: all are frozen, or there is none")
        if retrain.cutout:
            replace(self.data.task.augment or Augment(), cutout=retrain.cutout)(
                self.examples(2).cpu(), stream(self.seed, "ready")
            )
        if retrain.auxiliary:
            attach_auxiliary(net, self.final, self.examples(2).cpu(), self.data.task.classes)
        largest = max([retrain.batch, *(o for c in self.recipe if c.name == f"{RECIPE}batch" for o in c.options)])
        if replace(retrain, batch=largest).steps(self.data) == 0:
            raise UsageError(
                f"retrain.batch is {largest}, more than the {self.data.size('fit')} samples to retrain on; "
                "make it smaller"
            )

    @cached_property
    def supernet_macs(self) -> int:
        """MACs of one sample through the whole supernet."""
        gates = self.uniform()
        net = self.supernet
        return count.macs(lambda x: net.call(net.weights, gates, x, training=False), self.examples(1))

    def costs(self, measure: str) -> Mapping[str, torch.Tensor]:
        """Return {choice: (options,) cost of each option}: its "params", or its "macs" for one sample."""
        if measure not in self._costs:
            model = self.supernet.model
            self._costs[measure] = option_costs(model, measure, self.examples(1))
        return self._costs[measure]

    @cached_property
    def _costs(self) -> dict[str, Mapping[str, torch.Tensor]]:
        return {}

    @cached_property
    def owners(self) -> Mapping[str, tuple[tuple[str, int], ...]]:
        """{weight name: the (choice, option) pairs that must be active for it to take part}."""
        return owners(self.supernet.model)

    def pass_macs(self, gates: Mapping[str, torch.Tensor]) -> float:
        """Return the MACs of one sample through the supernet when only the active options of `gates` run."""
        active, idle = getattr(gates, "active", {}), 0.0
        for name, flags in active.items():
            idle += sum(c for c, on in zip(self.costs("macs")[name].tolist(), flags, strict=True) if not on)
        return self.supernet_macs - idle

    def uniform(self) -> dict[str, torch.Tensor]:
        """Return gates under which every option takes part equally."""
        found = {}
        for choice in self.space.choices:
            n = len(choice.options)
            found[choice.name] = torch.full((n,), 1.0 if choice.kind == "some" else 1.0 / n, device=self.device)
        return found

    def network_macs(self, architecture: Architecture, *, shared: bool = False) -> int:
        """MACs of one sample through an architecture's finished network, or through its path in the supernet."""
        net = chosen(self.supernet.model if shared else self.final, architecture).net.to(self.device).eval()
        return count.macs(net, self.examples(1))


def named_task(task: Task | str | None) -> Task:
    """Return a task given as itself, by name, or as None (digits); raises UsageError for a table, which has no data."""
    if isinstance(task, Table) or benchmarks.is_benchmark(task):
        name = task.name if isinstance(task, Table) else task
        raise UsageError(
            f"{name} is a benchmark table: it answers black-box searches, and this one trains weights; "
            "give a task with data, such as digits"
        )
    if task is None or isinstance(task, str):
        return tasks.named(task or DEFAULT_TASK)
    if not hasattr(task, "split"):
        raise DataError(
            f"task is a {type(task).__name__}; give a task's name, or a Task such as mimar.tasks.arrays(x, y) or "
            "mimar.tasks.digits()"
        )
    return task


def checked_device(device: str) -> str:
    """Return `device` if this machine has it; raises UsageError otherwise."""
    known = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    known += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if device not in known:
        have = ", ".join(known) if len(known) > 1 else "cpu (torch finds no CUDA device here)"
        raise UsageError(f"device {device!r} is not available; use {have}")
    return device
