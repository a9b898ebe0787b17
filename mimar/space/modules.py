"""Choices as ordinary modules, anywhere inside a plain PyTorch model.

A choice knows its candidates, not how to run them: the execution in force (set by the supernet for the time of one call)
decides which candidates run and how their outputs are mixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Protocol

import torch
from torch import Tensor, nn

from mimar.core.errors import SpaceError, UsageError
from mimar.space.choice import Choice


class Execution(Protocol):
    """What runs a choice: returns the mixture Σ gate_i · candidate_i, gates being the execution's own."""

    def one(self, choice: OneOf, x: tuple[Tensor, ...]) -> Tensor:
        """Run a OneOf on the arguments of its call."""

    def some(self, choice: SomeOf, xs: Tensor | Sequence[Tensor]) -> Tensor:
        """Run a SomeOf on one input for all candidates, or on one input for each."""

    # An execution may also have total(modules, xs) and joined(xs): see the functions of these names below.


EXECUTION: ContextVar[Execution | None] = ContextVar("EXECUTION", default=None)


def current(choice: OneOf | SomeOf) -> Execution:
    """Return the execution in force; raises UsageError, saying what to do, when a choice is called on its own."""
    execution = EXECUTION.get()
    if execution is None:
        raise UsageError(
            f"choice {choice.name!r} was called outside a supernet; call the model through mimar.supernet.Supernet(model), "
            "or take one network out of it with mimar.supernet.extract(model, architecture)"
        )
    return execution


def total(modules: Sequence[nn.Module], xs: Sequence[Tensor]) -> Tensor:
    """Return Σ_i module_i(x_i): said in one call, so that an execution can run the terms together."""
    together = getattr(EXECUTION.get(), "total", None)
    if together is not None:
        return together(modules, xs)
    found = [module(x) for module, x in zip(modules, xs, strict=True)]
    return sum(found[1:], start=found[0])


def joined(xs: Sequence[Tensor]) -> Tensor:
    """Return the channels of all inputs (B, C_i, H, W) side by side: torch.cat, unless an execution has something faster."""
    join = getattr(EXECUTION.get(), "joined", None)
    return torch.cat(list(xs), dim=1) if join is None else join(xs)


class OneOf(nn.Module):
    """One of several modules: ``OneOf({"conv": conv, "skip": nn.Identity()}, name="body")``.

    Two choices of the same name are one decision. Options in `never` take part in the supernet's mixture but are never
    sampled or derived. Raises SpaceError when there are fewer than two options or one is not a module.
    """

    def __init__(self, options: Mapping[str, nn.Module], name: str, *, never: Sequence[str] = ()) -> None:
        super().__init__()
        _check(options, name, "OneOf")
        self.choice = Choice(name, tuple(options), "one", never=(never,) if isinstance(never, str) else tuple(never))
        self.name = name
        self.options: tuple[str, ...] = tuple(options)
        self.candidates = nn.ModuleList(options.values())

    def forward(self, *x: Tensor) -> Tensor:
        """Return Σ gate_i · candidate_i(x) under the execution in force."""
        return current(self).one(self, x)

    def extra_repr(self) -> str:
        """Show the name and the options."""
        return f"name={self.name!r}, options={self.options!r}"


class SomeOf(nn.Module):
    """`k` of several modules, summed: ``SomeOf({"0": edge0, "1": edge1, "2": edge2}, k=2, name="node")``.

    Called with one tensor, every candidate gets it; called with a list or tuple, candidate i gets the i-th entry.
    Raises SpaceError when there are fewer than two options, one is not a module, or k is out of range.
    """

    def __init__(self, options: Mapping[str, nn.Module], k: int, name: str) -> None:
        super().__init__()
        _check(options, name, "SomeOf")
        self.choice = Choice(name, tuple(options), "some", k)
        self.name = name
        self.k = k
        self.options: tuple[str, ...] = tuple(options)
        self.candidates = nn.ModuleList(options.values())

    def forward(self, xs: Tensor | Sequence[Tensor]) -> Tensor:
        """Return Σ gate_i · candidate_i(x_i) under the execution in force."""
        return current(self).some(self, xs)

    def extra_repr(self) -> str:
        """Show the name, k and the options."""
        return f"name={self.name!r}, k={self.k}, options={self.options!r}"


def _check(options: Mapping[str, nn.Module], name: str, kind: str) -> None:
    if not isinstance(name, str) or not name:
        raise SpaceError(f"a {kind} needs a name that is a non-empty string, not {name!r}")
    if not isinstance(options, Mapping):
        raise SpaceError(f"{kind} {name!r} takes a dict of option and module, not {type(options).__name__}")
    if len(options) < 2:
        found = f"only the option {next(iter(options))!r}" if options else "no options"
        raise SpaceError(f"{kind} {name!r} has {found}; a choice needs at least two")
    for option, module in options.items():
        if not isinstance(option, str) or not option:
            raise SpaceError(f"{kind} {name!r} has the option name {option!r}; expected a non-empty string")
        if not isinstance(module, nn.Module):
            found = f"the class {module.__name__}" if isinstance(module, type) else type(module).__name__
            raise SpaceError(f"option {option!r} of {kind} {name!r} must be an nn.Module, not {found}")
