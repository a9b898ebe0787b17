"""Bilevel search: min_a L2(w*(a), a) subject to w*(a) = argmin_w L1(w, a), by T weight steps to one alpha step.

    repeat   T times:  w ← w − η ∇_w L1(w, a)              on a batch of the training half
             once:     a ← a − η_a · hypergradient(L2, L1)  on a batch of the validation half
    then     architecture = derivation(gates(a)); retrain it; train random ones of the same space beside it

L1 is the training loss plus the inner terms, L2 the validation loss plus the outer ones. Everything random comes from
streams of (seed, name, counters), so that the counters in the state are enough to resume exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from torch import Tensor, nn

from mimar.core.describe import NEUTRAL
from mimar.core.errors import SpaceError, UsageError
from mimar.core.events import Event, Record, Step
from mimar.core.optimisers import Sgd
from mimar.core.ranges import Range, Whole, validate
from mimar.core.state import State, moments, restore_moments
from mimar.core.streams import stream
from mimar.core.trees import norm
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import Hypergradient
from mimar.gradient.regularise import Term
from mimar.gradient.relax import Context, Relaxation, entropy, relaxed
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam
from mimar.search import finish
from mimar.search.lab import Lab, checked_device
from mimar.search.losses import BatchLoss, Scope
from mimar.search.result import Result
from mimar.search.run import Progress, run
from mimar.search.weights import SharedWeights
from mimar.supernet import Engine, Fused
from mimar.tasks import Task


@dataclass(frozen=True)
class Bilevel:
    """A differentiable search as an expression of its parts; see the module's text for the algorithm."""

    name: str
    relaxation: Relaxation
    hypergradient: Hypergradient
    inner: Sgd
    outer: Adam
    terms: tuple[Term, ...]
    schedule: Alternate
    derivation: Strongest
    retrain: Retrain
    batch: Annotated[int, Range(2)] = 64
    net: nn.Module | str | None = None
    task: Task | str | None = None
    seed: int = 0
    device: str = "cpu"
    baseline: Whole | None = None
    engine: Engine = field(default=Fused(), metadata={NEUTRAL: True})

    def __post_init__(self) -> None:
        validate(self)
        if self.inner.decay:
            raise UsageError(
                "Bilevel.inner has a decay, which Hessians would not see; use the term WeightDecay instead"
            )

    def start(self) -> State:
        """Return the state before the first step."""
        checked_device(self.device)
        lab = self.lab()
        if not relaxed(lab.space):
            raise SpaceError("the model has nothing to relax: a differentiable search needs at least one mimar.OneOf")
        lab.ready(self.retrain)
        state = State({"phase": "search", "epoch": 0, "step": 0, "loss_sum": 0.0, "hyper": {}, "entropy": []})
        SharedWeights(lab, state, self.inner, self.terms, self.batch)  # puts the fresh weights into the state
        alphas = self.relaxation.init(lab.space, stream(self.seed, "alphas"))
        state.put("alphas", alphas.keys(), (a.to(self.device) for a in alphas.values()))
        return state

    def lab(self) -> Lab:
        """Return what the search works on."""
        return Lab(self.net, self.task, self.seed, self.device, self.retrain.net, self.engine)

    def events(self, state: State) -> Iterator[Event]:
        """Advance `state` to the end; it is consistent whenever a Step is yielded."""
        lab = self.lab()
        if state.json["phase"] == "search":
            yield from _Loop(self, lab, state).events()
        yield from finish.events(self, lab, state)

    def run(self, out: Any = None, *, resume: bool = False, progress: Progress | None = None, **more: Any) -> Result:
        """Run to the end, into the folder `out` if given, and return the result; `mimar.search.run` says how."""
        return run(self, out, resume=resume, progress=progress, **more)


