"""Ask/tell search: a strategy proposes architectures, each is measured, the best is the result.

    repeat   proposals = searcher.ask(1);   figures = evaluate(proposal);   searcher.tell(figures)
    then     the architecture with the best values is the result; its test figures are read once, and never told

On data an evaluation is a training from scratch on the split "fit", judged on "holdout"; on a benchmark table it is a
look-up. The loop itself is `mimar.search.session`; the strategy cannot tell one from the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from mimar.core.describe import LATER
from mimar.core.errors import NonFiniteError, RunError, UsageError
from mimar.core.events import Event, Record, Step
from mimar.core.ranges import Count, Positive, Whole, validate
from mimar.core.state import State
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.schedulers import named
from mimar.search import finish
from mimar.search.ground import TableLab, ground, verdict
from mimar.search.lab import Lab, checked_device
from mimar.search.result import Result
from mimar.search.run import Progress, run
from mimar.search.session import Session, Terms, best, height
from mimar.search.trained import TrainedNets
from mimar.search.trials import Trials
from mimar.space import Measurement, Trial
from mimar.strategies import Random, Strategy
from mimar.tasks import Task

NETWORKS = 8  # trained where nothing else is asked for
STRIDE = 25  # queries of a table between two points at which a run may be saved


@dataclass(frozen=True)
class AskTell:
    """A black-box search as an expression of its parts; see the module's text for the algorithm.

    `queries`: how many architectures are measured; `seconds`: for how long by the table's own clock; neither: the budget
    of the table (100 queries where it has none), or 8 trainings. `trials` is the protocol.
    `baseline`: random networks beside them, drawn and measured apart; None takes as many as fit into the same budget on
    a table, and where `strategy` is random search the networks of the search itself.
    """

    name: str
    strategy: Strategy
    retrain: Retrain
    queries: Count | None = None
    net: nn.Module | str | None = None
    task: Task | Table | str | None = None
    seed: int = 0
    device: str = "cpu"
    baseline: Whole | None = None
    seconds: Positive | None = field(default=None, metadata={LATER: True})
    trials: Trials = field(default=Trials(), metadata={LATER: True})

    def __post_init__(self) -> None:
        validate(self)

    def start(self) -> State:
        """Return the state before the first proposal."""
        checked_device(self.device)
        lab = self.lab()
        if isinstance(lab, Lab):
            lab.ready(self.retrain)
        session = self._session(lab)
        session.prepare()
        return State({"phase": "search", "session": session.state_dict(), "job": None, "trained": [], "training": {}})

    def lab(self) -> Lab | TableLab:
        """Return what the search works on."""
        return ground(self.net, self.task, self.seed, self.device, self.retrain.net)

    def session(self) -> Session:
        """Return the search on a table as a session at its beginning, for whoever steps through it in memory.

        Raises UsageError where networks are to be trained: `run` does that.
        """
        lab = self.lab()
        if not isinstance(lab, TableLab):
            raise UsageError(f"{self.name} on {lab.caption} trains networks; only a search on a table is a session")
        session = self._session(lab)
        session.prepare()
        return session

    def _session(self, lab: Lab | TableLab, strategy: Strategy | None = None) -> Session:
        """Return the session of a strategy, by default its own, under the budget of the search."""
        on_table = isinstance(lab, TableLab)
        evaluator = lab.table if isinstance(lab, TableLab) else TrainedNets(lab, self.retrain)
        queries, cost = self.queries, self.seconds
        if not on_table and (cost is not None or self.trials.workers > 1):
            word = "seconds" if cost is not None else "trials.workers"
            raise UsageError(f"{word} is for benchmark tables; networks are trained one by one: give queries=NUMBER")
        if queries is None and cost is None:
            cost = lab.table.budget if isinstance(lab, TableLab) else None
            queries = None if cost is not None else 100 if on_table else NETWORKS
        terms = Terms(evaluator, queries=queries, cost=cost, seed=self.seed, **self.trials.resolved())
        course = named(self.trials.scheduler).start(evaluator.fidelities, self.seed)
        return Session(terms, (strategy or self.strategy).start(lab.space, self.seed), course)

    def events(self, state: State) -> Iterator[Event]:
        """Advance `state` to the end; it is consistent whenever a Step is yielded."""
        lab = self.lab()
        session = self._session(lab)
        session.load_state_dict(state.json["session"])
        if isinstance(lab, TableLab):
            yield from self._look_up(lab, session, state)
        else:
            yield from self._train(lab, session, state)

    def run(self, out: Any = None, *, resume: bool = False, progress: Progress | None = None, **more: Any) -> Result:
        """Run to the end, into the folder `out` if given, and return the result; `mimar.search.run` says how."""
        return run(self, out, resume=resume, progress=progress, **more)

    # -- on a table ---------------------------------------------------------------------------------------------------

    def _look_up(self, lab: TableLab, session: Session, state: State) -> Iterator[Event]:
        while state.json["phase"] == "search":
            trial = session.step()
            if trial is not None:
                yield Record({"event": "trial", **trial.to_json()})
            if trial is None or len(session.trials) % STRIDE == 0:
                state.json["session"] = session.state_dict()
                state.json["phase"] = "search" if trial is not None else "found"
                yield Step("search", "search", *_progress(session), boundary=trial is None)
        if state.json["phase"] == "found":
            found = self._told(lab, session)
            yield Record({"event": "finished", "result": found})
            state.json.update(phase="done", result=found)
            yield Step("done", "done", 1, 1, boundary=True)

    def _told(self, lab: TableLab, session: Session) -> dict[str, Any]:
        winner = _winner(session)
        beside = session.trials if self._is_random and self.baseline is None else self._random(lab).trials
        tested = [lab.table.verdict(t.architecture) for t in beside if t.result.status == "ok"]
        test = f"test_{lab.primary.name.removeprefix('valid_')}"
        figures = [t[test] for t in tested if test in t] or [t.result.metrics[lab.primary.name] for t in beside]
        top = best(beside)
        random: dict[str, Any] = {"n": len(beside), "best": None, "mean": None, "std": None}
        if top is not None and figures:
            shown = verdict(lab, top.architecture, top.result.metrics)
            mean = math.fsum(figures) / len(figures)
            spread = math.fsum((f - mean) ** 2 for f in figures) / max(len(figures) - 1, 1)
            random |= {"best": shown.get(test, shown[lab.primary.name]), "mean": mean, "std": math.sqrt(spread)}
        return {
            "recipe": self.name,
            "task": lab.caption,
            "seed": self.seed,
            "architecture": finish.plain(winner.architecture),
            "metrics": verdict(lab, winner.architecture, winner.result.metrics),
            "baseline": {"random": random},
            "evaluations": len(session.trials),
            "inputs": None,
            "supernet": {},
            "budget": {"search": session.ledger.cost, "retrain": 0.0, "baseline": 0.0},
            **_search(session),
        }

    @property
    def _is_random(self) -> bool:
        return isinstance(self.strategy, Random)

    def _random(self, lab: TableLab) -> Session:
        """Return random search under the same budget and seed, run to its end."""
        if self.baseline is not None:
            session = replace(self, queries=max(self.baseline, 1), seconds=None)._session(lab, Random())
        else:
            session = self._session(lab, Random())
        session.over = self.baseline == 0
        while session.step() is not None:
            pass
        return session

    # -- by training --------------------------------------------------------------------------------------------------

    def _train(self, lab: Lab, session: Session, state: State) -> Iterator[Event]:
        json = state.json
        while json["phase"] == "search":
            if json["job"] is None:
                job = session.begin()
                if job is None:
                    session.finish()
                    json.update(phase="baseline", session=session.state_dict())
                    break
                json.update(job=_job(job), session=session.state_dict())
            yield from self._measure(lab, session, state)
        trained: list[dict[str, Any]] = json["trained"]
        first = json["first"] = json.get("first", len(trained))
        for i in range(len(trained) - first, self.baseline or 0):
            arch = finish.random_architecture(lab, self.seed, first + i)
            yield from finish.train(
                self, lab, state, f"random-{first + i}", arch, networks=first + (self.baseline or 0), keep=False
            )
        if json["phase"] != "done":
            ours, apart = trained[:first], trained[first:]
            winner = _winner(session)
            chosen = next(t for t in ours if t["network"] == f"random-{winner.number}")
            cost, beside = (sum(t["budget"] for t in part) for part in (ours, apart))
            budget = {"search": cost, "retrain": 0.0, "baseline": beside}
            randoms = ours if self.baseline is None and self._is_random else apart
            yield from finish.close(self, lab, state, chosen, randoms, budget, _search(session))

    def _measure(self, lab: Lab, session: Session, state: State) -> Iterator[Event]:
        """Train the network of the job at hand, where it was left, and tell what came of it."""
        job = _unjob(state.json["job"])
        label = f"random-{session.number}"
        evaluator: Any = session.terms.evaluator
        part = evaluator.part(job.fidelity)
        result = Measurement({}, 0.0, "failed")
        try:
            for event in finish.train(
                replace(self, retrain=part),
                lab,
                state,
                label,
                job.proposal.architecture,
                networks=session.terms.queries or 0,
                keep=lambda found: session.promising(job, evaluator.measurement(found)),
            ):
                if isinstance(event, Record) and event.data["event"] == "trained":
                    result = evaluator.measurement(event.data)
                    yield from self._told_trial(session, state, job, result)
                if isinstance(event, Step) and not self._is_random:
                    event = replace(event, label=event.label.replace("random", "network"))
                yield event
        except NonFiniteError as error:
            finish.drop(state)
            yield from self._told_trial(session, state, job, result)
            yield Record({"event": "warned", "name": label, "text": f"{label} failed: {error}"})
            yield Step("search", label, session.number, session.terms.queries or 0, boundary=True)

    def _told_trial(self, session: Session, state: State, job: Any, result: Measurement) -> Iterator[Event]:
        session.measured(job, result)
        trial = session.finish()
        state.json.update(job=None, session=session.state_dict())
        if trial is not None:
            yield Record({"event": "trial", **trial.to_json()})


def _winner(session: Session) -> Trial:
    found = best(session.trials)
    if found is None:
        raise RunError(f"none of {len(session.trials)} evaluations gave a figure, so that nothing was found")
    return found


def _search(session: Session) -> dict[str, Any]:
    """Return what is said of the search itself: what it spent, how its incumbent rose, and the front if there is one."""
    of, measures = session.terms.evaluator, [list(measure) for measure in session.terms.evaluator.measures]
    found: dict[str, Any] = {"ledger": vars(session.ledger), "unit": of.unit, "measures": measures}
    top: Trial | None = None
    trace = []
    for n, trial in enumerate(session.trials, start=1):
        now = best([t for t in (top, trial) if t is not None])
        if now is not None and now is not top:
            top = now
            trace.append([n, trial.ended, list(trial.values), trial.number])
    found["incumbents"] = trace
    good = [t for t in session.trials if t.values]
    if good and len(good[0].values) > 1:
        from mimar.objectives import front

        top_level = max(height(t) for t in good)
        good = [t for t in good if height(t) == top_level]
        members = {good[i].architecture: good[i] for i in front([t.values for t in good])}
        found["front"] = [{"architecture": finish.plain(a), "values": list(t.values)} for a, t in members.items()]
    return found


def _progress(session: Session) -> tuple[int, int, dict[str, float]]:
    """Return how much of the budget is spent and how much there is, in queries or in whole units of cost, and figures."""
    terms, ledger, top = session.terms, session.ledger, best(session.trials)
    name, figures = terms.evaluator.measures[0].name, {terms.evaluator.unit: ledger.clock, "queries": ledger.queries}
    figures |= {} if top is None else {f"best {name.replace('_', ' ')}": top.result.metrics[name]}
    if terms.queries is not None:
        return ledger.queries, terms.queries, figures
    return int(ledger.clock), int(terms.cost or 0), figures


def _job(job: Any) -> dict[str, Any]:
    trial = Trial(job.proposal, Measurement({}))
    return {"trial": trial.to_json(), "fidelity": job.fidelity, "since": job.since, "key": job.key}


def _unjob(data: dict[str, Any]) -> Any:
    from mimar.schedulers import Job

    return Job(Trial.from_json(data["trial"]).proposal, data["fidelity"], data["since"], data["key"])
