"""Black-box searches beside each other on a benchmark table: many runs of each, in memory, seconds in all.

Every arm runs under the same budget with seeds 0, 1, …; random search and local search are always among them. A run is
kept as its trace of incumbents, one line of JSON each; the same call goes on, with more seeds or arms where it stands.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from mimar import recipes
from mimar.core.describe import describe, digest
from mimar.core.errors import MimarError, UsageError
from mimar.evaluators import benchmarks
from mimar.evaluators.table import Table
from mimar.objectives import front, hypervolume
from mimar.runs.files import write_atomic
from mimar.runs.lock import Lock
from mimar.search import AskTell
from mimar.search.ground import benchmark
from mimar.search.session import Session
from mimar.space import Proposal, Trial

ALWAYS = ("random", "local-search")  # in every comparison, with the options that all have
CHUNK = 10  # runs between two moments at which a study may be killed without losing them
QUIET = 5.0  # seconds between two words on how far it is
ARMS, FIGURES, PAGE = "arms", "compare.json", "compare.html"


@dataclass(frozen=True)
class Arm:
    """One search that is compared: its label, its recipe and the recipe's options."""

    name: str
    recipe: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def search(self, task: Any, seed: int) -> AskTell:
        """Return the search of a run; raises UsageError for a recipe that cannot search a table."""
        found: Any = recipes.load(self.recipe)[1](task=task, seed=seed, baseline=0, **self.options)
        if not hasattr(found, "session"):
            raise UsageError(
                f"{self.recipe} trains weights and a benchmark table has none to train; compare it on a task with data"
            )
        return found


@dataclass(frozen=True)
class Contest:
    """What is compared on which table, over how many seeds. Raises UsageError for arms of one name, or no table."""

    arms: tuple[Arm, ...]
    task: str | Table
    runs: int = 100

    def __post_init__(self) -> None:
        if not isinstance(self.task, Table) and not benchmarks.is_benchmark(self.task):
            raise UsageError(f"{self.task} is not a benchmark table")
        names = [arm.name for arm in self.arms]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise UsageError(f"the recipe {twice[0]!r} is given twice with the same options")

    @cached_property
    def table(self) -> Table:
        """The table."""
        found = benchmark(self.task)
        assert found is not None
        return found

    def describe(self) -> dict[str, Any]:
        """Return the contest as JSON."""
        task = self.task if isinstance(self.task, str) else self.table.name
        arms = [{"name": a.name, "recipe": a.recipe, "options": describe(dict(a.options))} for a in self.arms]
        return {"task": task, "table": self.table.digest(), "runs": self.runs, "arms": arms}

    @property
    def home(self) -> str:
        """The name of the default folder: the same for all numbers of runs and all arms on one table."""
        described = self.describe()
        return f"compare-{described['task'].partition(':')[0]}-{digest([described['task'], described['table']], 8)}"


def one(search: AskTell, seed: int, reference: tuple[float, ...] | None = None) -> dict[str, Any]:
    """Return one run as JSON: what it spent, and its incumbents as [query, clock, quality, verdict].

    `quality` is the value of the incumbent, larger is better, at the table's own fidelity where the search went through
    several; of several objectives the hypervolume of the front so far above `reference`. `verdict` is what the table finally says of the incumbent: the quality itself where it says nothing.
    """
    begun = time.perf_counter()
    session = search.session()
    table: Any = session.terms.evaluator
    trace: list[list[float]] = []
    past: list[tuple[float, ...]] = []
    top: tuple[float, ...] = ()
    while (trial := session.step()) is not None:
        if not trial.values:
            continue
        if reference is not None:
            past.append(trial.values)
            volume = hypervolume(past, reference)
            if not trace or volume > trace[-1][2]:
                trace.append([len(session.trials), trial.ended, volume, volume])
        elif not top or _rank(trial) > top:
            top = _rank(trial)
            trace.append([len(session.trials), trial.ended, _quality(session, trial), _verdict(table, trial)])
    own = time.perf_counter() - begun
    return {"seed": seed, "trace": trace, "own_seconds": own, "mean": _mean(session), **vars(session.ledger)}


def _rank(trial: Trial) -> tuple[float, float]:
    """Return what incumbents are compared by: a higher fidelity comes before a better value."""
    fidelity = trial.proposal.fidelity
    return (float("inf") if fidelity is None else fidelity, trial.values[0])


def _quality(session: Session, trial: Trial) -> float:
    """Return the value of a trial that can be compared between searches: what a plain query says, without its noise."""
    if trial.proposal.fidelity is None:
        return trial.values[0]
    plain, table = Proposal(trial.architecture), averaged(session.terms.evaluator)
    return session.terms.objective.values(Trial(plain, table.evaluate(plain)), session.signs, ())[0]


def averaged(table: Any) -> Any:
    """Return a table that answers with the mean of repeated trainings."""
    return replace(table, single=False) if table.single else table


def _mean(session: Session) -> float | None:
    values = [t.values[0] for t in session.trials if t.values]
    return sum(values) / len(values) if values else None


def _verdict(table: Table, trial: Trial) -> float:
    final = table.verdict(trial.architecture)
    if not final:
        return trial.values[0]
    name, value = next(iter(final.items()))
    sign = next(-1.0 if c.measure.direction == "min" else 1.0 for c in table.final if c.measure.name == name)
    return sign * value


