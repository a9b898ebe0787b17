"""Bilevel search: min_a L2(w*(a), a) subject to w*(a) = argmin_w L1(w, a), by T weight steps to one alpha step.

    repeat   T times:  w ← w − η ∇_w L1(w, a)              on a batch of the training half
             once:     a ← a − η_a · hypergradient(L2, L1)  on a batch of the validation half
    then     architecture = derivation(gates(a)); retrain it; train random ones of the same space beside it

L1 is the training loss plus the inner terms, L2 the validation loss plus the outer ones. Everything random comes from
streams of (seed, name, counters), so that the counters in the state are enough to resume exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mimar.core.derivatives import gradient
from mimar.core.errors import NonFiniteError
from mimar.core.events import Event, Record, Step
from mimar.core.optimisers import Sgd
from mimar.core.state import State, copy_into, moments, restore_moments
from mimar.core.streams import stream
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import Hypergradient
from mimar.gradient.regularise import Term
from mimar.gradient.relax import Context, Relaxation, entropy
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam
from mimar.search import finish
from mimar.search.lab import Lab, checked_device
from mimar.search.losses import BatchLoss
from mimar.search.result import Result
from mimar.search.run import Progress, run
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
    batch: int = 64
    net: nn.Module | str | None = None
    task: Task | str | None = None
    seed: int = 0
    device: str = "cpu"
    baseline: int | None = None

    def start(self) -> State:
        """Return the state before the first step."""
        checked_device(self.device)
        lab = self.lab()
        alphas = self.relaxation.init(lab.space, stream(self.seed, "alphas"))
        state = State({"phase": "search", "epoch": 0, "step": 0, "loss_sum": 0.0, "hyper": {}, "entropy": []})
        state.put("weights", lab.supernet.weight_names, lab.supernet.weights)
        state.put("buffers", lab.supernet.buffer_names, lab.supernet.buffers)
        state.put("alphas", alphas.keys(), (a.to(self.device) for a in alphas.values()))
        return state

    def lab(self) -> Lab:
        """Return what the search works on."""
        return Lab(self.net, self.task, self.seed, self.device)

    def events(self, state: State) -> Iterator[Event]:
        """Advance `state` to the end; it is consistent whenever a Step is yielded."""
        lab = self.lab()
        if state.json["phase"] == "search":
            yield from _Loop(self, lab, state).events()
        yield from finish.events(self, lab, state)

    def run(self, out: Any = None, *, resume: bool = False, progress: Progress | None = None) -> Result:
        """Run to the end, into the folder `out` if given, and return the result; see `mimar.search.run`."""
        return run(self, out, resume=resume, progress=progress)


class _Loop:
    """The search phase: supernet, alphas and the two optimisers, tied to the tensors of the state."""

    def __init__(self, search: Bilevel, lab: Lab, state: State) -> None:
        self.search, self.lab, self.state, self.data = search, lab, state, lab.data
        self.supernet = lab.supernet
        self.weights, self.buffers = self.supernet.weights, self.supernet.buffers
        copy_into(self.weights, state.group("weights").values())
        copy_into(self.buffers, state.group("buffers").values())
        held = state.group("alphas")
        self.names = list(held)
        self.alphas = [a.to(search.device).clone().requires_grad_() for a in held.values()]
        self.sgd, self.adam = search.inner.optimiser(self.weights), search.outer.optimiser(self.alphas)
        restore_moments(self.sgd, state.group("sgd"))
        restore_moments(self.adam, state.group("adam"))
        self.per_epoch = self.data.steps("train", search.batch, drop_last=True)
        self.outer_steps = search.schedule.outer_steps(self.per_epoch)
        self._alias()

    def events(self) -> Iterator[Event]:
        schedule, counters = self.search.schedule, self.state.json
        total = schedule.epochs * self.per_epoch
        if not counters["entropy"]:
            counters["entropy"].append(entropy(self.gates(), self.lab.space))
        for epoch in range(counters["epoch"], schedule.epochs):
            lr = schedule.rate(epoch, self.search.inner.lr)
            for step, batch in enumerate(self.batches(epoch, counters["step"]), counters["step"]):
                at = epoch * self.per_epoch + step
                loss = self.weight_step(batch, lr, at)
                if schedule.outer_due(at, self.per_epoch):
                    counters["hyper"] = yield from self.alpha_step(lr, at)
                counters["step"] = step + 1
                counters["loss_sum"] += loss
                yield Step("search", "search", at + 1, total, {"loss": loss, **self.monitors()})
            yield self.measured(epoch, lr)
            counters.update(epoch=epoch + 1, step=0, loss_sum=0.0)
            yield Step("search", "search", (epoch + 1) * self.per_epoch, total, boundary=True)
        yield from finish.derive(self.search, self.lab, self.state, self.gates(), self.cost())

    def weight_step(self, batch: Any, lr: float, at: int) -> float:
        """Take one step w ← w − η ∇_w L1(w, a), the only place where weights and batch-norm statistics change."""
        loss = self.loss(batch, "inner", at)
        gates = loss.gates([a.detach() for a in self.alphas])
        new: list[tuple[Tensor, ...]] = []

        def forward(x: Any) -> Any:
            y, buffers = self.supernet.call(
                self.weights, gates, x, rng=stream(self.search.seed, "net", "inner", at), update=True
            )
            new.append(buffers)
            return y

        value = self.data.loss(forward, batch)
        value = value + sum(term(self.weights, tuple(self.alphas)) for term in loss.terms)
        if not torch.isfinite(value):
            raise NonFiniteError(
                f"the training loss became {float(value.detach())} in step {at + 1} of the search; "
                f"lower the learning rate of the weights (now {lr:.3g}), clip their gradients, or look for NaN in the data"
            )
        self.search.inner.step(self.sgd, gradient(value, self.weights), lr)
        copy_into(self.buffers, new[-1])
        if at == 0:
            self._alias()
        return float(value.detach())

    def alpha_step(self, lr: float, at: int) -> Iterator[Event]:
        """Take one step along the hypergradient at the present weights; return its monitors."""
        outer = self.loss(self.sample("valid", at), "outer", at)
        inner = self.loss(self.sample("train", at), "inner", at, draw=lambda j: self.sample("train", at, j))
        found = self.search.hypergradient.explain(outer, inner, self.weights, self.alphas, lr=lr)
        self.search.outer.step(self.adam, found.gradients, self.outer_steps)
        if "adam" not in {n.split("/")[0] for n in self.state.tensors}:
            self._alias()
        if found.warning and "series" not in self.state.json.setdefault("warned", []):
            self.state.json["warned"].append("series")
            yield Record({"event": "warned", "name": "series", "text": found.warning})
        norm = float(torch.cat([g.reshape(-1) for g in found.gradients]).norm()) if found.gradients else 0.0
        return {"norm": norm, "share": found.share, "growth": found.growth, "step": found.step}

    def loss(self, batch: Any, scope: str, at: int, draw: Callable[[int], Any] | None = None) -> BatchLoss:
        """Return the inner or outer loss on a batch, under the noise of step `at`."""
        terms = [t for t in self.search.terms if t.scope == scope]
        progress = at / max(self.search.schedule.epochs * self.per_epoch, 1)
        noise = (self.search.seed, scope, at)
        relaxation = self.search.relaxation
        return BatchLoss(
            self.supernet, relaxation, self.names, self.data, batch, self.buffers, noise, terms, progress, draw
        )

    def batches(self, epoch: int, start: int) -> Iterator[Any]:
        """Return the training batches of an epoch from number `start` on."""
        rng, size = stream(self.search.seed, "train", epoch), self.search.batch
        augment, device = self.data.task.augment, self.search.device
        return self.data.batches("train", rng, size=size, start=start, augment=augment, device=device, drop_last=True)

    def sample(self, split: str, at: int, j: int = -1) -> Any:
        """Return the batch of an outer step (j = −1), or the j-th further one; with replacement between steps."""
        rng = stream(self.search.seed, "outer", split, at, j)
        return self.data.sample(split, rng, size=self.search.batch, device=self.search.device)

    def gates(self) -> dict[str, Tensor]:
        """Return the present gates, without noise in training."""
        ctx = Context(self.lab.space, 1.0, stream(self.search.seed, "gates"), training=False)
        return self.search.relaxation.gates({n: a.detach() for n, a in zip(self.names, self.alphas, strict=True)}, ctx)

    def monitors(self) -> dict[str, float]:
        """Return the figures of the progress line."""
        hyper = self.state.json["hyper"]
        return {"implicit share": hyper["share"]} if hyper else {}

    def measured(self, epoch: int, lr: float) -> Record:
        """Return the record of an epoch: losses, supernet accuracy, entropy, skips, gates."""
        gates, counters = self.gates(), self.state.json
        valid = self.data.evaluate(
            lambda x: self.supernet.call(self.weights, gates, x, training=False), "valid", device=self.search.device
        )
        counters["entropy"] = [counters["entropy"][0], entropy(gates, self.lab.space)]
        derived = self.search.derivation(self.lab.space, gates)
        return Record(
            {"event": "epoch", "phase": "search", "epoch": epoch + 1, "epochs": self.search.schedule.epochs, "lr": lr}
            | {"train_loss": counters["loss_sum"] / self.per_epoch}
            | {f"valid_{name}": value for name, value in valid.items()}
            | {"entropy": counters["entropy"][1], "skips": finish.skips(derived), "hyper": counters["hyper"]}
            | {"gates": {name: gate.tolist() for name, gate in gates.items()}}
        )

    def cost(self) -> float:
        """Return the analytic cost of the whole search phase, in MACs."""
        schedule, size = self.search.schedule, self.search.batch
        steps = schedule.epochs * self.per_epoch * 3 + self.outer_steps * self.search.hypergradient.passes
        return self.lab.supernet_macs * (steps * size + schedule.epochs * self.data.size("valid"))

    def _alias(self) -> None:
        state = self.state
        state.put("weights", self.supernet.weight_names, self.weights)
        state.put("buffers", self.supernet.buffer_names, self.buffers)
        state.put("alphas", self.names, self.alphas)
        for group, optimiser in (("sgd", self.sgd), ("adam", self.adam)):
            held: Sequence[tuple[str, Tensor]] = list(moments(optimiser).items())
            state.put(group, (n for n, _ in held), (t for _, t in held))
