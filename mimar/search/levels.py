"""Several searches that differ in one setting; the best of what they find, by the holdout, is the result.

for each level   derive an architecture by its own search
then             retrain all of them alike; the network with the best holdout accuracy is the result
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from mimar.core.describe import NEUTRAL
from mimar.core.errors import UsageError
from mimar.core.events import Event, Record, Step
from mimar.core.ranges import validate
from mimar.core.state import State
from mimar.evaluators import Retrain
from mimar.search import finish
from mimar.search.bilevel import Bilevel
from mimar.search.budget import baseline_size
from mimar.search.lab import Lab
from mimar.search.loop import Loop
from mimar.search.result import Result
from mimar.search.run import Progress, run
from mimar.supernet import Engine, Fused


@dataclass(frozen=True)
class Levels:
    """The best of several searches on one task, net and seed; see the module's text for the algorithm.

    Its cost is that of all searches and of all retrainings but one. Raises UsageError without a search, and where they
    differ in task, net, seed, device or retraining.
    """

    name: str
    searches: tuple[Bilevel, ...]
    engine: Engine = field(default=Fused(), metadata={NEUTRAL: True})

    def __post_init__(self) -> None:
        validate(self)
        if not self.searches:
            raise UsageError("Levels.searches is empty; give at least one search")
        common = {(s.seed, s.device, s.retrain, s.baseline, s.remodel, str(s.task)) for s in self.searches}
        if len(common) > 1 or any(s.net is not self.first.net and s.net != self.first.net for s in self.searches):
            raise UsageError("the searches of Levels must agree in task, net, seed, device, retraining and baseline")

    @property
    def first(self) -> Bilevel:
        """The first search; they agree in all that is asked of it here."""
        return self.searches[0]

    @property
    def seed(self) -> int:
        """The seed of all searches."""
        return self.first.seed

    @property
    def device(self) -> str:
        """The device of all searches."""
        return self.first.device

    @property
    def baseline(self) -> int | None:
        """The number of random networks beside the result."""
        return self.first.baseline

    @property
    def retrain(self) -> Retrain:
        """How finished networks are trained."""
        return self.first.retrain

    def lab(self) -> Lab:
        """Return what the searches work on."""
        return replace(self.first, engine=self.engine).lab()

    def start(self) -> State:
        """Return the state before the first step of the first search."""
        inner = self.first.start()
        return State({"phase": "search", "found": [], "inner": inner.json}, inner.tensors)

    def events(self, state: State) -> Iterator[Event]:
        """Advance `state` to the end; it is consistent whenever a Step is yielded."""
        json = state.json
        while json["phase"] == "search":
            yield from self._search(state, len(json["found"]))
        lab = self.lab()
        queue, trained = json["queue"], json["trained"]
        while len(trained) < len(queue):
            label, chosen = queue[len(trained)]
            keep, networks = label.startswith("derived"), len(queue) - len(self.searches)
            arch = finish.architecture(chosen)
            yield from finish.train(self, lab, state, label, arch, networks=networks, keep=keep)
        if json["phase"] != "done":
            yield from self._close(lab, state)

    def _search(self, state: State, level: int) -> Iterator[Event]:
        """Run the search of one level, and begin the next or the retraining."""
        search, json = replace(self.searches[level], engine=self.engine), state.json
        lab, inner = search.lab(), State(json["inner"], state.tensors)  # the same objects: what it changes is saved
        for event in Loop(search, lab, inner).events():
            yield replace(event, data={**event.data, "level": level}) if isinstance(event, Record) else event
        json["found"].append({k: inner.json[k] for k in ("queue", "search_cost", "supernet")})
        if level + 1 < len(self.searches):
            inner = self.searches[level + 1].start()
            json["inner"] = inner.json
            state.tensors.update(inner.tensors)
        else:
            self._to_retraining(lab, state)
        yield Step("search", f"level {level + 1} of {len(self.searches)}", 1, 1, boundary=True)

    def _to_retraining(self, lab: Lab, state: State) -> None:
        found = state.json["found"]
        chosen = [f["queue"][0][1] for f in found]
        trainings = [
            3.0 * lab.network_macs(finish.architecture(c)) * self.retrain.steps(lab.data) * self.retrain.batch
            for c in chosen
        ]
        cost = sum(f["search_cost"] for f in found) + sum(trainings) - trainings[0]
        n = baseline_size(cost, trainings[0]) if self.baseline is None else self.baseline
        queue = [[f"derived-{i}", c] for i, c in enumerate(chosen)]
        queue += [[f"random-{i}", finish.plain(finish.random_architecture(lab, self.seed, i))] for i in range(n)]
        state.tensors.clear()
        del state.json["inner"]
        state.json |= {"phase": "retrain", "queue": queue, "trained": [], "search_cost": cost, "training": {}}

    def _close(self, lab: Lab, state: State) -> Iterator[Event]:
        ours, randoms = (
            state.json["trained"][: len(self.searches)],
            state.json["trained"][len(self.searches) :],
        )
        best = max(range(len(ours)), key=lambda i: finish.score(lab, ours[i]))
        state.json["supernet"] = state.json["found"][best]["supernet"] | {"level": best}
        yield Record({"event": "level", "level": best, "scores": [finish.score(lab, t) for t in ours]})
        others = sum(t["budget"] for t in ours) - ours[best]["budget"]
        searching = sum(f["search_cost"] for f in state.json["found"])
        budget = {"search": searching + others, "retrain": ours[best]["budget"]}
        budget["baseline"] = sum(t["budget"] for t in randoms)
        yield from finish.close(self, lab, state, ours[best], randoms, budget)

    def run(self, out: Any = None, *, resume: bool = False, progress: Progress | None = None, **more: Any) -> Result:
        """Run to the end, into the folder `out` if given, and return the result; `mimar.search.run` says how."""
        return run(self, out, resume=resume, progress=progress, **more)
