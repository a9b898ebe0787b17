"""Architectures as lists of tokens of any length, read by an ensemble of small networks: an LSTM, or a mean of embeddings.

A decision is a token, the same for an option wherever it stands, so that a model fitted on short lists reads longer ones;
a choice of kind `some` is a token for every option that it takes. A partial architecture is a shorter list.

E members, N architectures, T tokens at most, D numbers an embedding, H hidden units. Each member learns from its share of
the data, all of them at once:

    z = rank of y in [0, 1],   ẑ = sigmoid(head(read(tokens))),   loss = mean |ẑ − z|

A prediction is the quantile ẑ of the fitted y; its mean and standard deviation are those over members. Liu et al., "Progressive neural architecture
search", ECCV 2018, section 4.2 and appendix A.1: 5 members on 4/5 of the data each, 100 units, L1 loss (there
on accuracies, where a few failures among the data leave no room for the differences between good ones).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from mimar.core.quantiles import quantiles
from mimar.core.ranges import Count, Positive, Range, validate
from mimar.core.streams import stream
from mimar.predictors.parts import Array, Prediction, checked, unfitted
from mimar.space import Architecture, Space

CELLS = 10  # tokens of a continuous choice
START = 0.1  # embeddings and recurrent weights begin uniform within ±0.1


@dataclass(frozen=True)
class Sequences:
    """An ensemble that reads token lists. `read`: "mean" as a bag of embeddings through a hidden layer, "lstm" in order.

    The bag embeds an option twice and adds: once for itself, once for where it stands, since a mean forgets places.
    `share`: of the data that a member learns from; `steps` of Adam at the rate `lr`, all data at once.
    """

    read: Literal["lstm", "mean"] = "mean"
    members: Count = 5
    share: Annotated[float, Range(0.0, 1.0, open_low=True)] = 0.8
    hidden: Count = 32
    steps: Count = 100
    lr: Positive = 0.02
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, seed: int) -> SequenceModel:
        """Return a model that has learned nothing."""
        return SequenceModel(self, Tokens(space), seed)


class Tokens:
    """The token lists of the architectures of a space: 0 is no token, an option has the same number in all choices."""

    def __init__(self, space: Space) -> None:
        self.space = space
        texts = [str(o) for c in space.ordered for o in (range(CELLS) if c.kind == "value" else c.options)]
        self.number = {text: i for i, text in enumerate(dict.fromkeys(texts), start=1)}
        self.place: dict[tuple[str, str], int] = {}
        for choice in space.ordered:
            for option in range(CELLS) if choice.kind == "value" else choice.options:
                self.place[choice.name, str(option)] = len(self.place) + 1

    def words(self, arch: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Return the decisions of an architecture, or of a part of one, in order: (choice, option)."""
        found = []
        for choice in self.space.ordered:
            if choice.name in arch:
                value = arch[choice.name]
                if choice.kind == "value":
                    value = min(int(choice.unit(value) * CELLS), CELLS - 1)
                found += [(choice.name, str(o)) for o in (value if isinstance(value, tuple) else (value,))]
        return found

    def __call__(self, architectures: Sequence[Mapping[str, Any]]) -> tuple[Tensor, Tensor]:
        """Return the lists by option and by (choice, option): int64 (N, T) each, ended by zeros."""
        lists = [self.words(arch) for arch in architectures]
        longest = max((len(words) for words in lists), default=0)
        rows = torch.zeros(2, len(lists), max(longest, 1), dtype=torch.int64)
        for i, words in enumerate(lists):
            rows[0, i, : len(words)] = torch.tensor([self.number[o] for _, o in words], dtype=torch.int64)
            rows[1, i, : len(words)] = torch.tensor([self.place[w] for w in words], dtype=torch.int64)
        return rows[0], rows[1]