class _Loop:
    """The search phase: shared weights, alphas and their optimisers, tied to the tensors of the state."""

    def __init__(self, search: Bilevel, lab: Lab, state: State) -> None:
        self.search, self.lab, self.state = search, lab, state
        self.shared = SharedWeights(lab, state, search.inner, search.terms, search.batch)
        held = state.group("alphas")
        self.names = list(held)
        self.alphas = [a.to(search.device).clone().requires_grad_() for a in held.values()]
        self.adam = search.outer.optimiser(self.alphas)
        restore_moments(self.adam, state.group("adam"))
        self.outer_steps = search.schedule.outer_steps(self.shared.per_epoch)
        self._alias()

    def events(self) -> Iterator[Event]:
        schedule, counters, per_epoch = self.search.schedule, self.state.json, self.shared.per_epoch
        total = schedule.epochs * per_epoch
        if not counters["entropy"]:
            counters["entropy"] = [entropy(self.gates(), self.lab.space)] * 2
            yield from finish.forecast(self.lab, self.search.batch)
        for epoch in range(counters["epoch"], schedule.epochs):
            lr = schedule.rate(epoch, self.search.inner.lr)
            for step, batch in enumerate(self.shared.batches(epoch, counters["step"]), counters["step"]):
                at = epoch * per_epoch + step
                gates = self.loss(batch, "inner", at).gates([a.detach() for a in self.alphas])
                counters["loss_sum"] += self.shared.step(batch, gates, self.alphas, lr, at)
                if schedule.outer_due(at, per_epoch):
                    counters["hyper"] = yield from self.alpha_step(lr, at)
                counters["step"] = step + 1
                yield Step("search", "search", at + 1, total, self.monitors())
            yield self.measured(epoch, lr)
            counters.update(epoch=epoch + 1, step=0, loss_sum=0.0)
            yield Step("search", "search", (epoch + 1) * per_epoch, total, boundary=True)
        yield from finish.derive(self.search, self.lab, self.state, self.gates(), self.cost())

    def alpha_step(self, lr: float, at: int) -> Generator[Event, None, dict[str, Any]]:
        """Take one step along the hypergradient at the present weights; return its monitors."""
        outer = self.loss(self.sample("valid", at), "outer", at)
        inner = self.loss(self.sample("train", at), "inner", at, draw=lambda j: self.sample("train", at, j))
        found = self.search.hypergradient.explain(outer, inner, self.shared.weights, self.alphas, lr=lr)
        self.search.outer.step(self.adam, found.gradients, self.outer_steps)
        if not self.state.group("adam"):
            self._alias()
        if found.warning and not self.state.json.get("warned"):
            self.state.json["warned"] = True
            yield Record({"event": "warned", "name": "series", "text": found.warning})
        total, direct, implicit = norm(found.gradients), norm(found.direct), norm(found.implicit)
        shares = {"norm": total, "direct": direct, "implicit": implicit, "share": found.share}
        return {**shares, "growth": found.growth, "step": found.step}

    def loss(self, batch: Any, scope: Scope, at: int, draw: Callable[[int], Any] | None = None) -> BatchLoss:
        """Return the inner or outer loss on a batch, under the noise of step `at`."""
        return BatchLoss(
            supernet=self.lab.supernet,
            relaxation=self.search.relaxation,
            names=self.names,
            data=self.lab.data,
            batch=batch,
            buffers=self.shared.buffers,
            noise=(self.search.seed, scope, at),
            terms=tuple(t for t in self.search.terms if t.scope == scope),
            scope=scope,
            progress=at / max(self.search.schedule.epochs * self.shared.per_epoch, 1),
            draw=draw,
        )

    def sample(self, split: str, at: int, j: int = -1) -> Any:
        """Return the batch of an outer step (j = −1), or the j-th further one; with replacement between steps."""
        rng, data = stream(self.search.seed, "outer", split, at, j), self.lab.data
        augment = data.task.augment if split == "train" else None  # L1 is the loss that the weights minimise
        return data.sample(split, rng, size=self.search.batch, augment=augment, device=self.search.device)

    def gates(self) -> dict[str, Tensor]:
        """Return the present gates, as for evaluation."""
        ctx = Context(self.lab.space, 1.0, stream(self.search.seed, "gates"), training=False)
        return self.search.relaxation.gates({n: a.detach() for n, a in zip(self.names, self.alphas, strict=True)}, ctx)

    def monitors(self) -> dict[str, float]:
        """Return the figures of the progress line."""
        counters = self.state.json
        figures = {"loss": counters["loss_sum"] / counters["step"], "entropy": counters["entropy"][-1]}
        return figures | ({"implicit": counters["hyper"]["share"]} if counters["hyper"] else {})

    def measured(self, epoch: int, lr: float) -> Record:
        """Return the record of an epoch: losses, supernet accuracy, entropy, skips, gates."""
        gates, counters = self.gates(), self.state.json
        counters["entropy"] = [counters["entropy"][0], entropy(gates, self.lab.space)]
        derived = self.search.derivation(self.lab.space, gates)
        valid = self.shared.evaluate(gates)
        return Record(
            {"event": "epoch", "phase": "search", "epoch": epoch + 1, "epochs": self.search.schedule.epochs, "lr": lr}
            | {"train_loss": counters["loss_sum"] / self.shared.per_epoch}
            | {f"valid_{name}": value for name, value in valid.items()}
            | {"entropy": counters["entropy"][1], "skips": finish.skips(derived), "hyper": counters["hyper"]}
            | {"gates": {name: gate.tolist() for name, gate in gates.items()}}
        )

    def cost(self) -> float:
        """Return the analytic cost of the whole search phase, in MACs."""
        schedule, size = self.search.schedule, self.search.batch
        passes = 3 * schedule.epochs * self.shared.per_epoch + self.search.hypergradient.passes * self.outer_steps
        return self.lab.supernet_macs * (passes * size + schedule.epochs * self.lab.data.size("valid"))

    def _alias(self) -> None:
        self.state.put("alphas", self.names, self.alphas)
        held = moments(self.adam)
        self.state.put("adam", held.keys(), held.values())
