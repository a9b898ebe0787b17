"""Teaching: learn data on which any network of a space learns quickly, then rank architectures by what they learn there.

    repeat   w_0 fresh, of an architecture drawn from the space;   w_{t+1} = sgd(w_t, G_φ(z_t)),   t = 0 … N − 1
             φ ← Adam(φ, d mean_t L(w_t, real batch)/dφ)           through all steps; φ has G, z and the learning rates
    then     among `candidates` drawn architectures, the one with the best validation accuracy after N such steps

The outer variables are data and not an architecture. Both phases are in the state, so that they resume exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mimar.core import count
from mimar.core.derivatives import gradient
from mimar.core.errors import NonFiniteError, UsageError
from mimar.core.events import Event, Record, Step
from mimar.core.optimisers import cosine, descend
from mimar.core.ranges import Count, Positive, Whole, validate
from mimar.core.state import State, moments, restore_moments
from mimar.core.streams import derive, stream
from mimar.core.trees import Tensors, finite, leaves
from mimar.evaluators import Retrain
from mimar.evaluators.synthetic import Synthetic, Teacher
from mimar.evaluators.taught import CALIBRATION, Learner, Taught, lesson
from mimar.search import finish
from mimar.search.lab import Lab, checked_device
from mimar.search.result import Result
from mimar.search.run import Progress, run
from mimar.tasks import Task

IMITATION = 0.01  # Adam's rate while the generator imitates real images
POOL = 4096  # real images at most that are imitated
FLOOR = 0.1  # of Adam's rate at the end, as in the released code
LOGGED = 10  # iterations to a line of the log


@dataclass(frozen=True)
class Teach:
    """A search by learned data as an expression of its parts; see the module's text for the algorithm.

    `rate`: of Adam (0.9, 0.999), falling by a cosine to a tenth. `teacher.batch` images go into every loss.
    """

    name: str
    teacher: Teacher
    rate: Positive
    iterations: Count
    candidates: Count
    retrain: Retrain
    net: nn.Module | str | None = None
    task: Task | str | None = None
    seed: int = 0
    device: str = "cpu"
    baseline: Whole | None = None

    def __post_init__(self) -> None:
        validate(self)

    def start(self) -> State:
        """Return the state before the first step."""
        checked_device(self.device)
        lab = self.lab()
        lab.ready(self.retrain)
        if lab.data.size("train") < self.teacher.batch:
            raise UsageError(
                f"batch is {self.teacher.batch}, more than the {lab.data.size('train')} training samples; make it smaller"
            )
        state = State({"phase": "search", "imitated": 0, "iteration": 0, "loss_sum": 0.0, "loss": 0.0, "ranked": []})
        learned = self.teacher.start(lab.data.task, stream(self.seed, "teacher"))
        state.put("teacher", learned.keys(), (t.to(self.device) for t in learned.values()))
        return state

    def lab(self) -> Lab:
        """Return what the search works on."""
        return Lab(self.net, self.task, self.seed, self.device, self.retrain.net)

    def events(self, state: State) -> Iterator[Event]:
        """Advance `state` to the end; it is consistent whenever a Step is yielded."""
        lab = self.lab()
        if state.json["phase"] == "search":
            yield from self._teach(lab, state)
        if state.json["phase"] == "rank":
            yield from self._rank(lab, state)
        yield from finish.events(self, lab, state)

    def run(self, out: Any = None, *, resume: bool = False, progress: Progress | None = None, **more: Any) -> Result:
        """Run to the end, into the folder `out` if given, and return the result; `mimar.search.run` says how."""
        return run(self, out, resume=resume, progress=progress, **more)

    def taught(self, state: State) -> Taught:
        """Return the evaluator that the teacher of a state is: it rates any architecture of the space."""
        lab = self.lab()
        learned = {n: t.to(self.device) for n, t in state.group("teacher").items()}
        return Taught(self.teacher, learned, lab.supernet.model, lab.data, self.seed, self.device)

    def _teach(self, lab: Lab, state: State) -> Iterator[Event]:
        counters, warm = state.json, self.teacher.imitate
        learned = {n: t.to(self.device).clone() for n, t in state.group("teacher").items()}
        state.put("teacher", learned.keys(), learned.values())
        adam = self._adam(state, learned)
        real = lab.data.sample("train", stream(self.seed, "imitated"), size=POOL, device=self.device)
        for i in range(counters["imitated"], warm):
            descend(adam, self._imitation(lab, learned, real, i), IMITATION)
            self._alias(state, adam)
            counters["imitated"] = i + 1
            yield Step("search", "imitate", i + 1, warm)
        if counters["iteration"] == 0:
            state.drop("adam")
            adam = self._adam(state, learned)
        for i in range(counters["iteration"], self.iterations):
            loss = self._lesson(lab, learned, adam, i)
            self._alias(state, adam)
            counters.update(iteration=i + 1, loss=loss, loss_sum=counters["loss_sum"] + loss)
            if due := (i + 1) % LOGGED == 0 or i + 1 == self.iterations:
                yield self._logged(lab, learned, i + 1, counters["loss_sum"] / (i % LOGGED + 1))
                counters["loss_sum"] = 0.0
            yield Step("search", "teach", i + 1, self.iterations, {"loss": loss}, boundary=due)
        state.drop("adam")
        counters["phase"] = "rank"

    def _adam(self, state: State, learned: dict[str, Tensor]) -> torch.optim.Adam:
        adam = torch.optim.Adam(list(learned.values()), lr=self.rate)
        restore_moments(adam, state.group("adam"))
        self._alias(state, adam)
        return adam

    def _imitation(self, lab: Lab, learned: dict[str, Tensor], real: Any, i: int) -> Tensors:
        """Return the gradient of the distance of one batch of images from real ones."""
        leaf = dict(zip(learned, leaves(learned.values()), strict=True))
        given = Synthetic(self.teacher, leaf, lab.data.task, derive(self.seed, "imitation"))
        return gradient(given.distance(i % self.teacher.steps, real), tuple(leaf.values()))

    def _lesson(self, lab: Lab, learned: dict[str, Tensor], adam: torch.optim.Adam, i: int) -> float:
        """Teach one learner and take one step of Adam; return the learner's last loss on real data."""
        drawn, noise = lab.space.sample(stream(self.seed, "path", i)), derive(self.seed, "learner", i)
        learner = Learner(lab.supernet.model, drawn, lab.data, noise, self.device)

        def real(t: int) -> Any:
            rng = stream(self.seed, "outer", i, t)
            return lab.data.sample("train", rng, size=self.teacher.batch, device=self.device)

        found = lesson(self.teacher, learned, learner, real)
        loss = found.losses[self.teacher.steps]
        if not finite((*found.gradients, torch.tensor(list(found.losses.values())))):
            raise NonFiniteError(
                f"the loss of the learner of iteration {i + 1} or its gradient is not finite (loss {loss:.3g}); "
                f"lower the teacher's first learning rate (lr, {self.teacher.lr:.3g}), its steps, or the outer rate"
            )
        rate = cosine(i / self.iterations, self.rate, FLOOR * self.rate)
        descend(adam, found.gradients, rate)
        return loss

    def _logged(self, lab: Lab, learned: dict[str, Tensor], done: int, loss: float) -> Record:
        given = Synthetic(self.teacher, learned, lab.data.task)
        rates = [[float(v) for v in given.rates(t)] for t in range(self.teacher.steps)]
        lr, momentum = (sum(column) / len(rates) for column in zip(*rates, strict=True))
        return Record(
            {"event": "epoch", "phase": "search", "epoch": -(-done // LOGGED), "epochs": -(-self.iterations // LOGGED)}
            | {"lr": lr, "momentum": momentum, "train_loss": loss}
        )

    def _rank(self, lab: Lab, state: State) -> Iterator[Event]:
        ranked: list[float | None] = state.json["ranked"]
        sampled = [lab.space.sample(stream(self.seed, "candidate", i)) for i in range(self.candidates)]
        evaluator, name = self.taught(state), lab.primary.name
        for i in range(len(ranked), self.candidates):
            rating = evaluator.evaluate(sampled[i])
            ranked.append(rating.metrics[name] if rating.status == "ok" else None)
            yield Step("search", "rank", i + 1, self.candidates, dict(rating.metrics))
        known = {i: value for i, value in enumerate(ranked) if value is not None}
        if not known:
            raise NonFiniteError("no candidate kept finite weights on the learned data; lower the learning rate, lr")
        best = max(known, key=lambda i: lab.better(known[i]))
        yield Record({"event": "derived", "architecture": finish.plain(sampled[best]), "ranked": list(ranked)})
        figures = {f"taught_{name}": known[best], "loss": state.json["loss"], "skips": finish.skips(sampled[best])}
        learned = state.group("teacher")
        finish.to_retraining(self, lab, state, sampled[best], self.cost(lab, learned))
        state.put("teacher", learned.keys(), learned.values())  # it stays: `taught` makes an evaluator of it
        state.json["supernet"] = figures

    def cost(self, lab: Lab, learned: dict[str, Tensor]) -> float:
        """Return the analytic cost of teaching and ranking, in MACs; a learner counts as the mean of 8 drawn networks.

        A step on learned data: 3 passes for its gradient, 4 for the product on the way back; the generator 3 together;
        3 and 1 more where a step is computed twice. A measurement on real data: 3.
        """
        part, data = self.teacher, lab.data
        drawn = [lab.space.sample(stream(self.seed, "candidate", i)) for i in range(8)]
        path = sum(lab.network_macs(a, shared=True) for a in drawn) / len(drawn)
        made = count.macs(lambda _: Synthetic(part, learned, data.task).batch(0).x, lab.examples(1))  # of a whole batch
        real = sum(part.due(t + 1) for t in range(part.steps))
        teaching = path * part.batch * (7 * part.steps + 3 * part.twice + 3 * real) + made * (
            3 * part.steps + part.twice
        )
        teaching = self.iterations * teaching + 3 * made * part.imitate
        rating = path * (part.batch * (3 * part.steps + CALIBRATION) + data.size("valid")) + made * part.steps
        return teaching + self.candidates * rating

    @staticmethod
    def _alias(state: State, adam: torch.optim.Adam) -> None:
        held = moments(adam)
        state.put("adam", held.keys(), held.values())
