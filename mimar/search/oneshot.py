"""One-shot search: train shared weights on sampled paths, then rank sampled architectures by them.

    repeat   p ~ one-hot gates of an architecture drawn from the space;   w ← w − η ∇_w L1(w, p)
    then     among `candidates` drawn architectures, the one with the best validation accuracy under w

With a strategy the paths and the candidates are its proposals, and it learns between the epochs:

    epoch    paths = searcher.ask(steps);   w ← w − η ∇_w L1(w, path) for each, none of them told
             `queries` times:   searcher.tell(searcher.ask(1), measured under w on one batch of the validation half)

With `tune`, learning rate and weight decay are searched beside the architecture, a proposal a = (p, h) says both:

    weight steps take the rate and the decay of their path;   a query is measured under w̃ = w − h.lr (∇_w L1(w, p) + h.decay w)

w̃, a step on a batch of the training half, is thrown away: queries change neither the weights nor their momentum. A weight
step that more than doubles the loss of its own batch is undone.

Batch-norm statistics are recalibrated for every candidate; a query takes the statistics of its batch. Derivation is a
phase of the state: it resumes too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from torch import nn

from mimar.core.describe import LATER, NEUTRAL
from mimar.core.errors import UsageError
from mimar.core.events import Event, Record, Step
from mimar.core.optimisers import Sgd, cosine
from mimar.core.ranges import Count, Range, Whole, validate
from mimar.core.state import State
from mimar.core.streams import stream
from mimar.evaluators import Retrain
from mimar.evaluators.tuned import tuned
from mimar.gradient.regularise import Term, WeightDecay
from mimar.search import finish
from mimar.search.lab import Lab, checked_device
from mimar.search.losses import BatchLoss, Given
from mimar.search.result import Result
from mimar.search.run import Progress, run
from mimar.search.weights import SharedWeights
from mimar.space import Architecture, Measurement, Trial
from mimar.space.beside import recipe
from mimar.strategies import Searcher, Strategy
from mimar.supernet import Engine, Fused, Gates
from mimar.tasks import Task

TUNED = ("lr", "decay")  # what one step of shared weights can show the effect of
FLOOR = 1e-3  # of the weights' learning rate, as in DARTS


@dataclass(frozen=True)
class OneShot:
    """A search by shared weights as an expression of its parts; see the module's text for the algorithm.

    Without `candidates` the answer is the strategy's own, such as the most probable architecture of a policy.
    """

    name: str
    inner: Sgd
    terms: tuple[Term, ...]
    epochs: Count
    candidates: Whole
    retrain: Retrain
    batch: Annotated[int, Range(2)] = 64
    net: nn.Module | str | None = None
    task: Task | str | None = None
    seed: int = 0
    device: str = "cpu"
    baseline: Whole | None = None
    engine: Engine = field(default=Fused(), metadata={NEUTRAL: True})
    strategy: Strategy | None = field(default=None, metadata={LATER: True})
    queries: Whole = field(default=0, metadata={LATER: True})  # an epoch
    tune: str = field(default="", metadata={LATER: True})  # of lr and decay, as mimar.evaluators.tuned reads it

    def __post_init__(self) -> None:
        validate(self)
        if (self.strategy is None) != (self.queries == 0):
            raise UsageError("a strategy learns from queries, and queries are a strategy's: give both or neither")
        if self.strategy is None and (self.tune or self.candidates == 0):
            raise UsageError("without a strategy there is nobody to tune, and nobody but candidates to answer")
        tuned(self.tune, TUNED)

    def start(self) -> State:
        """Return the state before the first step."""
        checked_device(self.device)
        lab = self.lab()
        lab.ready(self.retrain)
        state = State({"phase": "search", "epoch": 0, "step": 0, "loss_sum": 0.0, "ranked": []})
        if self.strategy is not None:
            searcher = self.strategy.start(lab.space, self.seed)
            if self.candidates == 0 and not hasattr(searcher, "answer"):
                raise UsageError(f"{self.strategy!r} has no answer of its own: take candidates=1 or more")
            state.json |= {"searcher": searcher.state_dict(), "paths": [], "query": 0, "asked": []}
        SharedWeights(lab, state, self.inner, self.batch)
        return state

    def lab(self) -> Lab:
        """Return what the search works on."""
        beside = tuned(self.tune, TUNED)
        return Lab(self.net, self.task, self.seed, self.device, self.retrain.net, self.engine, recipe=beside)

    def events(self, state: State) -> Iterator[Event]:
        """Advance `state` to the end; it is consistent whenever a Step is yielded."""
        lab = self.lab()
        if state.json["phase"] == "search":
            shared = SharedWeights(lab, state, self.inner, self.batch)
            yield from self.train(lab, shared, state.json)
            yield from self._rank(lab, shared, state)
        yield from finish.events(self, lab, state)

    def run(self, out: Any = None, *, resume: bool = False, progress: Progress | None = None, **more: Any) -> Result:
        """Run to the end, into the folder `out` if given, and return the result; `mimar.search.run` says how."""
        return run(self, out, resume=resume, progress=progress, **more)

    def train(self, lab: Lab, shared: SharedWeights, counters: dict[str, Any]) -> Iterator[Event]:
        """Train the shared weights from where the counters stand to the last epoch."""
        total = self.epochs * shared.per_epoch
        for epoch in range(counters["epoch"], self.epochs):
            lr = cosine(epoch / self.epochs, self.inner.lr, min(FLOOR, self.inner.lr))
            paths = self._paths(lab, shared, counters, epoch)
            for step, batch in enumerate(shared.batches(epoch, counters["step"]), counters["step"]):
                at = epoch * shared.per_epoch + step
                loss = self._loss(lab, shared, batch, paths[step], ("inner", at))
                if self.tune:
                    taken = shared.careful(loss, recipe(paths[step]).get("lr", lr), at)
                else:
                    taken = shared.step(loss, (), lr, at)
                counters["loss_sum"] += taken.loss
                counters["step"] = step + 1
                yield Step("search", "search", at + 1, total, {"loss": counters["loss_sum"] / (step + 1)})
            told = {"event": "epoch", "phase": "search", "epoch": epoch + 1, "epochs": self.epochs, "lr": lr}
            told |= {"train_loss": counters["loss_sum"] / shared.per_epoch}
            if self.strategy is not None:
                yield from self._learn(lab, shared, counters, epoch)
                told["reward"] = counters["rewards"] / self.queries
                counters.update(paths=[], query=0, rewards=0.0)
            yield Record(told)
            counters.update(epoch=epoch + 1, step=0, loss_sum=0.0)
            yield Step("search", "search", (epoch + 1) * shared.per_epoch, total, boundary=True)

    def _paths(self, lab: Lab, shared: SharedWeights, counters: dict[str, Any], epoch: int) -> list[Architecture]:
        """Return the architectures whose paths are trained in an epoch: drawn, or asked of the strategy beforehand."""
        if self.strategy is None:
            first = epoch * shared.per_epoch
            return [lab.space.sample(stream(self.seed, "path", first + i)) for i in range(shared.per_epoch)]
        if not counters["paths"]:
            searcher = self._searcher(lab, counters)
            counters["paths"] = [finish.plain(p.architecture) for p in searcher.ask(shared.per_epoch)]
            counters["searcher"] = searcher.state_dict()
        return [finish.architecture(a) for a in counters["paths"]]

    def _searcher(self, lab: Lab, counters: dict[str, Any]) -> Searcher:
        assert self.strategy is not None
        searcher = self.strategy.start(lab.space, self.seed)
        searcher.load_state_dict(counters["searcher"])
        return searcher

    def _learn(self, lab: Lab, shared: SharedWeights, counters: dict[str, Any], epoch: int) -> Iterator[Event]:
        """Let the strategy learn from queries, each one batch of the validation half under the shared weights."""
        searcher = self._searcher(lab, counters)
        counters.setdefault("rewards", 0.0)
        for query in range(counters["query"], self.queries):
            (proposal,) = searcher.ask(1)
            found = self.measured(lab, shared, proposal.architecture, epoch * self.queries + query)
            metrics, reward = {f"valid_{k}": v for k, v in found.items()}, found[lab.primary.name]
            good = all(map(math.isfinite, found.values()))  # a step of too high a rate is a failure, not an error
            values = (lab.better(reward),) if good else ()
            searcher.tell(
                [Trial(proposal, Measurement(metrics, 0.0) if good else Measurement({}, 0.0, "failed"), values)]
            )
            counters["rewards"] += reward if good else 0.0
            counters.update(query=query + 1, searcher=searcher.state_dict())
            yield Step("search", "learn", query + 1, self.queries, {"reward": counters["rewards"] / (query + 1)})

    def measured(self, lab: Lab, shared: SharedWeights, architecture: Architecture, at: int) -> dict[str, float]:
        """Return the measures of an architecture under the shared weights, on the validation batch number `at`."""
        batch = lab.data.sample("valid", stream(self.seed, "query", at), size=self.batch, device=lab.device)
        gates, net = lab.supernet.gates(architecture), lab.supernet
        weights, buffers = shared.weights, shared.buffers
        if self.tune:
            fit = lab.data.sample("train", stream(self.seed, "tried", at), size=self.batch, device=lab.device)
            rate = recipe(architecture).get("lr", self.inner.lr)
            weights, buffers = shared.tried(self._loss(lab, shared, fit, architecture, ("tried", at)), rate)
        with torch.no_grad():
            return lab.data.measured(lambda x: net.call(weights, gates, x, buffers=buffers), batch)

    def _candidates(self, lab: Lab, counters: dict[str, Any]) -> list[Architecture]:
        if self.strategy is None:
            return [lab.space.sample(stream(self.seed, "candidate", i)) for i in range(self.candidates)]
        if not counters["asked"]:
            counters["asked"] = [
                finish.plain(p.architecture) for p in self._searcher(lab, counters).ask(self.candidates)
            ]
        return [finish.architecture(a) for a in counters["asked"]]

    def _loss(
        self, lab: Lab, shared: SharedWeights, batch: Any, path: Architecture, noise: tuple[str, int]
    ) -> BatchLoss:
        decay = recipe(path).get("decay")
        own = [t for t in self.terms if decay is None or not isinstance(t, WeightDecay)]
        return BatchLoss(
            supernet=lab.supernet,
            relaxation=Given(Gates(lab.supernet.gates(path))),
            names=(),
            data=lab.data,
            batch=batch,
            buffers=shared.buffers,
            noise=(self.seed, *noise),
            terms=tuple(own) if decay is None else (*own, WeightDecay(decay)),
        )

    def _rank(self, lab: Lab, shared: SharedWeights, state: State) -> Iterator[Event]:
        ranked: list[float] = state.json["ranked"]
        if self.candidates == 0:
            yield from self._answer(lab, shared, state)
            return
        sampled = self._candidates(lab, state.json)
        for i in range(len(ranked), self.candidates):
            ranked.append(finish.shared_score(lab, lab.supernet.gates(sampled[i]), self.batch))
            yield Step("search", "rank", i + 1, self.candidates, {lab.primary.name: ranked[-1]})
        best = sampled[max(range(self.candidates), key=lambda i: lab.better(ranked[i]))]
        yield Record({"event": "derived", "architecture": finish.plain(best), "ranked": list(ranked)})
        cost = self.cost(lab, shared)
        supernet = {f"derived_{lab.primary.name}": ranked[sampled.index(best)], "skips": finish.skips(best)}
        finish.to_retraining(self, lab, state, best, cost)
        state.json["supernet"] = supernet

    def _answer(self, lab: Lab, shared: SharedWeights, state: State) -> Iterator[Event]:
        answer: Architecture = self._searcher(lab, state.json).answer()  # type: ignore[attr-defined]
        yield Record({"event": "derived", "architecture": finish.plain(answer), "ranked": []})
        score = finish.shared_score(lab, lab.supernet.gates(answer), self.batch)
        finish.to_retraining(self, lab, state, answer, self.cost(lab, shared))
        state.json["supernet"] = {f"derived_{lab.primary.name}": score, "skips": finish.skips(answer)}

    def cost(self, lab: Lab, shared: SharedWeights) -> float:
        """Return the analytic cost of training and ranking, in MACs; a path counts as the mean of 8 drawn networks."""
        path = self._path_macs(lab)
        ranking = self.candidates * (lab.data.size("valid") + finish.CALIBRATION * self.batch)
        learning = self.epochs * self.queries * self.batch * (4 if self.tune else 1)  # a step is three passes
        return self.training_cost(lab, shared) + path * (ranking + learning)

    def training_cost(self, lab: Lab, shared: SharedWeights) -> float:
        """Return the analytic cost of training the shared weights, in MACs."""
        passes = 4 if self.tune else 3  # a tuned step looks at the loss after it
        return self._path_macs(lab) * passes * self.epochs * shared.per_epoch * self.batch

    def _path_macs(self, lab: Lab) -> float:
        drawn: list[Architecture] = [lab.space.sample(stream(self.seed, "candidate", i)) for i in range(8)]
        return sum(lab.network_macs(a, shared=True) for a in drawn) / len(drawn)
