"""A graph network that lets messages run along the edges and against them, each way with weights of its own.

    V' = ½ ReLU(Â V W⁺) + ½ ReLU(B̂ V W⁻),     Â, B̂ = A + I, Aᵀ + I, each row divided by its sum

N graphs, V nodes (the most of any), L labels, H channels. The prediction is a linear map of the mean over nodes. Wen et
al., "Neural Predictor for neural architecture search", ECCV 2020.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mimar.core.ranges import Count, Fraction, NonNegative, Positive, validate
from mimar.core.streams import derive, isolated
from mimar.predictors.descent import Pace, descend
from mimar.predictors.graphs import Contracted, has_graph, reader, unread, whole
from mimar.predictors.parts import Array, Prediction, Scale, checked, unfitted
from mimar.predictors.sequence import Tokens
from mimar.space import Architecture, Space

CHUNK = 1000  # graphs predicted at once


@dataclass(frozen=True)
class GraphNetwork:
    """`layers` of `channels`, a linear layer of `head`, `dropout` after each; Adam on the squared error of standardised y.

    `graph`: "contracted", without skips, zeros and dead nodes, or "whole", as the space encodes it. `split`: a first
    network learns which architectures are above this value of y, the second sees these only, and what the first rejects
    is predicted at the mean of the rejected. The standard deviation is over `members`; with one it is 0. Decisions that
    the graph does not show (all of them in a space without graphs) are nodes beside it.
    """

    layers: Count = 3
    channels: Count = 144
    head: Count = 128
    dropout: Fraction = 0.1
    epochs: Count = 40
    batch: Count = 10
    lr: Positive = 3e-3
    decay: NonNegative = 1e-3
    graph: Literal["contracted", "whole"] = "contracted"
    split: float | None = None
    members: Count = 1
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> GraphModel:
        """Return a model that has learned nothing."""
        return GraphModel(self, Encoder(space, self.graph), seed)


class Batch(NamedTuple):
    """Labels one-hot (N, V, L), Â and B̂ (N, V, V), and the share of each node in the mean (N, V)."""

    labels: Tensor
    forth: Tensor
    back: Tensor
    share: Tensor

    def rows(self, index: Tensor) -> Batch:
        """Return some of the graphs."""
        return Batch(*(t[index] for t in self))


def batch(graphs: Sequence[Contracted], number: Mapping[str, int]) -> Batch:
    """Return graphs as one batch; a label without a number is all zeros."""
    most = max(len(g.labels) for g in graphs)
    one, adjacency, share = (np.zeros((len(graphs), most, d), np.float32) for d in (len(number), most, 1))
    for i, (labels, after) in enumerate(graphs):
        share[i, : len(labels)] = 1.0 / len(labels)
        for v, label in enumerate(labels):
            adjacency[i, v, after[v]] = 1.0
            if label in number:
                one[i, v, number[label]] = 1.0
    loops = adjacency + np.eye(most, dtype=np.float32)
    ways = (w / w.sum(2, keepdims=True) for w in (loops, loops.swapaxes(1, 2)))
    return Batch(*(torch.from_numpy(np.ascontiguousarray(a)) for a in (one, *ways, share[..., 0])))


class Encoder:
    """Architectures as graphs with numbered labels: their own graph, and a node for every decision that is not in it."""

    def __init__(self, space: Space, graph: Literal["contracted", "whole"]) -> None:
        self.graph = (reader(space) if graph == "contracted" else partial(whole, space)) if has_graph(space) else None
        self.others = frozenset(unread(space))
        self.tokens = Tokens(space)
        self.number: dict[str, int] = {}

    def read(self, arch: Architecture) -> Contracted:
        """Return the graph; of the nodes beside it, each feeds all later ones."""
        labels, after = self.graph(arch) if self.graph else Contracted((), ())
        if not self.others:
            return Contracted(labels, after)
        words = [f"{choice} = {option}" for choice, option in self.tokens.words(arch) if choice in self.others]
        numbers = range(len(labels), len(labels) + len(words))
        return Contracted((*labels, *words), (*after, *(tuple(numbers[i + 1 :]) for i in range(len(words)))))

    def learn(self, architectures: Sequence[Architecture]) -> Batch:
        """Number the labels as they come, and return the graphs."""
        graphs = [self.read(a) for a in architectures]
        self.number = {label: i for i, label in enumerate(dict.fromkeys(o for g in graphs for o in g.labels))}
        return batch(graphs, self.number)

    def distinct(self, architectures: Sequence[Architecture]) -> tuple[list[Contracted], Array]:
        """Return every graph once, and for each architecture which one it is."""
        place: dict[Contracted, int] = {}
        rows = [place.setdefault(self.read(a), len(place)) for a in architectures]
        return list(place), np.array(rows, dtype=np.int64)


class Directed(nn.Module):
    """One layer."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.forth, self.back = (nn.Parameter(nn.init.xavier_uniform_(torch.empty(inputs, outputs))) for _ in range(2))

    def forward(self, x: Tensor, forth: Tensor, back: Tensor) -> Tensor:
        """Return (N, V, outputs) of x (N, V, inputs)."""
        return 0.5 * (torch.relu(forth @ (x @ self.forth)) + torch.relu(back @ (x @ self.back)))


