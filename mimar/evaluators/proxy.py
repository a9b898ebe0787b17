"""Scores at initialisation as an evaluator: an architecture is measured by its untrained network on one batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

from torch import nn

from mimar.core.describe import digest_tensors
from mimar.core.ranges import Count, validate
from mimar.core.streams import Draws, derive, stream
from mimar.evaluators.parts import offered, rungs
from mimar.evaluators.proxies import Proxy
from mimar.evaluators.proxies.sizes import Operations, Parameters
from mimar.space import Architecture, Measurement, Proposal, Space, of
from mimar.space.trial import Status
from mimar.supernet import chosen
from mimar.tasks.protocol import Batch, Measure

SIZES = (Measure("params", "min", "1"), Measure("macs", "min", "1"))


@dataclass(frozen=True, eq=False)
class Proxies:
    """The networks of a model with choices, fresh from a stream, measured by `parts` {name: score}, the first one primary.

    `draws`: initialisations over which a score is averaged, the same streams for all architectures; with several, fewer are
    fidelities. Cost in MACs: the MACs of one sample × Σ over parts of their passes (a forward pass of a sample is 1, a
    backward pass 2) × draws. What gives no finite number has failed. Parts that must know the space (`among`) are shown model and batch once. `known`, with
    `sizes`, stands for the parameters and MACs of the networks as what is free to know.
    """

    model: nn.Module
    batch: Batch
    parts: Mapping[str, Proxy]
    seed: int = 0
    draws: Count = 1
    known: Callable[[Architecture], Mapping[str, float]] | None = None
    sizes: tuple[Measure, ...] = SIZES
    found: dict[tuple[Architecture, int], Measurement] = field(default_factory=dict, repr=False)
    unit: ClassVar[str] = "MACs"
    resumes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        validate(self)

    @cached_property
    def space(self) -> Space:
        """The space of the model."""
        return of(self.model)

    @cached_property
    def scores(self) -> dict[str, Proxy]:
        """The parts, those that must know the space knowing it."""
        return {n: p.among(self.model, self.batch) if hasattr(p, "among") else p for n, p in self.parts.items()}

    @property
    def fidelities(self) -> tuple[float, ...]:
        """Initialisations: about a ninth, a third, all of the draws; none where there is one."""
        return rungs(self.draws) if self.draws > 1 else ()

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The scores with their directions, then the known costs that are not scores themselves."""
        scores = tuple(Measure(name, part.direction, "") for name, part in self.parts.items())
        return scores + tuple(m for m in self.sizes if m.name not in self.parts)

    def prepare(self, seed: int) -> float:
        """Nothing is to be prepared."""
        return 0.0

    def costs(self, architecture: Architecture) -> Mapping[str, float]:
        """Return the known costs: parameters and MACs, or what `known` says; nothing for an architecture of another space."""
        if self.known is not None:
            return self.known(architecture)
        if not self.space.valid(architecture):
            return {}
        return self._counted(chosen(self.model, architecture).net)

    def _counted(self, net: nn.Module) -> dict[str, float]:
        net = net.to(self.batch.x.device)
        return {"params": Parameters()(net, self.batch), "macs": Operations()(net, self.batch)}

    def evaluate(self, proposal: Proposal, fidelity: float | None = None, rng: Draws | None = None) -> Measurement:
        """Return the scores of an architecture, a function of model, batch and seed; each is computed once.

        `fidelity`: the mean over so many initialisations. `infeasible` where it is of another space. Raises UsageError on
        a fidelity that there is not.
        """
        asked = fidelity if fidelity is not None else proposal.fidelity
        draws = self.draws if asked is None else int(offered(f"a score of draws={self.draws}", asked, self.fidelities))
        architecture = proposal.architecture
        if not self.space.valid(architecture):
            return Measurement({}, 0.0, "infeasible")
        if (architecture, draws) not in self.found:
            self.found[architecture, draws] = self._measured(architecture, draws)
        return self.found[architecture, draws]

    def _measured(self, architecture: Architecture, draws: int) -> Measurement:
        sums, net = dict.fromkeys(self.parts, 0.0), nn.Module()
        for i in range(draws):
            net = chosen(self.model, architecture, fresh=stream(self.seed, "untrained", i)).net.to(self.batch.x.device)
            for name, part in self.scores.items():
                sums[name] += part(net, self.batch, derive(self.seed, "untrained", i))
        scores = {name: total / draws for name, total in sums.items() if math.isfinite(total)}
        counted = self._counted(net)
        known = counted if self.known is None else self.known(architecture)
        passes = draws * sum(part.passes(len(self.batch.x)) for part in self.parts.values())
        status: Status = "ok" if len(scores) == len(sums) else "failed"
        return Measurement({**known, **scores}, passes * counted["macs"], status)

    def verdict(self, architecture: Architecture) -> Mapping[str, float]:
        """Return nothing: what a score is worth, training says."""
        return {}

    def digest(self) -> str:
        """Return the digest of model, batch and scores."""
        held = {"x": self.batch.x, "y": self.batch.y, **self.model.state_dict()}
        return digest_tensors(held, f"{dict(self.parts)}{self.seed}{self.draws}")
