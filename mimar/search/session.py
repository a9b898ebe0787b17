"""The ask/tell loop of a black-box search, in two currencies and on its own clock.

    while the budget lasts    job = course.next(searcher.ask);   result = evaluate(job);   searcher.tell(result)

W workers are simulated: a job that begins at t ends at t + cost, and results are told in the order in which they end. The
ledger counts queries (one a job begun) and cost (the evaluator's seconds or MACs, preparation included). Limits are asked
before a query is spent. A repeated architecture is measured and charged like any other, unless duplicates are free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from heapq import heappop, heappush
from typing import Any, NamedTuple

from mimar.core.errors import RunError
from mimar.core.streams import Draws
from mimar.evaluators.parts import Evaluator, signs
from mimar.objectives import Limit, Objective, utilities
from mimar.schedulers import Course, Job
from mimar.space import Architecture, Measurement, Proposal, Trial
from mimar.strategies import Searcher

STUBBORN = 1000  # proposals in a row that may break a limit, or repeat for free, before the search ends


class Running(NamedTuple):
    """A job under way: when it ends, its number, what it is, when it began, and what it will give once measured."""

    ended: float
    number: int
    job: Job
    begun: float
    result: Measurement
    repeated: bool


@dataclass
class Ledger:
    """What a search has spent: `cost` in the evaluator's unit, over all workers; `clock` is the time that passed."""

    queries: int = 0
    cost: float = 0.0
    prepared: float = 0.0
    clock: float = 0.0
    failed: int = 0
    infeasible: int = 0
    repeated: int = 0
    lost: int = 0  # under way when the budget ended


@dataclass
class Terms:
    """On what a session runs, all resolved."""

    evaluator: Evaluator
    objective: Objective
    limits: tuple[Limit, ...] = ()
    workers: int = 1
    queries: int | None = None
    cost: float | None = None
    timeout: float | None = None
    free_duplicates: bool = False
    seed: int = 0
    known: dict[Any, Measurement] = field(default_factory=dict)


