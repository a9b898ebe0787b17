"""Pruning by scores at initialisation: from the supernet of all options take what is missed least, until one network is left.

    S ← the supernet with every option, mixed evenly
    repeat   for every option o of every choice that has one to spare, and every score:
                 harm(o) = (score of S − score of S without o) / |score of S|, for the worse;   mean over `repeats` weights
             rank the options by each harm, least first;   from each such choice remove the option of least rank sum
    until    every choice has what it needs; that network is trained from scratch, and random ones beside it

Both supernets of a harm have the same fresh weights. One step of the state is one option.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mimar.core.errors import UsageError
from mimar.core.events import Event, Record, Step
from mimar.core.ranges import Batch, Count, Whole, validate
from mimar.core.state import State
from mimar.core.streams import derive, stream
from mimar.evaluators import Retrain
from mimar.evaluators.proxies import Proxy
from mimar.evaluators.proxies.sizes import Operations
from mimar.evaluators.table import Table
from mimar.objectives import option_costs
from mimar.search import finish
from mimar.search.asktell import AskTell
from mimar.search.ground import TableLab, answer, ground
from mimar.search.lab import Lab, checked_device
from mimar.search.result import Result
from mimar.search.run import Progress, run
from mimar.search.untrained import subject
from mimar.space import Architecture, Measurement, Proposal, Space, Trial, of
from mimar.strategies import Random
from mimar.supernet import Reference, Supernet, reinitialised
from mimar.tasks import Task
from mimar.tasks.protocol import Batch as Samples

Left = dict[str, list[Any]]  # {choice: the options that are left}
Option = tuple[str, Any]
FINE = 100  # harms are told apart to one part in so many
LOST = 1e6
BESIDE = 100  # random architectures beside the answer on a table


@dataclass(frozen=True)
class Pruning:
    """A search by pruning as an expression of its parts; see the module's text for the algorithm.

    On a benchmark table the supernet is a small one of its layout, on noise images.
    """

    name: str
    scores: tuple[Proxy, ...]
    retrain: Retrain
    repeats: Count = 3
    batch: Batch = 16
    images: Literal["task", "noise"] = "task"
    net: nn.Module | str | None = None
    task: Task | Table | str | None = None
    seed: int = 0
    device: str = "cpu"
    baseline: Whole | None = None

    def __post_init__(self) -> None:
        validate(self)

    def start(self) -> State:
        """Return the state before the first round; raises UsageError for a choice that a supernet cannot mix."""
        checked_device(self.device)
        lab = self.lab()
        for choice in lab.space.choices:
            if choice.kind == "value":
                raise UsageError(f"{self.name} removes options; the choice {choice.name!r} is continuous and has none")
        if isinstance(lab, Lab):
            lab.ready(self.retrain)
        left = {c.name: list(c.allowed) for c in lab.space.choices}
        return State({"phase": "search", "left": left, "removed": 0, "round": 0, "whole": [], "harms": [], "cost": 0.0})

    def lab(self) -> Lab | TableLab:
        """Return what the search works on."""
        return ground(self.net, self.task, self.seed, self.device, self.retrain.net)

    def events(self, state: State) -> Iterator[Event]:
        """Advance `state` to the end; it is consistent whenever a Step is yielded."""
        lab = self.lab()
        if state.json["phase"] == "search":
            yield from self._prune(lab, state.json)
            yield from self._close(lab, state)
        if isinstance(lab, Lab):
            yield from finish.events(self, lab, state)

    def run(self, out: Any = None, *, resume: bool = False, progress: Progress | None = None, **more: Any) -> Result:
        """Run to the end, into the folder `out` if given, and return the result; `mimar.search.run` says how."""
        return run(self, out, resume=resume, progress=progress, **more)

    def _prune(self, lab: Lab | TableLab, json: dict[str, Any]) -> Iterator[Event]:
        model, batch = subject(lab, self.seed, self.device, self.batch, self.images)
        space, total, macs = lab.space, options(lab.space), Passed(model, batch)
        while candidates := spare(space, json["left"]):
            if not json["whole"]:
                json["whole"] = self._scores(macs, json, None)
            for option in candidates[len(json["harms"]) :]:
                found = self._scores(macs, json, option)
                harms = [harm(p, a, b) for p, a, b in zip(self.scores, json["whole"], found, strict=True)]
                json["harms"].append(harms)
                done = total - options(space, json["left"]) + len(json["harms"]) / len(candidates)
                yield Step("search", "prune", int(done), total)
            gone = least(candidates, json["harms"])
            json["left"] = without(json["left"], gone)
            yield Record({"event": "pruned", "round": json["round"] + 1, "removed": [list(o) for o in gone]})
            json.update(round=json["round"] + 1, whole=[], harms=[])
            yield Step("search", "prune", total - options(space, json["left"]), total, boundary=True)

    def _scores(self, macs: Passed, json: dict[str, Any], option: Option | None) -> list[list[float | None]]:
        """Return the scores of the supernet that is left, without an option: `repeats` numbers each, None where not finite."""
        left, batch = json["left"] if option is None else without(json["left"], [option]), macs.batch
        found: list[list[float | None]] = [[] for _ in self.scores]
        for i in range(self.repeats):
            fresh = reinitialised(macs.model, stream(self.seed, "pruning", json["round"], i)).to(self.device)
            net = Remaining(fresh, left)
            for values, score in zip(found, self.scores, strict=True):
                value = score(net, batch, derive(self.seed, "pruning", i))
                values.append(value if math.isfinite(value) else None)
                json["cost"] += macs(left) * score.passes(len(batch.x))
        return found

    def _close(self, lab: Lab | TableLab, state: State) -> Iterator[Event]:
        """Pass on to retraining; on a table, look the answer up."""
        found, cost = last(lab.space, state.json["left"]), state.json["cost"]
        yield Record({"event": "derived", "architecture": finish.plain(found)})
        if isinstance(lab, Lab):
            finish.to_retraining(self, lab, state, found, cost)
            return
        task: Any = self.task
        session = AskTell(
            "random", Random(), self.retrain, self.baseline or BESIDE, task=task, seed=self.seed
        ).session()
        session.over = self.baseline == 0
        while session.step() is not None:
            pass
        result = answer(self, lab, Trial(Proposal(found), Measurement({})), session.trials, cost)
        yield Record({"event": "finished", "result": result})
        state.json.update(phase="done", result=result)
        yield Step("done", "done", 1, 1, boundary=True)


class Remaining(nn.Module):
    """The supernet in which only some options are left, mixed evenly (all of those left where k of n are chosen)."""

    def __init__(self, model: nn.Module, left: Mapping[str, Sequence[Any]]) -> None:
        super().__init__()
        self.model, self.left = model, left

    def forward(self, x: Tensor) -> Tensor:
        """Return the mixture's output."""
        gates: dict[str, Tensor] = {}
        for choice in of(self.model).choices:
            here = self.left[choice.name]
            share = 1.0 if choice.kind == "some" else 1.0 / len(here)
            gates[choice.name] = torch.tensor([share if o in here else 0.0 for o in choice.options]).to(x)
        output: Tensor = Supernet(self.model, engine=Reference())(x, gates)
        return output


