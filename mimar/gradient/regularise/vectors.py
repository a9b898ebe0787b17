"""What terms that measure distances between gates share."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mimar.gradient.derive import Strongest
from mimar.gradient.relax import relaxed
from mimar.space import Choice, Space


def cells(space: Space) -> dict[str, list[Choice]]:
    """Return the relaxed choices by cell: by what stands before the slash in their names."""
    found: dict[str, list[Choice]] = {}
    for choice in relaxed(space):
        found.setdefault(choice.name.partition("/")[0], []).append(choice)
    return found


def length(x: Tensor) -> Tensor:
    """Return ‖x‖ of a vector, with the derivative 0 at 0, where the norm has none."""
    square = x.square().sum()
    zero = square == 0
    return torch.where(zero, square, torch.where(zero, torch.ones_like(square), square).sqrt())


@torch.no_grad()
def vertex(space: Space, gates: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the relaxed choices' gates of the architecture that DARTS' derivation (`Strongest`) finds: one-hot.

    A choice that is not active in it gets zeros: in the DARTS space an edge that is not among the two of its node.
    """
    names = [c.name for c in relaxed(space)]
    low = min((float(gates[n].min()) for n in names), default=0.0)
    raised = {n: g - min(low, 0.0) if n in names else g for n, g in gates.items()}  # strengths have to be positive
    chosen = space.gates(Strongest()(space, raised))
    return {n: chosen[n].to(gates[n]) if n in chosen else torch.zeros_like(gates[n]) for n in names}
