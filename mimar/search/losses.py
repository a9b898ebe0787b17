"""The two losses of a bilevel search on fixed batches, as functions of (weights, alphas) that touch nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from mimar.core.errors import UsageError
from mimar.core.streams import Rng, stream
from mimar.core.trees import Tensors
from mimar.gradient.mix import Mixer, Sum
from mimar.gradient.regularise import Scope, Term, View
from mimar.gradient.relax import Context, Gates, Relaxation
from mimar.space import Space
from mimar.supernet import Supernet
from mimar.tasks import BoundTask

__all__ = ["BatchLoss", "Given", "Scope", "decide"]

Costs = Callable[[str], Mapping[str, Tensor]]
Owners = Mapping[str, tuple[tuple[str, int], ...]]


@dataclass(frozen=True)
class BatchLoss:
    """The loss of one batch under fixed noise, plus terms: loss(weights, alphas) → scalar, repeatable bit for bit.

    `fresh(j)` is the same loss on the j-th further batch, `split(w, a)` its (outputs, data loss, rest) for
    Gauss–Newton products, `under(w, gates)` the same under gates from elsewhere. `noise` is (seed, names…) of the
    stream of the relaxation's and the network's noise.
    """

    supernet: Supernet
    relaxation: Relaxation
    names: Sequence[str]  # of the alphas
    data: BoundTask
    batch: Any
    buffers: Sequence[Tensor]
    noise: tuple[int | str, ...]
    terms: Sequence[Term] = ()
    progress: float = 0.0
    scope: Scope = "inner"
    draw: Callable[[int], Any] | None = field(default=None, compare=False)
    mixer: Mixer = Sum()
    held: dict[str, Tensor] = field(default_factory=dict, compare=False)
    settings: Mapping[str, float] = field(default_factory=dict)
    decided: Mapping[str, Any] = field(default_factory=dict)  # {choice: option} that no gate may change any more
    moving: tuple[bool, ...] | None = None  # which weights train; what comes back to the others is cut off
    twin: Tensors | None = None  # the weights of a second copy of the network, where a search has one
    partner: Callable[[], Any] | None = field(default=None, compare=False)  # the step's batch of the other half
    costs: Costs | None = field(default=None, compare=False)
    owners: Owners = field(default_factory=dict, compare=False)
    meter: list[float] = field(
        default_factory=lambda: [0.0], compare=False
    )  # passes that parts made beside the loss's own

    @property
    def space(self) -> Space:
        """The space of the supernet."""
        return self.supernet.space

    def rng(self, name: str) -> torch.Generator:
        """Return the stream called `name` of this step."""
        return stream(int(self.noise[0]), name, *self.noise[1:])

    def context(self, weights: Tensors | None = None) -> Context:
        """Return what the relaxation sees; with `weights` it may ask for the loss under other gates."""

        def under(gates: Mapping[str, Tensor]) -> Tensor:
            self._count()
            given = decide(Gates(gates, getattr(gates, "active", None)), self.space, self.decided)
            return self.under(tuple(w.detach() for w in weights or ()), given)

        loss = None if weights is None else under
        return Context(self.space, self.progress, self.rng("gates"), scope=self.scope, held=self.held, loss=loss)

    def gates(self, alphas: Sequence[Tensor], weights: Tensors | None = None) -> Gates:
        """Return the gates of these alphas under the fixed noise."""
        found = self.relaxation.gates(dict(zip(self.names, alphas, strict=True)), self.context(weights))
        return decide(found, self.space, self.decided)

    def __call__(self, weights: Sequence[Tensor], alphas: Sequence[Tensor]) -> Tensor:
        _, loss, rest = self.split(tuple(weights), tuple(alphas))
        return loss + rest

    def split(self, weights: Tensors, alphas: Tensors) -> tuple[Tensors, Tensor, Tensor]:
        """Return (network outputs, loss of them, sum of the terms)."""
        return self.passed(weights, alphas, self.gates(alphas, weights))

    def under(self, weights: Tensors, gates: Mapping[str, Tensor], alphas: Tensors | None = None) -> Tensor:
        """Return the loss under gates that came from elsewhere: of the data, and of the terms where alphas are given."""
        given = Gates(gates, getattr(gates, "active", None))
        if alphas is None:
            return self._forward(weights, given, self.buffers)[1]
        _, loss, rest = self.passed(weights, alphas, given)
        return loss + rest

    def passed(
        self, weights: Tensors, alphas: Tensors, gates: Gates, new: list[Tensors] | None = None
    ) -> tuple[Tensors, Tensor, Tensor]:
        """Return what `split` does, under given gates; with `new`, the buffers after the pass are added to it."""
        if self.moving is not None:
            weights = tuple(w if m else w.detach() for w, m in zip(weights, self.moving, strict=True))
        outputs, loss = self._forward(weights, gates, self.buffers, new)
        rest = torch.zeros((), device=loss.device)
        if self.terms:
            view = self._view(weights, alphas, gates, (outputs, loss))
            rest = sum((term(weights, alphas, view) for term in self.terms), start=rest)
        return outputs, loss, rest

    def fresh(self, j: int) -> BatchLoss:
        """Return the same loss on the j-th further batch, drawn with replacement from the search's stream."""
        assert self.draw is not None  # only the outer step hands this loss out, and it gives `draw`
        return replace(self, batch=self.draw(j))

    def _count(self) -> None:
        self.meter[0] += 3.0 if torch.is_grad_enabled() else 1.0

    def _forward(
        self, weights: Tensors, gates: Gates, buffers: Sequence[Tensor], new: list[Tensors] | None = None
    ) -> tuple[Tensors, Tensor]:
        mixed, outputs = self.mixer(gates, self.space), []

        def forward(x: Any) -> Any:
            keep = new is not None
            y = self.supernet.call(weights, mixed, x, buffers=buffers, rng=self.rng("net"), update=keep)
            if new is not None:
                y, after = y
                new.append(after)
            outputs.append(y)
            return y

        loss = self.data.loss(forward, self.batch)
        return tuple(outputs), loss

    def _view(self, weights: Tensors, alphas: Tensors, gates: Gates, found: tuple[Tensors, Tensor]) -> View:
        def again(w: Tensors | None = None, g: Gates | None = None, b: Tensors | None = None) -> Any:
            self._count()
            return self._forward(
                weights if w is None else w, gates if g is None else g, self.buffers if b is None else b
            )

        def other() -> Tensor:
            if self.partner is None:
                raise UsageError(
                    "this loss has no batch of the other half; a search loop gives it one in its outer step"
                )
            self._count()
            return replace(self, batch=self.partner())._forward(weights, gates, self.buffers)[1]

        def costs(measure: str) -> Mapping[str, Tensor]:
            if self.costs is None:
                raise UsageError("this loss does not know what options cost; a search loop does")
            return self.costs(measure)

        return View(
            space=self.space,
            names=self.names,
            gates=gates,
            loss=found[1],
            outputs=found[0],
            progress=self.progress,
            held=self.held,
            settings=self.settings,
            scope=self.scope,
            relax=lambda a: self.gates(a, weights),
            again=lambda weights=None, gates=None, buffers=None: again(weights, gates, buffers),
            other=other,
            costs=costs,
            weight_names=self.supernet.weight_names,
            owners=self.owners,
        )


@dataclass(frozen=True)
class Given:
    """The relaxation of gates that are given: there are no alphas."""

    values: Gates

    def init(self, space: Space, rng: Rng) -> dict[str, Tensor]:
        """Return no alphas."""
        return {}

    def gates(self, alphas: Mapping[str, Tensor], ctx: Context) -> Gates:
        """Return the given gates."""
        return self.values


def decide(gates: Gates, space: Space, decided: Mapping[str, Any]) -> Gates:
    """Return gates in which the decided choices are one-hot constants (k-hot for kind `some`), their other options off."""
    if not decided:
        return gates
    found = Gates(gates, getattr(gates, "active", None))
    for name, option in decided.items():
        chosen = set(option) if isinstance(option, list | tuple) else {option}
        flags = tuple(o in chosen for o in space[name].options)
        found[name] = torch.tensor(flags).to(gates[name])
        found.active[name] = flags
    return found
