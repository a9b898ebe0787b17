"""The derivation of independent gates: what is on, and nothing where nothing is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mimar.core.ranges import Fraction, validate
from mimar.gradient.derive.strongest import Strongest
from mimar.gradient.relax import relaxed
from mimar.space import Architecture, Choice, Space

FAR = 1e-9  # what an option that is off counts for beside one that is on


@dataclass(frozen=True)
class Threshold:
    """Each choice takes its strongest option whose gate exceeds `threshold`.

    An option of `empty` is never taken for its own gate, to which no loss of the data speaks. A choice without an option that is on takes the first of `empty` that it may derive, else its strongest option. Choices of
    kind `some` and constraints are as with `Strongest`: candidates with an option that is on come first.
    Source: Fair DARTS (Chu et al., ECCV 2020), threshold 0.85, with sigmoid gates. There every operation above the
    threshold of the two strongest edges stays; our spaces hold one operation an edge.
    """

    threshold: Fraction = 0.85
    empty: tuple[str, ...] = ("none",)
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, space: Space, gates: Mapping[str, Tensor]) -> Architecture:
        """Return the derived architecture; raises SpaceError where the constraints allow none."""
        plain = {c.name: self._ranked(c, gates[c.name]) for c in relaxed(space) if c.name in gates}
        return Strongest()(space, {**gates, **plain})

    def _ranked(self, choice: Choice, gate: Tensor) -> Tensor:
        """Return gates whose largest is the option to take."""
        above = gate.detach() > self.threshold  # in the type of the gates, of which 0.85 need not be a number
        gate = gate.detach().double().clamp_min(0.0)
        derivable = torch.tensor([o not in choice.never and o not in self.empty for o in choice.options]).to(
            gate.device
        )
        on = above & derivable
        if bool(on.any()):
            return torch.where(on, gate, FAR * gate)
        for option in self.empty:
            if option in choice.allowed:
                place = choice.options.index(option)
                weak = FAR * gate
                weak[place] = gate.max().clamp_min(FAR)  # the edge is no stronger for being empty
                return weak
        return gate