class Passed:
    """The MACs of one sample through what is left of a supernet: of all of it, less those of the options removed."""

    def __init__(self, model: nn.Module, batch: Samples) -> None:
        self.model, self.batch = model, batch
        whole = {c.name: list(c.allowed) for c in of(model).choices}
        self.most = Operations()(Remaining(model, whole).to(batch.x.device), batch)
        example = batch.x[:1].to(next(model.parameters()).device)
        costs = option_costs(model, "macs", example)
        self.costs = {
            (c.name, o): float(costs[c.name][c.options.index(o)]) for c in of(model).choices for o in c.allowed
        }

    def __call__(self, left: Mapping[str, Sequence[Any]]) -> float:
        """Return the MACs."""
        return self.most - sum(cost for (name, o), cost in self.costs.items() if o not in left[name])


def options(space: Space, left: Mapping[str, Sequence[Any]] | None = None) -> int:
    """Return how many options are still to be removed from a space."""
    return sum(len(c.allowed if left is None else left[c.name]) - c.k for c in space.choices)


def spare(space: Space, left: Mapping[str, Sequence[Any]]) -> list[Option]:
    """Return every option that could be removed next."""
    return [(c.name, o) for c in space.choices if len(left[c.name]) > c.k for o in left[c.name]]


def without(left: Left, gone: Sequence[Option]) -> Left:
    """Return what is left without some options."""
    return {name: [o for o in here if (name, o) not in gone] for name, here in left.items()}


def harm(score: Proxy, whole: Sequence[float | None], pruned: Sequence[float | None]) -> float:
    """Return the mean relative change of a score for the worse, to one part in 100.

    A score that is lost counts as LOST, one that the whole does not have either as no change.
    """
    sign = 1.0 if score.direction == "max" else -1.0
    found = []
    for a, b in zip(whole, pruned, strict=True):
        if a is None or b is None:
            found.append(0.0 if a is None else LOST)
        else:
            found.append(sign * (a - b) / (abs(a) or 1.0))
    return round(math.fsum(found) / len(found) * FINE) / FINE


def least(candidates: Sequence[Option], harms: Sequence[Sequence[float]]) -> list[Option]:
    """Return, of each choice, the option with the smallest sum of ranks by harm; equal harms share a rank, the first of equals.

    Ranks are among the options of all choices.
    """
    columns = [sorted(set(column)) for column in zip(*harms, strict=True)]
    sums = [sum(column.index(h) for column, h in zip(columns, row, strict=True)) for row in harms]
    best: dict[str, tuple[int, Option]] = {}
    for total, option in zip(sums, candidates, strict=True):
        if option[0] not in best or total < best[option[0]][0]:
            best[option[0]] = (total, option)
    return [option for _, option in best.values()]


def last(space: Space, left: Mapping[str, Sequence[Any]]) -> Architecture:
    """Return the architecture of what is left when nothing is to spare."""
    return space.complete({}, lambda c: tuple(left[c.name]) if c.kind == "some" else left[c.name][0])
