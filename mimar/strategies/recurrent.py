"""A policy with a memory: an LSTM that makes one decision after the other, each fed back into the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.nn.utils.rnn import pack_padded_sequence

from mimar.core.ranges import Count, Positive, validate
from mimar.core.streams import Draws
from mimar.space import Architecture, Space
from mimar.strategies.policies import Array, Drawn, Weigh, decisions

NEVER = -1e9  # the logit of another decision's column: its probability is exactly 0, its gradient finite
State = tuple[Tensor, Tensor]  # hidden and cell state, each (layers, B, hidden)


@dataclass(frozen=True)
class Recurrent:
    """An autoregressive LSTM: P(a) = Π P(a_t | a_1 … a_{t−1}), choices as in `space.ordered`.

    Inactive choices are skipped. Every step reads the embedding of the last decision and gives logits over the outcomes
    of the next one, z = tanh_scale·tanh(z / temperature) or, without the former, z / temperature, plus the logarithm of
    the prior multiplicities. Weights start uniform in ±scale. A choice of kind `value` is decided in `levels` equal
    cells of its range. Source: Zoph and Le, 2017 (two layers of 35, scale 0.08); Pham et al., 2018 (tanh, temperature).
    """

    hidden: Count = 35
    layers: Count = 2
    tanh_scale: Positive | None = None
    temperature: Positive = 1.0
    scale: Positive = 0.08
    levels: Count = 8
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, space: Space, draws: Draws) -> RecurrentSampler:
        """Return a sampler at its beginning."""
        return RecurrentSampler(self, space, draws)


class _Net(nn.Module):
    """Embedding of the last decision (row D: none yet), LSTM, one head for all decisions. Float64, without values."""

    def __init__(self, columns: int, hidden: int, layers: int) -> None:
        super().__init__()
        kind: dict[str, Any] = {"dtype": torch.float64, "device": "meta"}  # no draw from the global generator
        self.embedding = nn.Embedding(columns + 1, hidden, **kind)
        self.lstm = nn.LSTM(hidden, hidden, layers, batch_first=True, **kind)
        self.head = nn.Linear(hidden, columns, **kind)


class RecurrentSampler:
    """The LSTM at work; B architectures of up to T decisions at once. `parameters` are all of its weights."""

    def __init__(self, part: Recurrent, space: Space, draws: Draws) -> None:
        self.part, self.decisions = part, decisions(space, part.levels)
        self.columns = self.decisions[-1].stop
        self.net = _Net(self.columns, part.hidden, part.layers).to_empty(device="cpu")
        self._weights = list(self.net.parameters())
        flat = parameters_to_vector(self._weights).detach()
        flat.uniform_(-part.scale, part.scale, generator=draws.torch())
        vector_to_parameters(flat, self._weights)  # the weights are views of it from here on
        self.parameters: Array = flat.numpy()
        self._offsets = torch.full((len(self.decisions), self.columns), NEVER, dtype=torch.float64)  # (J, D)
        for j, decision in enumerate(self.decisions):
            self._offsets[j, decision.first : decision.stop] = torch.tensor(decision.priors(), dtype=torch.float64)

    def load(self, parameters: Array) -> None:
        """Take these weights."""
        self.parameters[:] = parameters

    # -- drawing -----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def draw(self, draws: Draws, n: int = 1, states: Array | None = None) -> list[Drawn]:
        """Draw n architectures; the LSTM begins in zeros or in `states` (n, S), as that method has them."""
        made: list[dict[str, Any]] = [{} for _ in range(n)]
        logs, last = [0.0] * n, [self.columns] * n
        at, state = [self._next(values, -1) for values in made], self._begun(states, n)
        while any(j is not None for j in at):
            out, state = self.net.lstm(self.net.embedding(torch.tensor(last))[:, None], state)
            steps = self._log_probs(out[:, 0], torch.tensor([j or 0 for j in at]))  # (n, D); of finished ones unused
            for i, (j, shares, given) in enumerate(zip(at, steps.exp().tolist(), steps.tolist(), strict=True)):
                if j is not None:
                    last[i] = self.decisions[j].pick(shares, draws)
                    made[i][self.decisions[j].name] = self.decisions[j].value(last[i], draws)
                    logs[i] += given[last[i]]
                    at[i] = self._next(made[i], j)
        return [Drawn(Architecture.trusted(values), log) for values, log in zip(made, logs, strict=True)]

    def _next(self, made: dict[str, Any], after: int) -> int | None:
        """Return the next decision that has to be made after another; None where nothing is left."""
        left = range(after + 1, len(self.decisions))
        return next((j for j in left if self.decisions[j].always or self.decisions[j].choice.active(made)), None)

    def _begun(self, states: Array | Tensor | None, n: int) -> State:
        """Return hidden and cell state (layers, n, hidden) out of rows (n, S)."""
        shape = (2, self.part.layers, n, self.part.hidden)
        if states is None:
            states = torch.zeros(shape, dtype=torch.float64)
        else:
            states = torch.as_tensor(states).view(n, *shape[:2], shape[3]).permute(1, 2, 0, 3).contiguous()
        return states[0], states[1]

    def _log_probs(self, out: Tensor, which: Tensor) -> Tensor:
        """Return the log-probabilities (…, D) of the decisions `which` (…) from the outputs of the LSTM (…, hidden)."""
        logits = self.net.head(out) / self.part.temperature
        if self.part.tanh_scale is not None:
            logits = self.part.tanh_scale * torch.tanh(logits)
        return torch.log_softmax(logits + self._offsets[which], -1)

    # -- measuring ---------------------------------------------------------------------------------------------------

    def _read(self, architectures: Sequence[Architecture]) -> tuple[Tensor, Tensor, Tensor]:
        """Return decisions made and their columns, both (B, T), and how many each architecture has (B,)."""
        rows = [[(j, d.column(a[d.name])) for j, d in enumerate(self.decisions) if d.name in a] for a in architectures]
        most = max(map(len, rows))
        padded = torch.tensor([row + [(0, 0)] * (most - len(row)) for row in rows]).view(len(rows), most, 2)
        return padded[..., 0], padded[..., 1], torch.tensor([len(row) for row in rows])

    def _inputs(self, columns: Tensor) -> Tensor:
        """Return the embeddings (B, T + 1, hidden) of "none yet" and of the decisions made."""
        begin = torch.full((len(columns), 1), self.columns)
        embedded: Tensor = self.net.embedding(torch.cat([begin, columns], 1))
        return embedded

    def _measured(self, architectures: Sequence[Architecture], state: State | None = None) -> tuple[Tensor, Tensor]:
        """Return log P(a) and H(a), (B,), with their graph."""
        which, columns, lengths = self._read(architectures)
        out, _ = self.net.lstm(self._inputs(columns)[:, :-1], state)
        logs = self._log_probs(out, which)  # (B, T, D)
        there = torch.arange(which.shape[1]) < lengths[:, None]
        picked = logs.gather(-1, columns[..., None])[..., 0]
        ways = -(logs.exp() * logs).sum(-1)
        return (picked * there).sum(-1), (ways * there).sum(-1)

    @torch.no_grad()
    def measure(self, architectures: Sequence[Architecture]) -> tuple[Array, Array]:
        """Return log P(a) and H(a)."""
        logs, ways = self._measured(architectures)
        return logs.numpy(), ways.numpy()

    def gradient(self, architectures: Sequence[Architecture], weigh: Weigh, bonus: Sequence[float] = ()) -> Array:
        """Return ∇ (Σ w log P(a) + Σ b H(a)), by back-propagation."""
        logs, ways = self._measured(architectures)
        total = (torch.as_tensor(weigh(logs.detach().numpy())) * logs).sum()
        if len(bonus):
            total = total + (torch.tensor(bonus, dtype=torch.float64) * ways).sum()
        return self._slope(total)

    def _slope(self, total: Tensor) -> Array:
        slopes = torch.autograd.grad(total, self._weights)
        found: Array = parameters_to_vector(slopes).numpy()
        return found

    # -- remembering -------------------------------------------------------------------------------------------------

    def _after(self, architectures: Sequence[Architecture]) -> Tensor:
        """Return the state (B, S) in which the LSTM is once it has read each architecture to its end."""
        _, columns, lengths = self._read(architectures)
        packed = pack_padded_sequence(self._inputs(columns), lengths + 1, batch_first=True, enforce_sorted=False)
        _, (hidden, cell) = self.net.lstm(packed)
        return torch.stack([hidden, cell]).permute(2, 0, 1, 3).flatten(1)

    @torch.no_grad()
    def states(self, architectures: Sequence[Architecture]) -> Array:
        """Return hidden and cell states of all layers after reading each architecture, (N, S), S = 2·layers·hidden."""
        found: Array = self._after(architectures).numpy()
        return found

    def recall(self, architectures: Sequence[Architecture]) -> tuple[float, Array]:
        """Return the mean of log P(a | the state after reading a), and its gradient (P,).

        The state goes through backwards too: it learns to hold what was decided, and the decisions learn to heed it.
        """
        state = self._begun(self._after(architectures), len(architectures))
        total = self._measured(architectures, state)[0].mean()
        return float(total.detach()), self._slope(total)
