"""The derivation of grids of widths and operations: the path of largest weight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from mimar.core.errors import SpaceError
from mimar.gradient.derive.strongest import Strongest, strengths
from mimar.space import Architecture, Chain, Space
from mimar.space.chains import ends

LEAST = 1e-300  # a gate below it counts as this much, as for `Strongest`


@dataclass(frozen=True)
class BestPath:
    """The architecture with the largest product of gates among all that obey the space's chain, by dynamic programming.

        best_l(end) = max over options of layer l that end there of gate · best_{l−1}(start)

    Exact, in one look at every option: O(layers · widths² · operations). It knows the chain by its type: the space's one
    constraint is a `mimar.space.Chain` through all of its choices, each of kind `one` and always active. Other spaces are
    derived by `Strongest`, which looks for the same product, best first. Raises SpaceError where no path leads through.
    Ties go to the earlier option. Source: sharpDARTS (2019), maximum-weight path in the graph.
    """

    version: ClassVar[int] = 1

    def __call__(self, space: Space, gates: Mapping[str, Tensor]) -> Architecture:
        """Return the derived architecture."""
        if not (names := _chained(space)):
            return Strongest()(space, gates)
        strong = strengths(space, gates)
        best: dict[str, tuple[float, Any]] | None = None  # where paths end: (log weight, options, the last one outside)
        for name in names:
            reached: dict[str, tuple[float, Any]] = {}
            for option, strength in strong[name].items():
                start, end = ends(option)
                score, path = (0.0, None) if best is None else best.get(start, (-math.inf, None))
                score += math.log(max(strength, LEAST))
                if score > reached.get(end, (-math.inf,))[0]:
                    reached[end] = score, (option, path)
            best = reached
        if not best:
            raise SpaceError(f"no path leads through the choices {', '.join(names)}; give them options that meet")
        path, found = max(best.values(), key=lambda pair: pair[0])[1], {}
        for name in reversed(names):
            found[name], path = path
        return Architecture({name: found[name] for name in names})


def _chained(space: Space) -> tuple[str, ...]:
    """Return the choices of a chain through the whole space, or none."""
    chain = space.constraints[0] if len(space.constraints) == 1 else None
    if not isinstance(chain, Chain) or sorted(chain.names) != sorted(c.name for c in space.choices):
        return ()
    return () if any(choice.kind != "one" or choice.when for choice in space.choices) else chain.names
