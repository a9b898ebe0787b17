"""A network with two heads on one encoder: what is free to know of an architecture teaches the encoder first.

    h = encoder(x);     costs ≈ first(h);     y ≈ second(h, r)

x: the one-hot code of the architecture; r: that of the choices that say how it is trained, which only the second head
sees. First encoder and first head learn the costs of unlabelled architectures, then encoder and second head the values
of the measured. Dai et al., "FBNetV3", CVPR 2021, section 3.2.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from mimar.core.errors import DataError
from mimar.core.ranges import Count, Fraction, NonNegative, Positive, Whole, validate
from mimar.core.streams import Draws, derive, isolated
from mimar.predictors.columns import Columns
from mimar.predictors.descent import Pace, descend
from mimar.predictors.parts import Array, Prediction, Scale, checked, unfitted
from mimar.space import Architecture, Space

Costs = Callable[[Architecture], Mapping[str, float]]
BEFORE = 32  # architectures a step while costs are learned


@dataclass(frozen=True)
class SharedEncoder:
    """Encoder of two layers of `hidden` units, second head of one; Adam on squared errors of standardised figures.

    `unlabelled` architectures teach their costs for `before` epochs, where the search has told how to know them (a model
    that was not told begins at random). Then come `epochs` on y, the encoder held for the first share `frozen` of them.
    Choices of kind `value`, and those whose names begin with one of `recipe`, go to the second head alone. The standard
    deviation is over `members`; with one it is 0.
    """

    hidden: Count = 64
    unlabelled: Count = 500
    before: Whole = 60
    epochs: Count = 150
    frozen: Fraction = 0.5
    batch: Count = 16
    lr: Positive = 3e-3
    decay: NonNegative = 1e-4
    recipe: tuple[str, ...] = ("recipe/",)
    members: Count = 1
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> EncodedModel:
        """Return a model that has learned nothing."""
        return EncodedModel(self, space, seed)


class Heads(nn.Module):
    """The network: x (N, D), r (N, R)."""

    def __init__(self, columns: int, beside: int, costs: int, hidden: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(columns, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.first = nn.Linear(hidden, costs)
        self.second = nn.Sequential(nn.Linear(hidden + beside, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def value(self, x: Tensor, r: Tensor) -> Tensor:
        """Return (N,)."""
        found: Tensor = self.second(torch.cat([self.encoder(x), r], 1)).squeeze(-1)
        return found


class EncodedModel:
    """The networks after `fit`."""

    def __init__(self, part: SharedEncoder, space: Space, seed: int) -> None:
        self.part, self.space, self.seed = part, space, seed
        beside = [c.name for c in space.ordered if c.kind == "value" or c.name.startswith(part.recipe)]
        self.columns = Columns(space, [c.name for c in space.ordered if c.name not in beside])
        self.beside = Columns(space, beside)
        self.costs: Costs | None = None
        self.names: tuple[str, ...] = ()
        self.scales: list[Scale] = []
        self.begun: list[Heads] = []
        self.nets: list[Heads] = []
        self.scale = Scale(0.0, 1.0)

    def inform(self, costs: Costs) -> None:
        """Take note of how to know the costs of any architecture; they are learned before the next fit."""
        self.costs, self.begun = costs, []

    def fit(self, architectures: Sequence[Architecture], y: Sequence[float]) -> None:
        """Learn y from where the costs left the encoder."""
        values, self.scale = checked(architectures, y)
        target = torch.from_numpy(self.scale.of(values)).float()
        x, r = self._codes(architectures)
        held, part = round(self.part.frozen * self.part.epochs), self.part
        self.nets = []
        for member, begun in enumerate(self._begun()):
            net = copy.deepcopy(begun)
            with isolated(derive(self.seed, "shared encoder", member)):
                for epochs, learning in ((held, False), (part.epochs - held, True)):
                    net.encoder.requires_grad_(learning)
                    pace = Pace(epochs, part.batch, part.lr, part.decay)
                    descend(net, partial(self._value, net, x, r), target, pace)
            self.nets.append(net)

    def _begun(self) -> list[Heads]:
        """Return the networks that know the costs, one a member."""
        if not self.begun:
            drawn, table = self._unlabelled()
            x, part = self._codes(drawn)[0], self.part
            for member in range(part.members):
                with isolated(derive(self.seed, "costs", member)):
                    net = Heads(len(self.columns), len(self.beside), max(len(self.names), 1), part.hidden)
                    if len(self.names):
                        descend(net, partial(self._costs, net, x), table, Pace(part.before, BEFORE, part.lr))
                self.begun.append(net)
        return self.begun

    @staticmethod
    def _value(net: Heads, x: Tensor, r: Tensor, rows: Tensor) -> Tensor:
        return net.value(x[rows], r[rows])

    @staticmethod
    def _costs(net: Heads, x: Tensor, rows: Tensor) -> Tensor:
        found: Tensor = net.first(net.encoder(x[rows]))
        return found

    def _unlabelled(self) -> tuple[list[Architecture], Tensor]:
        """Return architectures and their costs in standard units, (N, costs); costs that are not finite are left out."""
        draws = Draws(self.seed, "unlabelled")
        drawn = [self.space.sample(draws) for _ in range(self.part.unlabelled if self.costs else 0)]
        rows = [self.costs(a) for a in drawn] if self.costs else []
        known = [(a, row) for a, row in zip(drawn, rows, strict=True) if row and np.isfinite([*row.values()]).all()]
        self.names = tuple(known[0][1]) if known else ()
        columns = [checked(known, [row[name] for _, row in known]) for name in self.names]
        self.scales = [scale for _, scale in columns]
        table = np.stack([scale.of(v) for v, scale in columns], 1) if columns else np.zeros((0, 1))
        return [a for a, _ in known], torch.from_numpy(table).float()

    def _codes(self, architectures: Sequence[Architecture]) -> tuple[Tensor, Tensor]:
        return tuple(torch.from_numpy(c(architectures)).float() for c in (self.columns, self.beside))  # type: ignore[return-value]

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        """Return mean and standard deviation over the members."""
        if not self.nets:
            raise unfitted(self)
        x, r = self._codes(architectures)
        with torch.no_grad():
            each: Array = torch.stack([net.value(x, r) for net in self.nets]).double().numpy()
        return each.mean(0) * self.scale.std + self.scale.mean, each.std(0) * self.scale.std

    def predict_costs(self, architectures: Sequence[Architecture]) -> dict[str, Array]:
        """Return what the first head makes of the costs; raises DataError where none were learned."""
        nets = self.nets or self._begun()
        if not self.names:
            raise DataError("this model was never told how to know the costs of an architecture")
        x, _ = self._codes(architectures)
        with torch.no_grad():
            each: Array = torch.stack([net.first(net.encoder(x)) for net in nets]).double().mean(0).numpy()
        return {n: each[:, i] * s.std + s.mean for i, (n, s) in enumerate(zip(self.names, self.scales, strict=True))}
