"""What every option of a model with choices costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mimar.core import count
from mimar.core.errors import UsageError, nearest
from mimar.core.streams import isolated
from mimar.space.modules import EXECUTION, Execution, OneOf, SomeOf

Costs = dict[str, Tensor]  # {choice: (options,) float64}
MEASURES = ("params", "macs")


def option_costs(model: nn.Module, measure: str, example: Any) -> Costs:
    """Return {choice: (options,) cost of each option}, summed over all modules of the choice's name.

    "params": trainable parameters, each once within an option; "macs": multiply–accumulates of `example` (one input, or a
    tuple of several; give one sample), as often as the module is called. An option's cost is its own: what is inside of a
    choice nested in it counts there. So the costs of chosen options and a fixed part add up to the cost of a network.
    Float64 on the CPU, exact. Leaves the model as it is. Raises UsageError on another measure.
    """
    if measure not in MEASURES:
        raise UsageError(nearest(measure, MEASURES, kind="measure"))
    found: Costs = {}
    for module in model.modules():
        if isinstance(module, OneOf | SomeOf):
            found.setdefault(module.name, torch.zeros(len(module.options), dtype=torch.float64))
            if measure == "params":
                found[module.name] += torch.tensor([float(_own(c)) for c in module.candidates], dtype=torch.float64)
    if measure == "macs":
        arguments = example if isinstance(example, tuple) else (example,)
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
        with torch.no_grad(), isolated(0, device), _evaluating(model), _under(_Measure(found)):
            model(*arguments)
    return found


def _own(option: nn.Module) -> int:
    """Return the number of trainable parameters of an option that are not inside of a further choice."""
    held: dict[int, int] = {}
    waiting = [option]
    while waiting:
        module = waiting.pop()
        held |= {id(p): p.numel() for p in module.parameters(recurse=False) if p.requires_grad}
        nested = isinstance(module, OneOf | SomeOf)
        waiting += [] if nested else module.children()
    return sum(held.values())


class _Measure:
    """Runs every option of every choice, measures each, and goes on with the output of the first."""

    def __init__(self, costs: Costs) -> None:
        self.costs = costs
        self.outputs: dict[int, Any] = {}

    def one(self, choice: OneOf, x: tuple[Any, ...]) -> Any:
        return self._run(choice, [x] * len(choice.candidates))

    def some(self, choice: SomeOf, xs: Any) -> Any:
        inputs = xs if isinstance(xs, list | tuple) else [xs] * len(choice.candidates)
        return self._run(choice, [(x,) for x in inputs])

    def _run(self, choice: OneOf | SomeOf, inputs: Sequence[tuple[Any, ...]]) -> Any:
        results = []
        for i, (option, x) in enumerate(zip(choice.candidates, inputs, strict=True)):
            results.append(option(*x))  # measures the choices inside
            with _under(_Known(self.outputs)):
                self.costs[choice.name][i] += count.macs(lambda given, option=option: option(*given), x)  # type: ignore[misc, arg-type]
        self.outputs[id(choice)] = results[0]
        return results[0]


class _Known:
    """Answers for choices with outputs that they gave before, at no cost."""

    def __init__(self, outputs: dict[int, Any]) -> None:
        self.outputs = outputs

    def one(self, choice: OneOf, x: tuple[Any, ...]) -> Any:
        return self.outputs[id(choice)]

    def some(self, choice: SomeOf, xs: Any) -> Any:
        return self.outputs[id(choice)]


@contextmanager
def _under(execution: Execution) -> Iterator[None]:
    token = EXECUTION.set(execution)
    try:
        yield
    finally:
        EXECUTION.reset(token)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode for the time being, so that batch norms keep their statistics."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True