class Session:
    """A black-box search under way; `step` is one trial."""

    def __init__(self, terms: Terms, searcher: Searcher, course: Course) -> None:
        self.terms, self.searcher, self.course = terms, searcher, course
        self.ledger = Ledger()
        self.trials: list[Trial] = []
        self.running: list[Running] = []
        self.number = 0
        self.over = False
        self.seen: set[tuple[Architecture, float | None]] = set()
        self.signs = signs(terms.evaluator.measures)

    def prepare(self) -> None:
        """Charge what the evaluator needs before its first query."""
        spent = self.terms.evaluator.prepare(self.terms.seed)
        self.ledger.prepared = spent
        self.ledger.cost += spent
        self.ledger.clock += spent

    # -- one trial at once: for evaluators that answer in microseconds -----------------------------------------------

    def step(self) -> Trial | None:
        """Start what can start, and return the next trial that ends; None when the search is over."""
        while (job := self.begin()) is not None:
            self.measured(job, self.evaluate(job))
        return self.finish()

    def evaluate(self, job: Job) -> Measurement:
        """Measure a job, by the stream of its number."""
        return self.terms.evaluator.evaluate(
            job.proposal, job.fidelity, Draws(self.terms.seed, "evaluate", self.number)
        )

    # -- the same in parts: for evaluators that take long ------------------------------------------------------------

    def begin(self) -> Job | None:
        """Return a job for a free worker; None when all are busy, must wait, or the budget is spent."""
        terms, ledger = self.terms, self.ledger
        if self.over or len(self.running) >= terms.workers:
            return None
        if terms.queries is not None and ledger.queries >= terms.queries:
            return None
        if terms.cost is not None and ledger.clock >= terms.cost:
            return None
        return self.course.next(self._ask)

    def _ask(self) -> Proposal | None:
        pending = [r.job.proposal for r in self.running]
        for _ in range(STUBBORN):
            proposals = self.searcher.ask(1, pending)
            if not proposals:
                return None
            (proposal,) = proposals
            if self._allowed(proposal) and not self._free(proposal):
                return proposal
        if self.terms.limits and self.ledger.queries == 0:
            limits = ", ".join(map(str, self.terms.limits))
            raise RunError(f"{STUBBORN} proposals in a row break the limits ({limits}); loosen them")
        return None

    def _allowed(self, proposal: Proposal) -> bool:
        if not self.terms.limits:
            return True
        costs = self.terms.evaluator.costs(proposal.architecture)
        if all(limit.feasible(costs) for limit in self.terms.limits):
            return True
        self.ledger.infeasible += 1
        clock = self.ledger.clock
        self.searcher.tell([Trial(proposal, Measurement(dict(costs), 0.0, "infeasible"), (), -1, clock, clock)])
        return False

    def _free(self, proposal: Proposal) -> bool:
        """Answer a proposal that was measured before from memory, where that costs nothing."""
        if not self.terms.free_duplicates:
            return False
        key = self.terms.evaluator.space.canonical(proposal.architecture), proposal.fidelity
        found = self.terms.known.get(key)
        if found is None:
            return False
        self.ledger.repeated += 1
        clock = self.ledger.clock
        trial = Trial(proposal, replace(found, cost=0.0), (), -1, clock, clock, True)
        self.searcher.tell([replace(trial, values=self._values(trial))])
        return True

    def measured(self, job: Job, result: Measurement) -> None:
        """Note what a job that has begun will give: it ends when its cost has passed on the clock."""
        terms, ledger = self.terms, self.ledger
        if job.since is not None and terms.evaluator.resumes and result.status == "ok":
            before = terms.evaluator.evaluate(job.proposal, job.since)
            result = replace(result, cost=max(result.cost - before.cost, 0.0))
        if terms.timeout is not None and result.cost > terms.timeout:
            result = Measurement({}, terms.timeout, "timeout")
        key = (job.proposal.architecture, job.fidelity)
        repeated = key in self.seen
        self.seen.add(key)
        ledger.queries += 1
        ledger.repeated += repeated
        if terms.free_duplicates and result.status == "ok":
            terms.known[(terms.evaluator.space.canonical(key[0]), job.fidelity)] = result
        heappush(self.running, Running(ledger.clock + result.cost, self.number, job, ledger.clock, result, repeated))
        self.number += 1

    def finish(self) -> Trial | None:
        """End the job that ends first, tell it, and return it; None when nothing is under way or the budget ends before."""
        ledger, most = self.ledger, self.terms.cost
        if not self.running or (most is not None and self.running[0].ended > most):
            ledger.lost += len(self.running)
            if self.running and most is not None:
                ledger.cost += sum(max(min(most, r.ended) - r.begun, 0.0) for r in self.running)
                ledger.clock = most
            self.running, self.over = [], True
            return None
        ended, number, job, begun, result, repeated = heappop(self.running)
        ledger.clock = ended
        ledger.cost += result.cost
        proposal = (
            job.proposal if job.fidelity == job.proposal.fidelity else replace(job.proposal, fidelity=job.fidelity)
        )
        trial = Trial(proposal, result, (), number, begun, ended, repeated, job.since)
        if result.status == "ok":
            trial = Trial(proposal, result, self._values(trial), number, begun, ended, repeated, job.since)
        else:
            ledger.failed += 1
        self.searcher.tell([trial])
        self.course.told(job, self._value(trial))
        self.trials.append(trial)
        return trial

    def promising(self, job: Job, result: Measurement) -> bool:
        """Tell whether a result would be the incumbent."""
        proposal = replace(job.proposal, fidelity=job.fidelity)
        trial = Trial(proposal, result, number=self.number)
        return best([*self.trials, replace(trial, values=self._values(trial))]).number == self.number  # type: ignore[union-attr]

    def _values(self, trial: Trial) -> tuple[float, ...]:
        return self.terms.objective.values(trial, self.signs, self.trials)

    def _value(self, trial: Trial) -> float | None:
        """Return one number for the course: the only objective, or the place of the trial among all so far."""
        values = trial.values
        if not values or not all(v - v == 0.0 for v in values):
            return None
        if len(values) == 1:
            return values[0]
        past = [t.values for t in self.trials if t.values and t.proposal.fidelity == trial.proposal.fidelity]
        return utilities([*past, values])[-1]

    # -- what changes ------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes, as JSON."""
        return {
            "searcher": self.searcher.state_dict(),
            "course": self.course.state_dict(),
            "ledger": asdict(self.ledger),
            "trials": [trial.to_json() for trial in self.trials],
            "running": [_running(r) for r in sorted(self.running)],
            "number": self.number,
            "over": self.over,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.searcher.load_state_dict(state["searcher"])
        self.course.load_state_dict(state["course"])
        self.ledger = Ledger(**state["ledger"])
        self.trials = [Trial.from_json(t) for t in state["trials"]]
        self.running = [_unrunning(r) for r in state["running"]]
        self.number, self.over = state["number"], state["over"]
        done = [(t.architecture, t.proposal.fidelity, t.result) for t in self.trials]
        done += [(r.job.proposal.architecture, r.job.fidelity, r.result) for r in self.running]
        self.seen = {(architecture, fidelity) for architecture, fidelity, _ in done}
        if self.terms.free_duplicates:
            known = self.terms.evaluator.space.canonical
            self.terms.known |= {(known(a), f): result for a, f, result in done if result.status == "ok"}


def best(trials: Sequence[Trial]) -> Trial | None:
    """Return the incumbent: of the trials at the highest fidelity that any has, the best by value; the first of equals.

    With several objectives: of those that nothing dominates, the one that is best in the first.
    """
    good = [t for t in trials if t.values and all(v - v == 0.0 for v in t.values)]
    if not good:
        return None
    top = max(_height(t) for t in good)
    return max((t for t in good if _height(t) == top), key=lambda t: t.values)


def _height(trial: Trial) -> float:
    return float("inf") if trial.proposal.fidelity is None else trial.proposal.fidelity


def _running(one: Running) -> dict[str, Any]:
    proposal, since = one.job.proposal, {"since": one.job.since, "key": one.job.key, "at": one.job.fidelity}
    return Trial(proposal, one.result, (), one.number, one.begun, one.ended, one.repeated).to_json() | since


def _unrunning(data: Mapping[str, Any]) -> Running:
    t = Trial.from_json(data)
    return Running(
        t.ended, t.number, Job(t.proposal, data["at"], data["since"], data["key"]), t.begun, t.result, t.repeated
    )