class SequenceModel:
    """The ensemble at work; a function of (part, space, seed, architectures, y)."""

    def __init__(self, part: Sequences, tokens: Tokens, seed: int) -> None:
        self.part, self.tokens, self.seed = part, tokens, seed
        self.weights: dict[str, Tensor] = {}
        self.sorted: Array = np.zeros(0)  # fitted y, increasing

    def fit(self, architectures: Sequence[Architecture], y: Sequence[float]) -> None:
        """Learn from scratch; raises DataError where there is nothing to learn."""
        values, _ = checked(architectures, y)
        self.sorted = np.sort(values)
        target = torch.from_numpy(quantiles(values)).float()  # (N,)
        rng = stream(self.seed, "sequences")
        self.weights = self._begun(rng)
        mine = self._shares(len(values), rng)  # (E, N), rows sum to 1
        lists = self.tokens(architectures)
        with torch.enable_grad():
            for weight in self.weights.values():
                weight.requires_grad_(True)
            optimiser = torch.optim.Adam(list(self.weights.values()), lr=self.part.lr)
            for _ in range(self.part.steps):
                optimiser.zero_grad()
                loss = (
                    (self._read(*lists) - target).abs() * mine
                ).sum()  # members are apart: their gradients do not mix
                loss.backward()
                optimiser.step()
        for weight in self.weights.values():
            weight.requires_grad_(False)

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        """Return mean and standard deviation over the members, in units of y."""
        if not self.weights:
            raise unfitted(self)
        if not architectures:
            return np.zeros(0), np.zeros(0)
        with torch.no_grad():
            ranks: Array = self._read(*self.tokens(architectures)).double().numpy()  # (E, N)
        found = np.interp(ranks, np.linspace(0.0, 1.0, len(self.sorted)), self.sorted)
        return found.mean(0), found.std(0)

    def _shares(self, n: int, rng: torch.Generator) -> Tensor:
        """Return the weight of each datum in the loss of each member: member e leaves out the e-th part of a permutation."""
        order = torch.randperm(n, generator=rng)
        out = round(n * (1.0 - self.part.share)) if n > 1 else 0
        mine = torch.ones(self.part.members, n)
        for e in range(self.part.members if out < n else 0):
            mine[e, order[torch.arange(e * out, (e + 1) * out) % n]] = 0.0
        return mine / mine.sum(1, keepdim=True)

    def _begun(self, rng: torch.Generator) -> dict[str, Tensor]:
        e, h, tokens = self.part.members, self.part.hidden, self.tokens

        def drawn(*shape: int, bound: float = START) -> Tensor:
            return (torch.rand(e, *shape, generator=rng) * 2 - 1) * bound

        found = {"embed": drawn(len(tokens.number) + 1, h), "head": drawn(h, 1), "bias": torch.zeros(e, 1, 1)}
        if self.part.read == "lstm":
            gate = torch.zeros(e, 1, 4 * h)
            gate[..., h : 2 * h] = 1.0  # remember at first
            return found | {"turn": drawn(2 * h, 4 * h), "gate": gate}
        places = {"place": drawn(len(tokens.place) + 1, h)}
        return found | places | {"turn": drawn(h, h, bound=h**-0.5), "gate": torch.zeros(e, 1, h)}

    def _read(self, options: Tensor, places: Tensor) -> Tensor:
        """Return ẑ, (E, N)."""
        there = (options > 0).float()  # (N, T)
        state = self._through(options, there) if self.part.read == "lstm" else self._bag(options, places, there)
        return torch.sigmoid(state @ self.weights["head"] + self.weights["bias"]).squeeze(-1)

    def _through(self, options: Tensor, there: Tensor) -> Tensor:
        """Return the last hidden state of an LSTM, (E, N, H): a list that has ended leaves the state as it is."""
        enter, turn = self.weights["turn"].split(self.part.hidden, dim=1)
        x = (self.weights["embed"] @ enter + self.weights["gate"])[
            :, options
        ]  # (E, N, T, 4H), each option multiplied once
        h = c = x.new_zeros(*x.shape[:2], self.part.hidden)
        for t in range(x.shape[2]):
            i, f, o, g = (x[:, :, t] + h @ turn).chunk(4, -1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            here = there[:, t, None]
            h = here * torch.sigmoid(o) * torch.tanh(c) + (1 - here) * h
        return h

    def _bag(self, options: Tensor, places: Tensor, there: Tensor) -> Tensor:
        """Return the hidden layer over the mean embedding, (E, N, H)."""
        x = self.weights["embed"][:, options] + self.weights["place"][:, places]  # (E, N, T, H)
        mean = (x * there[..., None]).sum(2) / there.sum(1).clamp(min=1.0)[:, None]
        return torch.relu(mean @ self.weights["turn"] + self.weights["gate"])
