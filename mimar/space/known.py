"""Known networks in the terms of a space: where a search may start."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from mimar.space.choice import Choice
from mimar.space.space import Space

EDGE = re.compile(r"(\d+)-(\d+)")
CONVOLUTIONS = ("nor_conv_3x3", "sep_conv_3x3", "conv3", "conv3x3")
FREE = ("none", "skip_connect", "skip", "identity", "avg_pool_3x3", "max_pool_3x3", "noise")  # options without weights
SKIPS = ("skip_connect", "skip", "identity")
NASBENCH201 = {"0-1": 0, "0-2": 2, "1-2": 0, "0-3": 1, "1-3": 2, "2-3": 1}  # 0 convolution, 1 skip, 2 none


@dataclass(frozen=True)
class Residual:
    """A residual network in the terms of a space of cells: {choice: option}.

    NAS-Bench-201: two 3×3 convolutions along the chain 0 → 1 → 2, skips 0 → 3 and 2 → 3: cell 11,472 of the table, the
    benchmark's "ResNet". DARTS: node j takes a 3×3 convolution of node j − 1 and a skip from node j − 2. Any other choice
    takes its first option.
    """

    version: ClassVar[int] = 1

    def __call__(self, space: Space) -> dict[str, str]:
        """Return the option of every choice of kind `one` that this says something about."""
        four = {EDGE.sub("", c.name) for c in space.choices if c.name.endswith("2-3") and "none" in c.allowed}
        found = {c.name: _of(c, four) for c in space.choices if c.kind == "one"}
        return {name: option for name, option in found.items() if option is not None}


def _of(choice: Choice, four: set[str]) -> str | None:
    edge = EDGE.fullmatch(choice.name.rpartition("/")[2])
    if edge is None:
        return str(choice.allowed[0])
    if EDGE.sub("", choice.name) in four:
        wanted: tuple[str, ...] = (CONVOLUTIONS, SKIPS, ("none",))[NASBENCH201.get(edge[0], 2)]
    else:
        gap = int(edge[2]) - int(edge[1])
        wanted = CONVOLUTIONS if gap == 1 else SKIPS if gap == 2 else ()
    return next((o for o in wanted if o in choice.allowed), None)
