"""The ask/tell loop of a black-box search, in two currencies and on its own clock.

    while the budget lasts    job = course.next(searcher.ask);   result = evaluate(job);   searcher.tell(result)

W workers are simulated: a job that begins at t ends at t + cost, and results are told in the order in which they end. Real
workers call `launch` and `ended` instead, in the order in which theirs end. The ledger counts queries (one a job begun: a
proposal that goes on to a higher fidelity is another one) and cost (the evaluator's seconds or MACs, preparation
included). Limits are asked before a query is spent. A repeated architecture is measured and charged like any other, unless
duplicates are free.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from heapq import heappop, heappush
from math import inf
from typing import Any

from mimar.core.errors import RunError
from mimar.core.streams import Draws
from mimar.evaluators.parts import Evaluator, signs
from mimar.objectives import Limit, Objective, settled
from mimar.schedulers import Course, Job
from mimar.search.ledger import Ledger, Running, at, packed, unpacked
from mimar.space import Architecture, Measurement, Proposal, Trial
from mimar.strategies import Searcher

STUBBORN = 1000  # proposals in a row that may break a limit, or repeat for free, before the search ends


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
        objective = settled(terms.objective, terms.evaluator.space, terms.evaluator.costs)
        self.terms, self.searcher, self.course = replace(terms, objective=objective), searcher, course
        self.ledger = Ledger()
        self.trials: list[Trial] = []
        self.running: list[Running] = []
        self.number = 0
        self.over = False
        self.seen: set[tuple[Architecture, float | None]] = set()
        self.origins: dict[int, tuple[int, float]] = {}  # by the course's key: number of the first job, cost up to here
        self.signs = signs(terms.evaluator.measures)
        if hasattr(searcher, "inform"):
            searcher.inform(terms.evaluator.costs, self._within if terms.limits else None)

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
        """Measure a job, by the stream of its number; what goes on where it was left has the stream of its beginning."""
        number, _ = self._origin(job) or (self.number, 0.0)
        return self.terms.evaluator.evaluate(job.proposal, job.fidelity, Draws(self.terms.seed, "evaluate", number))

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
        for _ in range(STUBBORN):
            job = self.course.next(self._ask)
            if job is None or not self._free(job):
                return job
        return None

    def _ask(self) -> Proposal | None:
        pending = [at(r.job) for r in self.running]
        for _ in range(STUBBORN):
            proposals = self.searcher.ask(1, pending)
            if not proposals:
                return None
            (proposal,) = proposals
            if self._allowed(proposal):
                return proposal
        if self.terms.limits and self.ledger.queries == 0:
            limits = ", ".join(map(str, self.terms.limits))
            raise RunError(f"{STUBBORN} proposals in a row break the limits ({limits}); loosen them")
        return None

    def _allowed(self, proposal: Proposal) -> bool:
        if not self.terms.limits or self._within(proposal.architecture):
            return True
        costs = self.terms.evaluator.costs(proposal.architecture)
        self.ledger.infeasible += 1
        clock = self.ledger.clock
        self.searcher.tell([Trial(proposal, Measurement(dict(costs), 0.0, "infeasible"), (), -1, clock, clock)])
        return False

    def _within(self, architecture: Architecture) -> bool:
        """Tell whether the known costs of an architecture keep the limits."""
        costs = self.terms.evaluator.costs(architecture)
        return all(limit.feasible(costs) for limit in self.terms.limits)

    def _free(self, job: Job) -> bool:
        """Answer a job that was measured before, at the same fidelity, from memory, where that costs nothing."""
        if not self.terms.free_duplicates:
            return False
        key = self.terms.evaluator.space.canonical(job.proposal.architecture), job.fidelity
        found = self.terms.known.get(key)
        if found is None:
            return False
        self.ledger.repeated += 1
        clock = self.ledger.clock
        trial = Trial(at(job), replace(found, cost=0.0), (), -1, clock, clock, True, job.since)
        trial = replace(trial, values=self._values(trial))
        self.searcher.tell([trial])
        self.course.told(job, _judged(trial))
        return True

    def measured(self, job: Job, result: Measurement) -> None:
        """Note what a job that has begun will give: it ends when its cost has passed on the clock."""
        number, repeated = self._counted(job)
        result, clock = self._charged(job, number, result), self.ledger.clock
        heappush(self.running, Running(clock + result.cost, number, job, clock, result, repeated))

    def launch(self, job: Job) -> int:
        """Note that a real worker has begun a job; return its number, for `ended`."""
        number, repeated = self._counted(job)
        self.running.append(Running(inf, number, job, self.ledger.clock, None, repeated))
        return number

    def ended(self, number: int, result: Measurement) -> Trial:
        """Tell what a launched job gave, and return its trial; the clock is at the latest end, each its cost after its begin."""
        (one,) = (r for r in self.running if r.number == number)
        self.running.remove(one)
        result = self._charged(one.job, number, result)
        return self._close(one._replace(ended=max(one.begun + result.cost, self.ledger.clock), result=result))

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
        return self._close(heappop(self.running))

    def _counted(self, job: Job) -> tuple[int, bool]:
        """Count a job that begins; return its number and whether it was measured before."""
        key = (job.proposal.architecture, job.fidelity)
        repeated = key in self.seen
        self.seen.add(key)
        self.ledger.queries += 1
        self.ledger.repeated += repeated
        self.number += 1
        return self.number - 1, repeated

    def _origin(self, job: Job) -> tuple[int, float] | None:
        """Return number and cost of what a job goes on from; None where it begins anew."""
        return self.origins.get(job.key) if job.since is not None and self.terms.evaluator.resumes else None

    def _charged(self, job: Job, number: int, result: Measurement) -> Measurement:
        """Return a result at what it costs: of a job that goes on where it was left the rest, and never above the timeout."""
        first, spent = self._origin(job) or (number, 0.0)
        if self.terms.evaluator.resumes:
            self.origins[job.key] = (first, result.cost)
        result = replace(result, cost=max(result.cost - spent, 0.0)) if spent else result
        most = self.terms.timeout
        return result if most is None or result.cost <= most else Measurement({}, most, "timeout")

    def _close(self, one: Running) -> Trial:
        """Tell a job that has ended."""
        ended, number, job, begun, result, repeated = one
        assert result is not None
        ledger, proposal = self.ledger, at(job)
        ledger.clock = ended
        ledger.cost += result.cost
        trial = Trial(proposal, result, (), number, begun, ended, repeated, job.since)
        if result.status == "ok":
            trial = Trial(proposal, result, self._values(trial), number, begun, ended, repeated, job.since)
            if self.terms.free_duplicates:
                self.terms.known[(self.terms.evaluator.space.canonical(proposal.architecture), job.fidelity)] = result
        else:
            ledger.failed += 1
        self.searcher.tell([trial])
        self.course.told(job, _judged(trial))
        self.trials.append(trial)
        return trial

    def promising(self, job: Job, result: Measurement, number: int | None = None) -> bool:
        """Tell whether the result of a job, by default the next, would be the incumbent."""
        trial = Trial(at(job), result, number=self.number if number is None else number)
        return best([*self.trials, replace(trial, values=self._values(trial))]).number == trial.number  # type: ignore[union-attr]

    @property
    def utilisation(self) -> float:
        """The share of the workers' time on the clock that they worked, preparation apart."""
        passed = (self.ledger.clock - self.ledger.prepared) * self.terms.workers
        return (self.ledger.cost - self.ledger.prepared) / passed if passed else 1.0

    def _values(self, trial: Trial) -> tuple[float, ...]:
        return self.terms.objective.values(trial, self.signs, self.trials)

    # -- what changes ------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes, as JSON."""
        return {
            "searcher": self.searcher.state_dict(),
            "course": self.course.state_dict(),
            "ledger": asdict(self.ledger),
            "trials": [trial.to_json() for trial in self.trials],
            "running": [packed(r) for r in sorted(self.running)],
            "origins": [[key, *origin] for key, origin in self.origins.items()],
            "number": self.number,
            "over": self.over,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.searcher.load_state_dict(state["searcher"])
        self.course.load_state_dict(state["course"])
        self.ledger = Ledger(**state["ledger"])
        self.trials = [Trial.from_json(t) for t in state["trials"]]
        self.running = [unpacked(r) for r in state["running"]]
        self.number, self.over = state["number"], state["over"]
        self.origins = {key: (number, cost) for key, number, cost in state["origins"]}
        self.seen = {(t.architecture, t.proposal.fidelity) for t in self.trials}
        self.seen |= {(r.job.proposal.architecture, r.job.fidelity) for r in self.running}
        if self.terms.free_duplicates:
            known, ok = self.terms.evaluator.space.canonical, [t for t in self.trials if t.result.status == "ok"]
            self.terms.known |= {(known(t.architecture), t.proposal.fidelity): t.result for t in ok}


def best(trials: Sequence[Trial]) -> Trial | None:
    """Return the incumbent: of the trials at the highest fidelity that any has, the best by value; of equals the first begun.

    With several objectives: of those that nothing dominates, the one that is best in the first.
    """
    good = [t for t in trials if t.values and all(v - v == 0.0 for v in t.values)]
    return max(full(good), key=lambda t: (t.values, -t.number), default=None)


def full(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials at the highest fidelity that any has."""
    top = max(map(height, trials), default=0.0)
    return [t for t in trials if height(t) == top]


def height(trial: Trial) -> float:
    """Return the fidelity of a trial; what has none was measured fully."""
    return float("inf") if trial.proposal.fidelity is None else trial.proposal.fidelity


def _judged(trial: Trial) -> tuple[float, ...] | None:
    return trial.values if trial.values and all(v - v == 0.0 for v in trial.values) else None
