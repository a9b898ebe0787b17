"""Ask/tell search: a strategy proposes architectures, each is measured, the best is the result.

    repeat   proposals = searcher.ask(1);   figures = evaluate(proposal);   searcher.tell(figures)
    then     the architecture with the best values is the result; its test figures are read once, and never told

On data an evaluation is a training from scratch on the split "fit", judged on "holdout"; on a benchmark table it is a
look-up. With `trials.evaluator` it is an estimate, as a score at initialisation: then the best is trained afterwards, and
random networks beside it. The loop itself is `mimar.search.session`; the strategy cannot tell one from the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from mimar.core.describe import LATER, digest
from mimar.core.errors import NonFiniteError, UsageError
from mimar.core.events import Event, Record, Step
from mimar.core.ranges import Count, Positive, Whole, validate
from mimar.core.state import State
from mimar.evaluators import Retrain
from mimar.evaluators.parts import Evaluator
from mimar.evaluators.table import Table
from mimar.schedulers import named
from mimar.search import finish, inherited, pool
from mimar.search.ground import TableLab, answer, ground
from mimar.search.lab import Lab, checked_device
from mimar.search.ledger import job_json, job_of
from mimar.search.naming import estimate
from mimar.search.outcome import described, incumbent, progress
from mimar.search.result import Result
from mimar.search.run import Progress, run
from mimar.search.session import Session, Terms, full
from mimar.search.trained import TrainedNets
from mimar.search.trials import Trials
from mimar.space import Measurement
from mimar.strategies import Random, Strategy
from mimar.tasks import Task

NETWORKS = 8  # trained where nothing else is asked for
STRIDE = 25  # queries of a table between two points at which a run may be saved


@dataclass(frozen=True)
class AskTell:
    """A black-box search as an expression of its parts; see the module's text for the algorithm.

    `queries`: how many architectures are measured; `seconds`: for how long by the table's own clock; neither: the budget
    of the table (100 queries where it has none), or 8 trainings, under a scheduler of several fidelities 8 for each. `trials` is the protocol.
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
        begun = hasattr(session.terms.evaluator, "preparing")  # what takes long is a phase of the state
        if not begun:
            session.prepare()
        phase = "prepare" if begun else "search"
        return State({"phase": phase, "session": session.state_dict(), "job": None, "trained": [], "training": {}})

    def lab(self) -> Lab | TableLab:
        """Return what the search works on."""
        return ground(self.net, self.task, self.seed, self.device, self.retrain.net, self.trials.tune)

    def data_digest(self) -> str:
        """Return the digest of the data behind the figures, and of what the strategy reads beside them."""
        own, read = self.lab().data.digest(), getattr(self.strategy, "reads", lambda: "")()
        return digest([own, read]) if read else own

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
        who, table = estimate(self.trials.evaluator), lab.table if isinstance(lab, TableLab) else None
        if self.trials.weights == "inherited":
            inherited.check(lab, self.trials)
        evaluator: Evaluator
        if who is not None:
            evaluator, table = who.on(lab, self.seed, self.device), None
        else:
            evaluator = TrainedNets(lab, self.retrain) if isinstance(lab, Lab) else lab.table
        queries, cost = self.queries, self.seconds
        if table is None and cost is not None:
            raise UsageError("seconds is for benchmark tables, which have a clock of their own: give queries=NUMBER")
        if queries is None and cost is None:
            cost = table.budget if table is not None else None
            queries = None if cost is not None else NETWORKS if isinstance(evaluator, TrainedNets) else 100
            if queries == NETWORKS and getattr(named(self.trials.scheduler), "several", False):
                queries *= len(evaluator.fidelities)  # most are short: about as much training
        terms = Terms(evaluator, queries=queries, cost=cost, seed=self.seed, **self.trials.resolved())
        course = named(self.trials.scheduler).start(evaluator.fidelities, self.seed)
        chosen: Any = strategy or self.strategy
        if hasattr(chosen, "on"):  # it asks for scores of what is searched
            chosen = chosen.on(lab, self.seed, self.device)
        return Session(terms, chosen.start(lab.space, self.seed), course)

    def events(self, state: State) -> Iterator[Event]:
        """Advance `state` to the end; it is consistent whenever a Step is yielded."""
        lab = self.lab()
        if "session" not in state.json and isinstance(lab, Lab):
            yield from finish.events(self, lab, state)  # what an estimate found is being trained
            return
        session = self._session(lab)
        session.load_state_dict(state.json["session"])
        yield from self._prepared(session, state)
        if isinstance(lab, TableLab):
            yield from self._look_up(lab, session, state)
        elif self.trials.evaluator:
            yield from self._estimate(lab, session, state)
        else:
            yield from self._train(lab, session, state)

    def run(self, out: Any = None, *, resume: bool = False, progress: Progress | None = None, **more: Any) -> Result:
        """Run to the end, into the folder `out` if given, and return the result; `mimar.search.run` says how."""
        return run(self, out, resume=resume, progress=progress, **more)

    # -- on a table ---------------------------------------------------------------------------------------------------

    def _look_up(self, lab: TableLab, session: Session, state: State) -> Iterator[Event]:
        yield from self._asking(session, state)
        if state.json["phase"] == "found":
            found = self._told(lab, session)
            yield Record({"event": "finished", "result": found})
            state.json.update(phase="done", result=found)
            yield Step("done", "done", 1, 1, boundary=True)

    def _asking(self, session: Session, state: State) -> Iterator[Event]:
        stride = STRIDE if isinstance(session.terms.evaluator, Table) else 1
        while state.json["phase"] == "search":
            trial = session.step()
            if trial is not None:
                yield Record({"event": "trial", **trial.to_json()})
            if trial is None or len(session.trials) % stride == 0:
                state.json["session"] = session.state_dict()
                state.json["phase"] = "search" if trial is not None else "found"
                yield Step("search", "search", *progress(session), boundary=trial is None)

    def _told(self, lab: TableLab, session: Session) -> dict[str, Any]:
        winner = incumbent(session)
        beside = session.trials if self._is_random and self.baseline is None else self._random(lab).trials
        found = answer(self, lab, winner, full(beside), session.ledger.cost)
        return {**found, "evaluations": len(session.trials), **described(session)}

    @property
    def _is_random(self) -> bool:
        return isinstance(self.strategy, Random)

    def _random(self, lab: TableLab) -> Session:
        """Return random search under the same budget and seed, each measured once and fully, run to its end."""
        plain = replace(self, trials=replace(self.trials, scheduler="asynchronous"))
        if self.baseline is not None:
            plain = replace(plain, queries=max(self.baseline, 1), seconds=None)
        session = plain._session(lab, Random())
        session.over = self.baseline == 0
        while session.step() is not None:
            pass
        return session

    def _prepared(self, session: Session, state: State) -> Iterator[Event]:
        """Let an evaluator that needs it get ready, or take up what it has prepared."""
        evaluator: Any = session.terms.evaluator
        if not hasattr(evaluator, "preparing"):
            return
        if state.json["phase"] == "prepare":
            yield from evaluator.preparing(state)
            session.prepare()
            state.json.update(phase="search", session=session.state_dict())
            yield Step("search", "search", *progress(session), boundary=True)
        evaluator.attached(state)

    # -- by an estimate, on data --------------------------------------------------------------------------------------

    def _estimate(self, lab: Lab, session: Session, state: State) -> Iterator[Event]:
        yield from self._asking(session, state)
        winner = incumbent(session).architecture
        yield Record({"event": "derived", "architecture": finish.plain(winner)})
        finish.to_retraining(self, lab, state, winner, session.ledger.cost)
        state.json["search"] = described(session)
        yield from finish.events(self, lab, state)

    # -- by training --------------------------------------------------------------------------------------------------

    def _train(self, lab: Lab, session: Session, state: State) -> Iterator[Event]:
        json = state.json
        if json["phase"] == "search" and session.terms.workers > 1:
            yield from pool.events(lab, self.retrain, session, state)
        while json["phase"] == "search":
            if json["job"] is None:
                job = session.begin()
                if job is None:
                    session.finish()
                    inherited.forget(state)
                    json.update(phase="baseline", session=session.state_dict())
                    break
                if self.trials.weights == "inherited":
                    inherited.begin(lab, session, state, job.proposal)
                json.update(job=job_json(job), session=session.state_dict())
            yield from self._measure(lab, session, state)
        yield from self._lengthen(lab, session, state)
        trained: list[dict[str, Any]] = json["trained"]
        first = json["first"] = json.get("first", len(trained))
        size = self.baseline or 0
        for i in range(session.number + len(trained) - first, session.number + size):
            arch = finish.random_architecture(lab, self.seed, i)
            label, networks = f"random-{i}", session.number + size
            yield from finish.train(self, lab, state, label, arch, networks=networks, keep=False)
        if json["phase"] != "done":
            ours, apart = trained[:first], trained[first:]
            longer = [t for t in ours if t["network"] == "derived"]
            chosen = [*longer, *(t for t in ours if t["network"] == f"random-{incumbent(session).number}")][0]
            short, long, beside = (
                sum(t["budget"] for t in part) for part in ([t for t in ours if t not in longer], longer, apart)
            )
            budget = {"search": short, "retrain": float(long), "baseline": beside}
            labels = {f"random-{t.number}" for t in full(session.trials)}
            own = longer or [t for t in ours if t["network"] in labels]
            randoms = own if self.baseline is None and self._is_random else apart
            more = described(session) | ({"workers": pool.worked(session, state)} if "worked" in json else {})
            yield from finish.close(self, lab, state, chosen, randoms, budget, more)

    def _lengthen(self, lab: Lab, session: Session, state: State) -> Iterator[Event]:
        """Train the winner fully where the search ended before it did; one that fails so stays as it was."""
        json, fidelity = state.json, incumbent(session).proposal.fidelity
        short = fidelity is not None and fidelity < max(session.terms.evaluator.fidelities)
        if not short or "first" in json or any(t["network"] == "derived" for t in json["trained"]):
            return
        arch = incumbent(session).architecture
        try:
            yield from finish.train(self, lab, state, "derived", arch, networks=0, keep=lambda _: True)
        except NonFiniteError as error:
            finish.drop(state)
            json["first"] = len(json["trained"])
            yield Record({"event": "warned", "name": "derived", "text": f"derived failed: {error}"})

    def _measure(self, lab: Lab, session: Session, state: State) -> Iterator[Event]:
        """Train the network of the job at hand, where it was left, and tell what came of it."""
        job = job_of(state.json["job"])
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
                begin=inherited.weights(lab, state, label),
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
            begun = {"weights": state.json["begun"]} if "begun" in state.json else {}
            yield Record({"event": "trial", **trial.to_json(), **begun})
