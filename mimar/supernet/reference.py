"""Reference execution of choices: one option after the other, as written in the formula. Slow and obvious.

    OneOf:   y = Σ_o p_o · option_o(x)            SomeOf:  y = Σ_i p_i · candidate_i(x_i)

An option whose gate is exactly zero and needs no gradient is not executed, nor is one that the gates call inactive; a gate that is exactly one and needs no
gradient is not multiplied, so that a one-hot supernet is the chosen network to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from mimar.core.errors import SpaceError, UsageError, nearest
from mimar.space.modules import OneOf, SomeOf
from mimar.supernet.gates import active_of


@dataclass(frozen=True)
class Reference:
    """The engine that defines what every other one must give."""

    def begin(self, model: nn.Module, gates: Mapping[str, Tensor], *, update: bool) -> OneByOne:
        """Return the execution of one call of `model` under `gates`: {choice name: (options,) tensor}."""
        return OneByOne(gates)


class OneByOne:
    """Executes the choices of a model under `gates`, each option on its own."""

    def __init__(self, gates: Mapping[str, Tensor]) -> None:
        self.gates = gates

    def one(self, choice: OneOf, x: tuple[Any, ...]) -> Any:
        """Return Σ_o p_o · option_o(x)."""
        return self._sum(choice, [partial(m, *x) for m in choice.candidates])

    def some(self, choice: SomeOf, xs: Any) -> Any:
        """Return Σ_i p_i · candidate_i(x_i), with one input for all candidates or a list with one for each."""
        inputs = self.inputs(choice, xs)
        return self._sum(choice, [partial(m, one) for m, one in zip(choice.candidates, inputs, strict=True)])

    def end(self) -> None:
        """Do what is left to do once the model has run: nothing."""

    def inputs(self, choice: SomeOf, xs: Any) -> list[Any]:
        """Return one input for each candidate."""
        inputs = list(xs) if isinstance(xs, list | tuple) else [xs] * len(choice.candidates)
        if len(inputs) != len(choice.candidates):
            raise UsageError(
                f"choice {choice.name!r} got {len(inputs)} inputs for its {len(choice.candidates)} candidates"
            )
        return inputs

    def gate(self, choice: OneOf | SomeOf) -> Tensor:
        """Return the gate of a choice; raises UsageError where there is none, SpaceError for a wrong shape."""
        gate, count = self.gates.get(choice.name), len(choice.candidates)
        if gate is None:
            raise UsageError(
                f"no gate is given for an active choice: {nearest(choice.name, self.gates, kind='choice')}"
            )
        if gate.shape != (count,):
            raise SpaceError(f"the gate of {choice.name!r} has shape {tuple(gate.shape)}; it must be ({count},)")
        return gate

    def live(self, name: str, gate: Tensor) -> list[bool]:
        """Return which options are executed: those that may run, and whose gate is not zero or requires a gradient."""
        found = [True] * len(gate) if gate.requires_grad else [value != 0.0 for value in gate.tolist()]
        if (active := active_of(self.gates, name)) is not None:
            found = [a and b for a, b in zip(found, active, strict=True)]
        return found if any(found) else [True] + found[1:]  # the shape of the output has to come from somewhere

    def _sum(self, choice: OneOf | SomeOf, runs: list[Callable[[], Any]]) -> Any:
        gate = self.gate(choice)
        live = self.live(choice.name, gate)
        if gate.requires_grad:
            terms = [gate[i] * run() for i, run in enumerate(runs) if live[i]]
        else:
            values = gate.tolist()
            terms = [run() if p == 1.0 else gate[i] * run() for i, (p, run) in enumerate(zip(values, runs)) if live[i]]
        total = terms[0]
        for term in terms[1:]:
            total = added(choice.name, total, term)
        return total


def added(name: str, total: Any, term: Any) -> Any:
    """Return the sum of two options' outputs; raises SpaceError where their shapes differ."""
    if getattr(term, "shape", None) != getattr(total, "shape", None):
        raise SpaceError(
            f"the options of choice {name!r} give outputs of different shapes, {tuple(total.shape)} and "
            f"{tuple(term.shape)}; all options of one choice must give the same shape"
        )
    return total + term
