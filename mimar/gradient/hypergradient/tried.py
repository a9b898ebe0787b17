"""What estimators share that try architectures of their own: the losses of a path, hard and soft."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from mimar.core.errors import NonFiniteError, UsageError
from mimar.core.trees import Tensors, detached, leaves
from mimar.gradient.hypergradient.parts import Explanation
from mimar.gradient.relax.parts import relaxed
from mimar.gradient.relax.sampling import gumbel
from mimar.supernet import Gates


class Cost(Protocol):
    """A cost of architectures beside the loss, of which only values are known. `outer`: the outer loss of the step."""

    def hard(self, gates: Gates, outer: Any) -> Tensor:
        """Return the cost of the architecture that one-hot gates stand for: a scalar; nothing is differentiated."""
        ...

    def soft(self, gates: Gates, outer: Any) -> Tensor:
        """Return a differentiable stand-in under gates on the simplex; it need not be right, only alike."""
        ...


def demand(outer: Any, part: object, *attributes: str) -> Any:
    """Return the outer loss; raises UsageError unless it has these attributes, as those of search loops have."""
    if any(getattr(outer, name, None) is None for name in attributes):
        listed = ", ".join(f".{name}" for name in attributes)
        raise UsageError(
            f"{type(part).__name__} needs an outer loss with {listed}, as the search loops give; "
            f"got a {type(outer).__name__} without"
        )
    return outer


def measured(loss: Tensor, part: object) -> float:
    """Return the value of a loss; raises NonFiniteError where it is not finite."""
    value = float(loss)
    if not torch.isfinite(loss.detach()).all():
        raise NonFiniteError(
            f"the loss of an architecture that {type(part).__name__} tried is {value}; lower the rates"
        )
    return value


def trying(found: Explanation, tried: Iterable[tuple[Gates, Tensor]], outer: Any, part: object) -> Explanation:
    """Return what was found together with gates that were tried and their losses, which must be finite."""
    samples = []
    for gates, loss in tried:
        values = Gates({n: g.detach() for n, g in gates.items()}, getattr(gates, "active", None))
        samples.append((values, measured(loss, part)))
    return replace(found, samples=tuple(samples), names=tuple(outer.names))


def drawn(logits: Sequence[Tensor], rng: torch.Generator) -> tuple[Tensors, Tensors, Tensor]:
    """Draw from Cat(softmax(logits)), each (…, options), by the largest of logits + Gumbel noise.

    Returns (one-hot draws, the noisy logits, Σ log probability of the draws (…)); only the last is differentiable.
    """
    hard, noisy, scores = [], [], []
    for x in logits:
        noisy.append(x.detach() + gumbel(x.detach(), rng))
        hard.append(torch.nn.functional.one_hot(noisy[-1].argmax(-1), x.shape[-1]).to(x))
        scores.append((hard[-1] * torch.log_softmax(x, -1)).sum(-1))
    return tuple(hard), tuple(noisy), sum(scores, start=torch.zeros(()))


class Paths:
    """The outer loss as a function of one-hot or soft gates for the choices that have alphas.

    Choices of kind `some`, and those that the search has decided, keep the gates that the relaxation gives them. What
    depends on alphas otherwise than through the drawn gates (terms, the gates of `some`) is differentiable in the hard
    loss and constant in the soft one, so that it acts once.
    """

    def __init__(self, outer: Any, weights: Sequence[Tensor], alphas: Sequence[Tensor], part: Any) -> None:
        self.outer = demand(outer, part, "under", "gates", "names", "space", "rng")
        self.cost: Cost | None = part.cost
        self.weights, self.alphas = detached(weights), leaves(alphas)
        free = {c.name for c in relaxed(outer.space)} - set(getattr(outer, "decided", {}))
        pairs = [(n, a) for n, a in zip(outer.names, self.alphas, strict=True) if n in free]
        self.names, self.logits = tuple(n for n, _ in pairs), tuple(a for _, a in pairs)
        base = outer.gates(self.alphas)
        active = {n: flags for n, flags in getattr(base, "active", {}).items() if n not in free}
        self.rest = Gates({n: gate for n, gate in base.items() if n not in free}, active)

    def path(self, hard: Tensors) -> Gates:
        """Return the gates of one architecture: nothing but its options is executed."""
        values = {n: h.detach() for n, h in zip(self.names, hard, strict=True)}
        return self.rest | Gates(values, {n: tuple(o > 0 for o in h.tolist()) for n, h in values.items()})

    def hard(self, hard: Tensors) -> Tensor:
        """Return the loss of one architecture."""
        gates = self.path(hard)
        loss = self.outer.under(self.weights, gates, self.alphas)
        return loss if self.cost is None else loss + self.cost.hard(gates, self.outer).detach().to(loss)

    def soft(self, soft: Tensors) -> Tensor:
        """Return the loss of a mixture, differentiable in `soft`."""
        rest = Gates({n: g.detach() for n, g in self.rest.items()}, self.rest.active)
        gates = rest | Gates(dict(zip(self.names, soft, strict=True)))
        loss = self.outer.under(self.weights, gates, detached(self.alphas))
        return loss if self.cost is None else loss + self.cost.soft(gates, self.outer).to(loss)
