"""Ask/tell search with full training: a strategy proposes architectures, each is trained from scratch, the best is kept.

repeat   proposals = searcher.ask(1);   figures = train(proposal);   searcher.tell(figures)
then     the network with the best holdout accuracy is the result, tested once like every other
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from mimar.core.events import Event, Record
from mimar.core.ranges import Count, Whole, validate
from mimar.core.state import State
from mimar.evaluators import Retrain
from mimar.search import finish
from mimar.search.lab import Lab, checked_device
from mimar.search.result import Result
from mimar.search.run import Progress, run
from mimar.space import Architecture
from mimar.strategies import Measurement, Proposal, Searcher, Strategy, Trial
from mimar.tasks import Task


@dataclass(frozen=True)
class AskTell:
    """A black-box search as an expression of its parts; see the module's text for the algorithm.

    `networks`: how many architectures are trained. `baseline`: random networks beside them, drawn and trained apart;
    None takes the networks of the search itself, which is what random search means by them.
    """

    name: str
    strategy: Strategy
    networks: Count
    retrain: Retrain
    net: nn.Module | str | None = None
    task: Task | str | None = None
    seed: int = 0
    device: str = "cpu"
    baseline: Whole | None = None

    def __post_init__(self) -> None:
        validate(self)

    def start(self) -> State:
        """Return the state before the first proposal."""
        checked_device(self.device)
        lab = self.lab()
        lab.ready(self.retrain)
        searcher = self.strategy.start(lab.space, self.seed)
        return State({"phase": "search", "searcher": searcher.state_dict(), "asked": [], "trained": [], "training": {}})

    def lab(self) -> Lab:
        """Return what the search works on."""
        return Lab(self.net, self.task, self.seed, self.device, self.retrain.net)

    def events(self, state: State) -> Iterator[Event]:
        """Advance `state` to the end; it is consistent whenever a Step is yielded."""
        lab, json = self.lab(), state.json
        searcher = self.strategy.start(lab.space, self.seed)
        searcher.load_state_dict(json["searcher"])
        total = self.networks + (self.baseline or 0)
        while (i := len(json["trained"])) < total:
            if len(json["asked"]) == i:
                json["asked"].append(finish.plain(self._next(lab, searcher, i)))
                json["searcher"] = searcher.state_dict()
            chosen, searching = finish.architecture(json["asked"][i]), i < self.networks
            for event in finish.train(self, lab, state, f"random-{i}", chosen, networks=total, keep=searching):
                if isinstance(event, Record) and event.data["event"] == "trained" and searching:
                    found = Measurement(event.data["metrics"], event.data["budget"])
                    searcher.tell([Trial(Proposal(chosen), found)])
                    json["searcher"] = searcher.state_dict()
                yield event
        if json["phase"] != "done":
            ours, apart = json["trained"][: self.networks], json["trained"][self.networks :]
            best = max(ours, key=lambda t: finish.score(lab, t))
            cost, beside = (sum(t["budget"] for t in part) for part in (ours, apart))
            budget = {"search": cost, "retrain": 0.0, "baseline": beside}
            yield from finish.close(self, lab, state, best, ours if self.baseline is None else apart, budget)

    def _next(self, lab: Lab, searcher: Searcher, i: int) -> Architecture:
        if i >= self.networks:
            return finish.random_architecture(lab, self.seed, i)
        (proposal,) = searcher.ask(1)
        return proposal.architecture

    def run(self, out: Any = None, *, resume: bool = False, progress: Progress | None = None, **more: Any) -> Result:
        """Run to the end, into the folder `out` if given, and return the result; `mimar.search.run` says how."""
        return run(self, out, resume=resume, progress=progress, **more)
