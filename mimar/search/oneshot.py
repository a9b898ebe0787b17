"""One-shot search: train shared weights on sampled paths, then rank sampled architectures by them.

    repeat   p ~ one-hot gates of an architecture drawn from the space;   w ← w − η ∇_w L1(w, p)
    then     among `candidates` drawn architectures, the one with the best validation accuracy under w

With a strategy the paths and the candidates are its proposals, and it learns between the epochs:

    epoch    paths = searcher.ask(steps);   w ← w − η ∇_w L1(w, path) for each, none of them told
             `queries` times:   searcher.tell(searcher.ask(1), measured under w on one batch of the validation half)

Batch-norm statistics are recalibrated for every candidate; a query takes the statistics of its batch. Derivation is a
phase of the state: it resumes too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from mimar.core.describe import LATER, NEUTRAL
from mimar.core.errors import UsageError
from mimar.core.events import Event, Record, Step
from mimar.core.optimisers import Sgd, cosine
from mimar.core.ranges import Count, Range, Whole, validate
from mimar.core.state import State
from mimar.core.streams import stream
from mimar.evaluators import Retrain
from mimar.gradient.regularise import Term
from mimar.search import finish
from mimar.search.lab import Lab, checked_device
from mimar.search.losses import BatchLoss, Given
from mimar.search.result import Result
from mimar.search.run import Progress, run
from mimar.search.weights import SharedWeights
from mimar.space import Architecture, Measurement, Trial
from mimar.strategies import Searcher, Strategy
from mimar.supernet import Engine, Fused, Gates
from mimar.tasks import Task

FLOOR = 1e-3  # of the weights' learning rate, as in DARTS


@dataclass(frozen=True)
class OneShot:
    """A search by shared weights as an expression of its parts; see the module's text for the algorithm."""

    name: str
    inner: Sgd
    terms: tuple[Term, ...]
    epochs: Count
    candidates: Count
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

    def __post_init__(self) -> None:
        validate(self)
        if (self.strategy is None) != (self.queries == 0):
            raise UsageError("a strategy learns from queries, and queries are a strategy's: give both or neither")

    def start(self) -> State:
        """Return the state before the first step."""
        checked_device(self.device)
        lab = self.lab()
        lab.ready(self.retrain)
        state = State({"phase": "search", "epoch": 0, "step": 0, "loss_sum": 0.0, "ranked": []})
        if self.strategy is not None:
            searcher = self.strategy.start(lab.space, self.seed)
            state.json |= {"searcher": searcher.state_dict(), "paths": [], "query": 0, "asked": []}
        SharedWeights(lab, state, self.inner, self.batch)
        return state

    def lab(self) -> Lab:
        """Return what the search works on."""
        return Lab(self.net, self.task, self.seed, self.device, self.retrain.net, self.engine)

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
                gates = lab.supernet.gates(paths[step])
                counters["loss_sum"] += shared.step(self._loss(lab, shared, batch, gates, at), (), lr, at).loss
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
            searcher.tell(
                [Trial(proposal, Measurement({f"valid_{k}": v for k, v in found.items()}), self._values(lab, found))]
            )
            counters["rewards"] += found[lab.primary.name]
            counters.update(query=query + 1, searcher=searcher.state_dict())
            yield Step("search", "learn", query + 1, self.queries, {"reward": counters["rewards"] / (query + 1)})

    def measured(self, lab: Lab, shared: SharedWeights, architecture: Architecture, at: int) -> dict[str, float]:
        """Return the measures of an architecture under the shared weights, on the validation batch number `at`."""
        batch = lab.data.sample("valid", stream(self.seed, "query", at), size=self.batch, device=lab.device)
        gates, net = lab.supernet.gates(architecture), lab.supernet
        with torch.no_grad():
            return lab.data.measured(lambda x: net.call(shared.weights, gates, x, buffers=shared.buffers), batch)

    def _values(self, lab: Lab, found: Mapping[str, float]) -> tuple[float, ...]:
        return (lab.better(found[lab.primary.name]),)

    def _candidates(self, lab: Lab, counters: dict[str, Any]) -> list[Architecture]:
        if self.strategy is None:
            return [lab.space.sample(stream(self.seed, "candidate", i)) for i in range(self.candidates)]
        if not counters["asked"]:
            counters["asked"] = [
                finish.plain(p.architecture) for p in self._searcher(lab, counters).ask(self.candidates)
            ]
        return [finish.architecture(a) for a in counters["asked"]]

    def _loss(self, lab: Lab, shared: SharedWeights, batch: Any, gates: Mapping[str, Tensor], at: int) -> BatchLoss:
        return BatchLoss(
            supernet=lab.supernet,
            relaxation=Given(Gates(gates)),
            names=(),
            data=lab.data,
            batch=batch,
            buffers=shared.buffers,
            noise=(self.seed, "inner", at),
            terms=self.terms,
        )

    def _rank(self, lab: Lab, shared: SharedWeights, state: State) -> Iterator[Event]:
        ranked: list[float] = state.json["ranked"]
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

    def cost(self, lab: Lab, shared: SharedWeights) -> float:
        """Return the analytic cost of training and ranking, in MACs; a path counts as the mean of 8 drawn networks."""
        path = self._path_macs(lab)
        ranking = self.candidates * (lab.data.size("valid") + finish.CALIBRATION * self.batch)
        learning = self.epochs * self.queries * self.batch
        return self.training_cost(lab, shared) + path * (ranking + learning)

    def training_cost(self, lab: Lab, shared: SharedWeights) -> float:
        """Return the analytic cost of training the shared weights, in MACs."""
        return self._path_macs(lab) * 3 * self.epochs * shared.per_epoch * self.batch

    def _path_macs(self, lab: Lab) -> float:
        drawn: list[Architecture] = [lab.space.sample(stream(self.seed, "candidate", i)) for i in range(8)]
        return sum(lab.network_macs(a, shared=True) for a in drawn) / len(drawn)