@dataclass(frozen=True)
class Ground:
    """What there is to find in a table, within the limits: the best quality and the best verdict of all rows.

    With several objectives both are the hypervolume of the true front above `reference`, the worst value of each.
    """

    quality: float
    verdict: float
    reference: tuple[float, ...] | None
    rows: int
    seen: tuple[float, ...] = field(default=(), repr=False)  # what a search sees of every row; one objective alone
    said: tuple[float, ...] = field(default=(), repr=False)  # the verdict on every row


def ground(session: Session) -> Ground:
    """Return what there is to find by a session's objective, at its fidelity; raises UsageError where no row keeps the limits."""
    terms, values, finals = session.terms, [], []
    table = averaged(terms.evaluator)
    for architecture in table.rows.architectures:
        if terms.limits and not all(limit.feasible(table.costs(architecture)) for limit in terms.limits):
            continue
        trial = Trial(Proposal(architecture), table.evaluate(Proposal(architecture)))
        values.append(terms.objective.values(trial, session.signs, ()))
        finals.append(_verdict(table, replace(trial, values=values[-1])))
    if not values:
        raise UsageError(f"no row of {table.name} keeps the limits {', '.join(map(str, terms.limits))}")
    if len(values[0]) == 1:
        seen = tuple(v[0] for v in values)
        return Ground(max(seen), max(finals), None, len(values), seen, tuple(finals))
    reference = tuple(np.asarray(values).min(0).tolist())
    best = hypervolume([values[i] for i in front(values)], reference)
    return Ground(best, best, reference, len(values))


def many(session: Session) -> bool:
    """Tell whether a session has several objectives."""
    terms = session.terms
    table: Any = terms.evaluator
    proposal = Proposal(table.rows.architectures[0])
    return len(terms.objective.values(Trial(proposal, table.evaluate(proposal)), session.signs, ())) > 1


def run(
    contest: Contest, out: Path | str, *, workers: int = 1, tell: Callable[[str], None] = print
) -> dict[str, list[dict[str, Any]]]:
    """Run what is missing of a contest in the folder `out`, and return {arm: its runs}.

    Raises RunError where another process runs it, and the error of an arm that cannot search this table before anything.
    """
    for arm in contest.arms:
        arm.search(contest.task, 0).session()
    folder = Path(out) / ARMS
    folder.mkdir(parents=True, exist_ok=True)
    held = Lock(Path(out))
    try:
        found = {arm.name: _kept(folder, contest, arm) for arm in contest.arms}
        told = time.monotonic()
        for arm, runs in _measured(contest, found, workers):
            found[arm.name] |= {r["seed"]: r for r in runs}
            _keep(folder, contest, arm, found[arm.name].values())
            done = sum(len([s for s in kept if s < contest.runs]) for kept in found.values())
            if time.monotonic() - told >= QUIET:
                tell(f"{done} of {contest.runs * len(contest.arms)} runs: {arm.name}")
                told = time.monotonic()
        return {name: [kept[s] for s in range(contest.runs)] for name, kept in found.items()}
    finally:
        held.release()


def _measured(
    contest: Contest, found: Mapping[str, Mapping[int, Any]], workers: int
) -> Iterator[tuple[Arm, list[dict[str, Any]]]]:
    todo = []
    for arm in contest.arms:
        missing = [s for s in range(contest.runs) if s not in found[arm.name]]
        todo += [(arm, missing[i : i + CHUNK]) for i in range(0, len(missing), CHUNK)]
    if workers == 1 or len(todo) < 2 or not isinstance(contest.task, str):
        for arm, seeds in todo:
            yield arm, several(arm, contest.task, seeds)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(several, arm, contest.task, seeds): arm for arm, seeds in todo}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def several(arm: Arm, task: Any, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Return the runs of an arm under some seeds; a failure names the arm and the seed."""
    found: list[dict[str, Any]] = []
    session = arm.search(task, 0).session()
    reference = ground(session).reference if many(session) else None
    for seed in seeds:
        try:
            found.append(one(arm.search(task, seed), seed, reference))
        except MimarError as error:
            raise type(error)(f"{arm.name}, seed {seed}: {error}") from error
    return found


def _file(folder: Path, contest: Contest, arm: Arm) -> Path:
    search = arm.search(contest.task, 0)
    name = digest([describe(search), search.data_digest()], 8)
    return folder / f"{arm.recipe.replace(':', '-')}-{name}.jsonl"


def _kept(folder: Path, contest: Contest, arm: Arm) -> dict[int, dict[str, Any]]:
    """Return the runs that are there; a damaged line is a run to be measured again."""
    path = _file(folder, contest, arm)
    found: dict[int, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else ():
        try:
            kept = json.loads(line)
            found[int(kept["seed"])] = kept
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _keep(folder: Path, contest: Contest, arm: Arm, runs: Iterable[dict[str, Any]]) -> None:
    lines = [json.dumps(r, sort_keys=True) for r in sorted(runs, key=lambda r: r["seed"])]
    write_atomic(_file(folder, contest, arm), "\n".join(lines) + "\n")