class Net(nn.Module):
    """All layers and the head."""

    def __init__(self, part: GraphNetwork, labels: int) -> None:
        super().__init__()
        widths = [labels, *[part.channels] * part.layers]
        self.layers = nn.ModuleList([Directed(a, b) for a, b in pairwise(widths)])
        self.hidden, self.out = nn.Linear(part.channels, part.head), nn.Linear(part.head, 1)
        self.dropout = nn.Dropout(part.dropout)

    def forward(self, given: Batch) -> Tensor:
        """Return (N,)."""
        x = given.labels
        for layer in self.layers:
            x = self.dropout(layer(x, given.forth, given.back))
        x = (x * given.share[..., None]).sum(1)  # (N, H)
        out: Tensor = self.out(self.dropout(self.hidden(x))).squeeze(-1)
        return out


class GraphModel:
    """The networks after `fit`."""

    def __init__(self, part: GraphNetwork, encoder: Encoder, seed: int) -> None:
        self.part, self.encoder, self.seed = part, encoder, seed
        self.nets: list[Net] = []
        self.sieves: list[Net] = []
        self.scale, self.rejected = Scale(0.0, 1.0), 0.0

    def fit(self, architectures: Sequence[Architecture], y: Sequence[float]) -> None:
        """Train from scratch. The sieve needs architectures on both sides of `split`; without, there is none."""
        values, _ = checked(architectures, y)
        graphs = self.encoder.learn(architectures)
        self.sieves, keep = [], np.ones(len(values), dtype=bool)
        if self.part.split is not None and 0 < (values > self.part.split).sum() < len(values):
            keep = values > self.part.split
            self.rejected = float(values[~keep].mean())
            self.sieves = [self._trained(graphs, keep.astype(float), "sieve", m) for m in range(self.part.members)]
        kept = torch.from_numpy(np.flatnonzero(keep))
        _, self.scale = checked(kept.tolist(), values[keep])
        target = self.scale.of(values[keep])
        self.nets = [self._trained(graphs.rows(kept), target, "value", m) for m in range(self.part.members)]

    def _trained(self, graphs: Batch, target: Array, kind: str, member: int) -> Net:
        part, y = self.part, torch.from_numpy(target).float()
        loss = nn.functional.binary_cross_entropy_with_logits if kind == "sieve" else nn.functional.mse_loss
        with isolated(derive(self.seed, "graph network", kind, member)):
            net = Net(part, graphs.labels.shape[2]).train()
            pace = Pace(part.epochs, part.batch, part.lr, part.decay)
            descend(net, lambda rows: net(graphs.rows(rows)), y, pace, loss)
        return net.eval()

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        """Return mean and standard deviation over the members."""
        if not self.nets:
            raise unfitted(self)
        if not len(architectures):
            return np.zeros(0), np.zeros(0)
        graphs, rows = self.encoder.distinct(architectures)
        with torch.no_grad():
            found = [
                self._predicted(batch(graphs[i : i + CHUNK], self.encoder.number)) for i in range(0, len(graphs), CHUNK)
            ]
        each = np.concatenate(found, axis=1)[:, rows]
        return each.mean(0), each.std(0)

    def _predicted(self, graphs: Batch) -> Array:
        """Return the prediction of every member, (members, N)."""
        each: Array = (
            torch.stack([net(graphs) for net in self.nets]).double().numpy() * self.scale.std + self.scale.mean
        )
        if self.sieves:
            passed = torch.stack([net(graphs) for net in self.sieves]).mean(0).numpy() > 0
            each = np.where(passed, each, self.rejected)
        return each
