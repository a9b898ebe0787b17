"""How a strategy's proposals become trials: who measures them, when, at which fidelity, for which objective, within which limits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from mimar.core.describe import LATER
from mimar.core.errors import UsageError
from mimar.core.ranges import Count, Positive, validate
from mimar.evaluators.tuned import tuned
from mimar.objectives import Limit, Objective, aim, limit
from mimar.schedulers import Scheduler, named
from mimar.search.naming import Estimate, estimate


@dataclass(frozen=True)
class Trials:
    """The protocol of a black-box search, the same for every strategy. From Python, parts may stand for the words.

    `scheduler`: a name of `mimar list schedulers` with its fields, as "asha:eta=3". `objective`: metrics; one is
    maximised (or minimised, as its direction says), several are searched for their Pareto front; none is the primary one.
    `limits`: on known costs, as "params<=500000", asked before a query is spent. `timeout`: a query that would cost more
    ends there, without figures. `tune`: how networks are trained, searched beside what they are, as "lr=0.01..0.3,batch=32|64"
    (`mimar.evaluators.tuned`; names of such choices begin with recipe/). `evaluator`: who measures instead of training or the table, as "proxy:synflow". `workers`
    measure at once; on a table and by an estimate they are simulated, on the clock of its costs. `duplicates`: an architecture measured before is "charged" like any other, or "free".
    `weights`: a training begins "fresh", or where its proposal names a parent and the networks can grow ("inherited": net=convnet)
    from the network of the parent, if that is the incumbent or the parent last used.
    """

    scheduler: str | Scheduler = "asynchronous"
    objective: tuple[str, ...] | Objective = ()
    limits: tuple[str, ...] | tuple[Limit, ...] = ()
    timeout: Positive | None = None
    workers: Count = 1
    duplicates: Literal["charged", "free"] = "charged"
    evaluator: str | Estimate = field(default="", metadata={LATER: True})
    tune: str = field(default="", metadata={LATER: True})
    weights: Literal["fresh", "inherited"] = field(default="fresh", metadata={LATER: True})
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)
        named(self.scheduler)
        estimate(self.evaluator)
        tuned(self.tune)
        self.resolved()
        if self.tune and self.evaluator:
            raise UsageError(f"tune={self.tune!r} needs trainings; the evaluator {self.evaluator!r} does none")

    def by(self, evaluator: str | Estimate) -> Trials:
        """Return the protocol with an evaluator, where none is asked for."""
        return self if self.evaluator else replace(self, evaluator=evaluator)

    def towards(self, objective: Objective) -> Trials:
        """Return the protocol with an objective, where none is asked for."""
        return self if self.objective != () else replace(self, objective=objective)

    def resolved(self) -> dict[str, Any]:
        """Return objective, limits, timeout and duplicates as a session takes them."""
        return {
            "objective": aim(self.objective),
            "limits": tuple(map(limit, self.limits)),
            "timeout": self.timeout,
            "workers": self.workers,
            "free_duplicates": self.duplicates == "free",
        }
