"""Learners that see learned data alone: the gradient of their real loss in that data, and ratings of architectures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from mimar.core import count
from mimar.core.errors import UsageError
from mimar.core.streams import Rng, draw, stream
from mimar.core.trees import Tensors, finite
from mimar.evaluators.synthetic import Synthetic, Teacher
from mimar.evaluators.unroll import Unrolling, descent, unrolled
from mimar.space import Architecture
from mimar.supernet import Reference, Supernet, chosen, recalibrated
from mimar.tasks import BoundTask

CALIBRATION = 8  # real batches, without labels, from which batch-norm statistics are gathered before a measurement


class Learner:
    """A fresh network of one architecture as a pure function of its weights; `noise` seeds its weights and its dropout."""

    def __init__(
        self, model: nn.Module, architecture: Architecture, data: BoundTask, noise: int, device: str = "cpu"
    ) -> None:
        net = chosen(model, architecture, fresh=stream(noise, "weights")).net.to(device)
        self.net = Supernet(net, engine=Reference())  # a plain network: without choices there are no gates
        self.data, self.noise, self.device = data, noise, device

    def start(self) -> Tensors:
        """Return the state before the first step: fresh weights, and velocities of zero."""
        weights = tuple(w.detach() for w in self.net.weights)
        return (*weights, *(torch.zeros_like(w) for w in weights))

    def weights(self, state: Tensors) -> Tensors:
        """Return the weights of a state."""
        return state[: len(self.net.weights)]

    def loss(self, weights: Tensors, batch: Any, name: str, t: int) -> Tensor:
        """Return the task's loss of a batch, batch norm with the batch's own statistics."""
        rng = stream(self.noise, name, t)
        return self.data.loss(lambda x: self.net.call(weights, {}, x, rng=rng), batch)

    def measure(self, weights: Tensors, size: int) -> dict[str, float]:
        """Return the task's measures on the validation half, batch norm recalibrated on `CALIBRATION` batches of `size`."""
        batches = self.data.batches("train", None, size=size, device=self.device)
        inputs = [self.data.inputs(b) for _, b in zip(range(CALIBRATION), batches, strict=False)]
        buffers = recalibrated(self.net, weights, {}, inputs)
        return self.data.evaluate(
            lambda x: self.net.call(weights, {}, x, buffers=buffers, training=False), "valid", device=self.device
        )


def lesson(teacher: Teacher, learned: Mapping[str, Tensor], learner: Learner, real: Callable[[int], Any]) -> Unrolling:
    """Teach a learner from its first step to its last; return its losses on real data, and the gradient of their mean.

        min over φ of  mean_t L(w_t, real(t)),   t over the steps that are due,   w_{t+1} = sgd(w_t, synthetic batch t; φ)

    `real(t)`: a batch of real data for the measurement after step t. One gradient for every tensor learned, in order.
    Source: Such et al. (2020), equation 1 and section 3.
    """
    task, names = learner.data.task, tuple(learned)
    share = 1.0 / sum(teacher.due(t + 1) for t in range(teacher.steps))

    def synthetic(outer: Tensors) -> Synthetic:
        return Synthetic(teacher, dict(zip(names, outer, strict=True)), task, learner.noise)

    step = descent(
        lambda t, w, a: learner.loss(w, synthetic(a).batch(t), "inner", t), lambda t, a: synthetic(a).rates(t)
    )

    def loss(t: int, state: Tensors, _outer: Tensors) -> Tensor | None:
        return share * learner.loss(learner.weights(state), real(t), "outer", t) if teacher.due(t) else None

    found = unrolled(step, loss, learner.start(), tuple(learned.values()), teacher.steps, teacher.checkpoint)
    return found._replace(losses={t: value / share for t, value in found.losses.items()})


class Proposed(Protocol):
    """What a strategy proposes, as far as an evaluator looks at it: `mimar.strategies.Proposal` is one."""

    @property
    def architecture(self) -> Architecture: ...


@dataclass(frozen=True)
class Rating:
    """What an evaluation gave: metrics, its cost in MACs, and how it ended; the fields of a strategy's Measurement."""

    metrics: Mapping[str, float]
    cost: float = 0.0
    status: Literal["ok", "failed"] = "ok"


@dataclass(frozen=True, eq=False)
class Taught:
    """Rates architectures by their accuracy on the validation half after a few steps on learned data.

    `model` has the choices; `learned` is what a teacher has learned on `data`. The learner's weights are fresh, drawn
    from `seed` and the architecture, so that a rating can be repeated; or from `rng`, where one is given.
    """

    teacher: Teacher
    learned: Mapping[str, Tensor] = field(repr=False)
    model: nn.Module = field(repr=False)
    data: BoundTask = field(repr=False)
    seed: int = 0
    device: str = "cpu"

    def evaluate(
        self, proposal: Proposed | Architecture, fidelity: float | None = None, rng: Rng | None = None
    ) -> Rating:
        """Return the rating of a proposal or an architecture; `fidelity` is the share of the teacher's steps (None: all).

        A learner whose weights do not stay finite has the status "failed" and no metrics. Raises UsageError for a
        fidelity outside of (0, 1], SpaceError for an architecture of another space.
        """
        if fidelity is not None and not 0.0 < fidelity <= 1.0:
            raise UsageError(
                f"fidelity is {fidelity}; it must be above 0 and at most 1, the share of the teacher's steps"
            )
        architecture = proposal if isinstance(proposal, Architecture) else proposal.architecture
        noise = draw(stream(self.seed, "learner", architecture.digest) if rng is None else rng)
        learner = Learner(self.model, architecture, self.data, noise, self.device)
        steps = self.teacher.steps if fidelity is None else max(1, round(fidelity * self.teacher.steps))
        weights = self.weights(learner, steps)
        cost = self.cost(learner, steps)
        if not finite(weights):
            return Rating({}, cost, "failed")
        return Rating(learner.measure(weights, self.teacher.batch), cost)

    def weights(self, learner: Learner, steps: int) -> Tensors:
        """Return the weights of a learner after so many steps on the learned data."""
        given = Synthetic(self.teacher, self.learned, self.data.task, learner.noise)
        step = descent(lambda t, w, _: learner.loss(w, given.batch(t), "inner", t), lambda t, _: given.rates(t))
        state = learner.start()
        with torch.no_grad():
            for t in range(steps):
                state = step(t, state, ())
        return learner.weights(state)

    def cost(self, learner: Learner, steps: int) -> float:
        """Return the MACs of one rating: training, recalibration and measurement."""
        size, net = self.teacher.batch, learner.net
        x = self.data.inputs(next(iter(self.data.batches("train", None, size=1, device=self.device))))
        macs = count.macs(lambda v: net.call(net.weights, {}, v, training=False), x)
        made = count.macs(lambda _: Synthetic(self.teacher, self.learned, self.data.task).batch(0).x, x)  # B images
        return float(macs * (3 * steps * size + CALIBRATION * size + self.data.size("valid")) + steps * made)
