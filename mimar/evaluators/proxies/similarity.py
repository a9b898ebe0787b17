"""How alike an untrained student is to an untrained teacher: who can be taught well, before anybody is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mimar.core.errors import UsageError
from mimar.evaluators.proxies.parts import Direction, Features, gaussian, loss, private, slopes
from mimar.objectives import option_costs
from mimar.space import Architecture, of
from mimar.supernet import extract
from mimar.tasks.protocol import Batch


@dataclass(frozen=True)
class TeacherSimilarity:
    """−‖G(T) − G(S)‖ − ‖A(T) − A(S)‖ of a teacher T and a student S, both with standard normal weights; 0 at best.

    A (B, B): F Fᵀ with rows of norm one, F the features before pooling. G (K, K): the same of ∂L/∂V, V the weights of the
    last linear layer, so that rows are classes. Without a teacher of one's own, the largest network of the space is it.
    Source: Dong, Li and Wei, "DisWOT", 2023; there G is between channels, which two networks share only in number.
    """

    teacher: nn.Module | None = None
    direction: ClassVar[Direction] = "max"
    version: ClassVar[int] = 1

    def among(self, model: nn.Module, batch: Batch) -> TeacherSimilarity:
        """Return the part that knows its teacher: its own, else the largest network of a model with choices."""
        return self if self.teacher is not None else replace(self, teacher=extract(model, largest(model, batch.x[:1])))

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float:
        """Return the score. Raises UsageError without a teacher, and for a network without a linear layer."""
        if self.teacher is None:
            raise UsageError("diswot compares with a teacher: give TeacherSimilarity(teacher=module)")
        pairs = zip(_views(self.teacher, batch, seed), _views(net, batch, seed), strict=True)
        return -sum(float((t - s).norm()) for t, s in pairs)

    def passes(self, size: int) -> float:
        """Return 3 a sample; the teacher's, as often, are not counted."""
        return 3.0 * size


def largest(model: nn.Module, example: Tensor) -> Architecture:
    """Return the architecture that takes the options with the most parameters, of equals the most MACs, in each choice."""
    params, macs = (option_costs(model, measure, example) for measure in ("params", "macs"))
    space = of(model)

    def most(choice: Any) -> Any:
        def size(option: Any) -> tuple[float, float]:
            at = choice.options.index(option)
            return float(params[choice.name][at]), float(macs[choice.name][at])

        held = params.get(choice.name) is not None
        ranked = sorted(choice.allowed, key=size, reverse=True) if held else list(reversed(choice.allowed))
        if choice.kind != "some":
            return ranked[0]
        return tuple(o for o in choice.options if o in ranked[: choice.k])

    filled: Mapping[str, Any] = space.complete({}, most)
    found = Architecture(filled)
    space.check(found)
    return found


def _views(net: nn.Module, batch: Batch, seed: int) -> tuple[Tensor, Tensor]:
    """Return G (K, K) and A (B, B) in float64."""
    called: list[nn.Linear] = []
    with private(net, seed) as double:
        gaussian(double)
        for module in double.modules():
            if isinstance(module, nn.Linear):
                module.register_forward_hook(lambda module, inputs, output: called.append(module))
        with Features() as seen:
            output = double(batch.x)
        if not called:
            raise UsageError("diswot compares the gradients of the last linear layer; this network has none")
        (found,) = slopes(loss(output, batch.y), [called[-1].weight])
    return similarities(found), similarities(seen.found.flatten(1))


def similarities(rows: Tensor) -> Tensor:
    """Return rows @ rowsᵀ (n, n) in float64, every row of it of norm one."""
    rows = rows.double()
    return torch.nn.functional.normalize(rows @ rows.T, dim=1)
