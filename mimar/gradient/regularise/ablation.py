"""What each cell adds to the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import NonNegative, Positive, validate
from mimar.core.trees import Tensors, detached
from mimar.gradient.regularise.parts import Scope, View, seen
from mimar.gradient.regularise.vectors import cells
from mimar.space import Choice
from mimar.supernet import Gates

PASSING = ("skip_connect", "skip", "identity")  # what a bypassed cell is made of, the first that it has


@dataclass(frozen=True)
class Ablation:
    """Rewards cells for their marginal contribution M_c, the loss with cell c less the loss with it bypassed.

        rate · Σ_c (M_c − M̄) / max(|M̄|, floor),    M̄ the mean of all M_c, a constant

    The gradient goes to the alphas of cell c in M_c alone; the other cells' gates and the weights are constants. The
    loss of the bypassed network does not depend on c, so that with gates of one's own cell the gradient is
    rate / max(|M̄|, floor) · ∂L/∂a, and the value is 0. A cell: all relaxed choices with the same name before the slash;
    bypassed: each takes its skip, or passes nothing on where it has none; choices of kind `some` stay as they are. Raises
    UsageError without a view. Costs one pass a cell, and one more where weights vary.
    Source: D-DARTS (Heuillet et al., 2021), rate 0.7, there −(M_c − M̄)/M̄: the same where cells lower the loss (M̄ < 0);
    elsewhere the published sign would raise the loss. In the authors' release the term is a constant without gradient.
    """

    rate: NonNegative = 0.7
    floor: Positive = 0.1
    scope: ClassVar[Scope] = "outer"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, weights: Tensors, alphas: Tensors, view: View | None = None) -> Tensor:
        view = seen(view, self)
        fixed, groups = detached(weights), cells(view.space)
        moving = any(w.requires_grad for w in weights)
        own = view.again(weights=fixed)[1] if moving else view.loss  # as a function of all alphas: dL/da_c = dM_c/da_c
        with torch.no_grad():
            without = [view.again(weights=fixed, gates=bypassed(view.gates, group))[1] for group in groups.values()]
            mean = own - torch.stack(without).mean()
        return self.rate / mean.abs().clamp_min(self.floor) * (own - own.detach())  # the deviations sum to 0


def bypassed(gates: Gates, group: list[Choice]) -> Gates:
    """Return constant gates in which the choices of a group pass their input on."""
    found = Gates({name: gate.detach() for name, gate in gates.items()}, getattr(gates, "active", None))
    for choice in group:
        option = next((o for o in PASSING if o in choice.options), None)
        found[choice.name] = torch.zeros_like(found[choice.name])  # all closed: what `none` would give
        if option is not None:
            found[choice.name][choice.options.index(option)] = 1.0
        found.active.pop(choice.name, None)
    return found
