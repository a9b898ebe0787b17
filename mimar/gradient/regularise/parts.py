"""What all terms share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

from mimar.core.errors import UsageError
from mimar.core.trees import Tensors
from mimar.space import Space
from mimar.supernet import Gates

Scope = Literal["inner", "outer"]


@dataclass
class View:
    """What a term may look at beside weights and alphas: the pass whose loss it is added to.

    `again(weights, gates, buffers)`: the same batch under the same noise through the network once more, as (outputs,
    loss of the data); None stands for what this pass had. `other()`: the same weights and gates on a batch of the other
    half. `costs("params" | "macs")`: {choice: (options,) cost of every option}.
    """

    space: Space
    names: Sequence[str]  # of the alphas
    gates: Gates  # as the relaxation gave them
    loss: Tensor  # of the data
    outputs: tuple[Tensor, ...]  # of the network
    progress: float  # of the search, 0 to 1
    held: dict[str, Tensor]  # what parts keep between steps
    settings: Mapping[str, float]  # what a schedule has set
    scope: Scope
    relax: Callable[[Tensors], Gates]
    again: Callable[..., tuple[tuple[Tensor, ...], Tensor]]
    other: Callable[[], Tensor]
    costs: Callable[[str], Mapping[str, Tensor]]
    weight_names: tuple[str, ...] = ()
    owners: Mapping[str, tuple[tuple[str, int], ...]] = field(
        default_factory=dict
    )  # weight → (choice, option) it is in


@dataclass
class Moment:
    """Where a search stands after a step: what terms with a memory look at."""

    weights: Tensors
    buffers: Tensors
    alphas: Tensors
    names: Sequence[str]
    step: int  # number of the weight step, from 0
    progress: float
    kind: Scope  # which step was taken
    gates: Gates = field(default_factory=Gates)
    space: Space | None = None


class Term(Protocol):
    """An extra loss: added to the inner (training) or the outer (validation) loss, as its `scope` says.

    A term with a memory also has `keeps(weights, alphas)` and `settle(held, moment)`: see the functions of these names.
    """

    @property
    def scope(self) -> Scope: ...

    def __call__(self, weights: Tensors, alphas: Tensors, view: View | None = None) -> Tensor:
        """Return a scalar, differentiable in both."""
        ...


def keeps(part: Term, weights: Tensors, alphas: Tensors) -> dict[str, Tensor]:
    """Return what a term keeps between steps, as it is at the start: nothing unless it has `keeps`."""
    own = getattr(part, "keeps", None)
    return {} if own is None else own(weights, alphas)


@torch.no_grad()
def settle(part: Term, held: dict[str, Tensor], moment: Moment) -> None:
    """Let a term follow up a step of its own scope, in place in what is held."""
    own = getattr(part, "settle", None)
    if own is not None and part.scope == moment.kind:
        own(held, moment)


def seen(view: View | None, part: object) -> View:
    """Return the view; raises UsageError where a term that needs one was called without it."""
    if view is None:
        raise UsageError(
            f"{type(part).__name__} looks at the whole pass, not only at weights and alphas; a search loop gives it the view"
        )
    return view
