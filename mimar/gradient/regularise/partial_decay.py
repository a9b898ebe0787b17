"""Weight decay for what took part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mimar.core.ranges import NonNegative, validate
from mimar.core.trees import Tensors, square
from mimar.gradient.regularise.parts import Scope, View, seen
from mimar.supernet.gates import active_of


@dataclass(frozen=True)
class PartialDecay:
    """½ · rate · ‖w‖² over the weights that took part in this pass: those outside of options, and those of active ones.

    A weight of nested options takes part with all of them. A schedule that sets "decay" multiplies the rate by it. Raises
    UsageError without a view. Source: DropNAS (Hong et al., 2020); its release has rate · ‖w‖² and finds
    dropped options by gradients that are exactly 0, here the gates say which.
    """

    rate: NonNegative = 3e-4
    scope: ClassVar[Scope] = "inner"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, weights: Tensors, alphas: Tensors, view: View | None = None) -> Tensor:
        view = seen(view, self)
        names = view.weight_names or ("",) * len(weights)
        kept = [w for w, name in zip(weights, names, strict=True) if self._active(view, name)]
        rate = self.rate * view.settings.get("decay", 1.0)
        return 0.5 * rate * square(kept) if kept else view.loss.new_zeros(())

    def _active(self, view: View, name: str) -> bool:
        flags = [(active_of(view.gates, choice), option) for choice, option in view.owners.get(name, ())]
        return all(active is None or active[option] for active, option in flags)
