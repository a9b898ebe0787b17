"""Cells of blocks that add two inputs, each through an operation of its own: the space that progressive search grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mimar.core.errors import SpaceError
from mimar.space.architecture import Architecture
from mimar.space.choice import Choice
from mimar.space.space import Space
from mimar.space.transforms.classes import Classes

OPERATIONS = (
    *("sep_conv_3x3", "sep_conv_5x5", "sep_conv_7x7", "conv_1x7_7x1"),
    *("skip_connect", "avg_pool_3x3", "max_pool_3x3", "dil_conv_3x3"),
)
DECISIONS = ("input1", "input2", "op1", "op2")  # of a block


def pair_cells(
    blocks: int = 5, operations: Sequence[str] = OPERATIONS, *, inputs: int = 2, prefix: str = "cell"
) -> Space:
    """Return the space of cells whose block b is op1(input1) + op2(input2), inputs out of the cell's and earlier blocks.

    (inputs + b)² · O² blocks with O operations; exchanging the two sides of a block leaves the network as it is, so that
    the canonical form has the lesser side first: 136 classes of one block with 2 inputs and 8 operations. Liu et al.,
    "Progressive neural architecture search", ECCV 2018, section 3.
    """
    if type(blocks) is not int or blocks < 1 or inputs < 1:
        raise SpaceError(f"a cell has at least one block and one input, not {blocks!r} and {inputs!r}")
    choices: list[Choice] = []
    for b in range(blocks):
        sources = tuple(map(str, range(inputs + b)))
        for decision in DECISIONS:
            options = sources if decision.startswith("input") else tuple(operations)
            choices.append(Choice(f"{prefix}/block{b}/{decision}", options))
    rule = Sides(prefix, tuple(operations))
    return Space(choices, structure=Classes(rule, rule))


@dataclass(frozen=True)
class Sides:
    """The rule that exchanges the sides of a block where the second is the lesser: by input, then by operation."""

    prefix: str
    operations: tuple[str, ...]

    def __call__(self, arch: Architecture) -> Architecture:
        made: dict[str, Any] = dict(arch)
        for b in range(len(arch) // len(DECISIONS)):
            first, second, one, other = (f"{self.prefix}/block{b}/{d}" for d in DECISIONS)
            sides = [(int(arch[first]), arch[one]), (int(arch[second]), arch[other])]
            (i, op1), (j, op2) = sorted(sides, key=lambda s: (s[0], self.operations.index(s[1])))
            made |= {first: str(i), second: str(j), one: op1, other: op2}
        return Architecture.trusted(made)
