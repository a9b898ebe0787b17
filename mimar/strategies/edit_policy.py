"""A policy over steps by which a chain grows: which places become wider, which empty place is filled with what.

    h = BiLSTM(embedding of the option at each place);   P(place becomes wider) = σ(w·h_place), one w for all
    P(place, kind) = softmax over the empty places and what they can be filled with of (V h_place)_kind

Source: Cai, Chen, Zhang, Yu, Wang, "Efficient architecture search by network transformation", AAAI 2018, section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from mimar.core.errors import UsageError
from mimar.core.ranges import Count, Positive, Whole, validate
from mimar.core.streams import Draws
from mimar.space import Space

Path = Mapping[str, str]
Action = list[Any]  # ["wider", place, …] or ["deeper", place, number of the kind]


class Edits(Protocol):
    """The steps by which the architectures of a space grow; a constraint that has `edits(options)` gives them."""

    @property
    def names(self) -> tuple[str, ...]:
        """The choices that are the places of a chain, in order."""
        ...

    @property
    def options(self) -> Mapping[str, tuple[str, ...]]:
        """What can stand at each place."""
        ...

    @property
    def kinds(self) -> tuple[str, ...]:
        """What an empty place can be filled with."""
        ...

    @property
    def least(self) -> Path:
        """The smallest chain."""
        ...

    def wider(self, path: Path, name: str) -> Path | None:
        """Return the chain widened at a place; None where it cannot be."""
        ...

    def deeper(self, path: Path, name: str, what: str) -> Path | None:
        """Return the chain with an empty place filled; None where it is not empty."""
        ...


def edits(space: Space) -> Edits:
    """Return how the architectures of a space grow; raises UsageError where no constraint of it says."""
    options = {c.name: c.options for c in space.choices if c.kind == "one" and not c.when}
    for constraint in space.constraints:
        if hasattr(constraint, "edits"):
            found: Edits = constraint.edits(options)
            return found
    raise UsageError("growing needs a space with a chain of places that can be wider and deeper; net=convnet has one")


@dataclass(frozen=True)
class EditPolicy:
    """`wider` and then `deeper` actions on a chain, each decided on what the ones before it made.

    An action "wider" may widen any number of places, from the last to the first; one "deeper" fills one empty place. What
    cannot be widened or filled is not decided. Weights start uniform in ±scale. Differs from the paper, whose deeper actor
    emits block, position and kernel one after the other.
    """

    wider: Whole = 4
    deeper: Whole = 5
    embedding: Count = 16
    hidden: Count = 50
    scale: Positive = 0.08
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)
        if not self.wider and not self.deeper:
            raise UsageError("wider=0 and deeper=0 leave nothing to decide: give one of them at least 1")

    def start(self, edits: Edits, draws: Draws) -> EditSampler:
        """Return a sampler at its beginning."""
        return EditSampler(self, edits, draws)


class Walk(NamedTuple):
    """The actions that led from one chain to another, with the logarithm of their probability and their entropies."""

    path: Path
    actions: list[Action]
    log_prob: Tensor
    entropy: Tensor


class _Net(nn.Module):
    """Embedding, LSTM both ways, and a linear actor each for wider (1) and deeper (kinds). Float64, without values."""

    def __init__(self, words: int, kinds: int, embedding: int, hidden: int) -> None:
        super().__init__()
        kind: dict[str, Any] = {"dtype": torch.float64, "device": "meta"}  # no draw from the global generator
        self.embedding = nn.Embedding(words, embedding, **kind)
        self.encoder = nn.LSTM(embedding, hidden, bidirectional=True, **kind)
        self.wider = nn.Linear(2 * hidden, 1, **kind)
        self.deeper = nn.Linear(2 * hidden, kinds, **kind)


class EditSampler:
    """The policy at work: `parameters` (P,) are all of its weights."""

    def __init__(self, part: EditPolicy, edits: Edits, draws: Draws) -> None:
        self.part, self.edits = part, edits
        words = dict.fromkeys(word for name in edits.names for word in edits.options[name])
        self._words = {word: i for i, word in enumerate(words)}
        self.net = _Net(len(words), len(edits.kinds), part.embedding, part.hidden).to_empty(device="cpu")
        self._weights = list(self.net.parameters())
        flat = parameters_to_vector(self._weights).detach()
        flat.uniform_(-part.scale, part.scale, generator=draws.torch())
        vector_to_parameters(flat, self._weights)  # the weights are views of it from here on
        self.parameters: Any = flat.numpy()

    def load(self, parameters: Any) -> None:
        """Take these weights."""
        self.parameters[:] = parameters

    def _read(self, path: Path) -> Tensor:
        """Return what the encoder makes of each place, (L, 2·hidden)."""
        words = torch.tensor([self._words[path[name]] for name in self.edits.names])
        found: Tensor = self.net.encoder(self.net.embedding(words)[:, None])[0][:, 0]
        return found

    def walk(self, path: Path, draws: Draws | None = None, actions: Sequence[Action] = ()) -> Walk:
        """Walk from a chain by actions that are drawn, or by those given, with their graph."""
        made: list[Action] = []
        logs, ways = [torch.zeros((), dtype=torch.float64)], [torch.zeros((), dtype=torch.float64)]
        given = iter(actions)
        for step in [self._wider] * self.part.wider + [self._deeper] * self.part.deeper:
            found = step(path, draws, given)
            if found is not None:
                path = found.path
                made += found.actions
                logs.append(found.log_prob)
                ways.append(found.entropy)
        return Walk(path, made, torch.stack(logs).sum(), torch.stack(ways).sum())

    def _wider(self, path: Path, draws: Draws | None, given: Iterator[Action]) -> Walk | None:
        names = self.edits.names
        able = [i for i, name in enumerate(names) if self.edits.wider(path, name) is not None]
        if not able:
            return None
        logits = self.net.wider(self._read(path))[able, 0]
        chances = torch.sigmoid(logits)
        action: Action
        if draws is None:
            action = next(given)
        else:
            action = ["wider", *(i for i, p in zip(able, chances.tolist(), strict=True) if draws.uniform() < p)]
        taken = torch.tensor([float(i in action[1:]) for i in able], dtype=torch.float64)
        loss = nn.functional.binary_cross_entropy_with_logits
        for i in reversed(action[1:]):  # so that what one place hands on does not widen another twice
            path = self.edits.wider(path, names[i]) or path
        return Walk(path, [action], -loss(logits, taken, reduction="sum"), loss(logits, chances, reduction="sum"))

    def _deeper(self, path: Path, draws: Draws | None, given: Iterator[Action]) -> Walk | None:
        names, kinds = self.edits.names, self.edits.kinds
        able = [
            (i, k)
            for i, name in enumerate(names)
            for k, what in enumerate(kinds)
            if self.edits.deeper(path, name, what) is not None
        ]
        if not able:
            return None
        logits = self.net.deeper(self._read(path))
        logs = torch.log_softmax(logits[[i for i, _ in able], [k for _, k in able]], 0)
        action: Action
        action = next(given) if draws is None else ["deeper", *able[_pick(logs.exp().tolist(), draws)]]
        _, i, k = action
        path = self.edits.deeper(path, names[i], kinds[k]) or path
        return Walk(path, [action], logs[able.index((i, k))], -(logs.exp() * logs).sum())

    def grows(self, path: Path) -> bool:
        """Tell whether any action can change a chain."""
        names, kinds, edits = self.edits.names, self.edits.kinds, self.edits
        if self.part.wider and any(edits.wider(path, name) is not None for name in names):
            return True
        filled = (edits.deeper(path, name, what) for name in names for what in kinds)
        return self.part.deeper > 0 and any(found is not None for found in filled)

    def gradient(
        self, path: Path, children: Sequence[Sequence[Action]], weights: Sequence[float], bonus: float = 0.0
    ) -> Any:
        """Return ∇ (Σ w log P(actions | path) + bonus · mean H), (P,); H sums the entropies of a child's decisions."""
        walks = [self.walk(path, actions=actions) for actions in children]
        total = sum((w * walk.log_prob for w, walk in zip(weights, walks, strict=True)), torch.zeros(()))
        total = total + bonus * torch.stack([walk.entropy for walk in walks]).mean()
        slopes = torch.autograd.grad(total, self._weights, allow_unused=True)
        full = [torch.zeros_like(w) if s is None else s for s, w in zip(slopes, self._weights, strict=True)]
        found: Any = parameters_to_vector(full).numpy()
        return found


def _pick(shares: Sequence[float], draws: Draws) -> int:
    left = draws.uniform() * sum(shares)
    for i, share in enumerate(shares[:-1]):
        left -= share
        if left < 0:
            return i
    return len(shares) - 1
