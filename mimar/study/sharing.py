"""How far shared weights can be trusted: do they rank networks as their own trainings do, and twice alike?

Every child of a small space is trained alone, several times. Then supernets are trained on uniform paths, and after each
epoch rank all children:

    τ(seed, epoch) = Kendall(scores under the shared weights, mean score of the trained children)

reported with its spread over seeds, the agreement of two epochs and of two seeds, and how often the three best change from
one epoch to the next. `groups` trains a supernet for each part of the children that agree in the first choices, on the
same number of steps in all: fewer children disturb each other. Zhang et al., "Deeper insights into weight sharing in
neural architecture search", 2020; the correlation with stand-alone training is also that of Yu et al., "Evaluating the
search phase of neural architecture search", ICLR 2020.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import numpy as np

from mimar.core.errors import UsageError
from mimar.core.events import Record
from mimar.core.optimisers import Sgd, cosine
from mimar.core.ranges import Batch, Count, Range, validate
from mimar.core.state import State
from mimar.core.streams import below, stream
from mimar.evaluators import Retrain, training
from mimar.evaluators.train import Job
from mimar.gradient.regularise import WeightDecay
from mimar.search import finish
from mimar.search.lab import Lab
from mimar.search.losses import BatchLoss, Given
from mimar.search.weights import SharedWeights
from mimar.space import Architecture
from mimar.supernet import Gates

Array = np.ndarray[Any, Any]
MOST = 200  # children: all of them are trained
TOP = 3


@dataclass(frozen=True)
class Plan:
    """Which children, how they and the supernets are trained, and how often. Raises UsageError for less than two seeds."""

    net: Any
    task: Any
    retrain: Retrain = Retrain(epochs=5)
    trainings: Count = 3
    seeds: Annotated[int, Range(2)] = 10
    epochs: Count = 10
    batch: Batch = 32
    optimiser: Sgd = Sgd(lr=0.05)
    decay: Annotated[float, Range(0.0)] = 3e-4

    def __post_init__(self) -> None:
        validate(self)

    def lab(self, seed: int) -> Lab:
        """Return net and data under a seed; the split is that of seed 0, so that all judge by the same samples."""
        lab = Lab(self.net, self.task, seed, "cpu")
        vars(lab)["data"] = Lab(self.net, self.task, 0, "cpu").data
        return lab


class Insight(NamedTuple):
    """What shared weights say of children: scores (seeds, epochs, children), truth (children,), and figures of both.

    `tau`: with the truth, (seeds, epochs); `between_epochs`: Kendall of consecutive epochs, mean; `between_seeds`: of two
    seeds in the last epoch, mean; `flips`: the share of consecutive epochs whose three best are not the same; `regret`:
    what the favourite of the last epoch is worth less than the best child, by seed, in units of the measure.
    """

    groups: int
    scores: Array
    truth: Array
    tau: Array
    between_epochs: float
    between_seeds: float
    flips: float
    regret: Array

    def to_json(self) -> dict[str, Any]:
        """Return the figures of the last epoch and the curve of τ."""
        return {
            "groups": self.groups,
            "children": len(self.truth),
            "seeds": len(self.tau),
            "tau": {"mean": float(self.tau[:, -1].mean()), "std": float(self.tau[:, -1].std(ddof=1))},
            "tau_by_epoch": [round(float(t), 4) for t in self.tau.mean(0)],
            "tau_by_seed": [round(float(t), 4) for t in self.tau[:, -1]],
            "between_epochs": self.between_epochs,
            "between_seeds": self.between_seeds,
            "flips": self.flips,
            "regret": {"mean": float(self.regret.mean()), "std": float(self.regret.std(ddof=1))},
        }


def children(plan: Plan) -> list[Architecture]:
    """Return every architecture of the space; raises UsageError where there are more than 200."""
    space = plan.lab(0).space
    size = space.size()
    if size is None or size > MOST:
        raise UsageError(f"every child of the space is trained, and there are {size}: take a space of at most {MOST}")
    return list(space.enumerate())


def truth(plan: Plan, those: Sequence[Architecture]) -> Array:
    """Return the mean score of each child's own trainings on the holdout, larger being better."""
    lab = plan.lab(0)
    found = np.zeros((plan.trainings, len(those)))
    for r, i in itertools.product(range(plan.trainings), range(len(those))):
        job = Job(f"random-{i}", "baseline", "", lab.final, those[i], lab.data, r)
        *_, last = training(plan.retrain, job, State())
        assert isinstance(last, Record)
        found[r, i] = finish.score(lab, last.data)
    mean: Array = found.mean(0)
    return mean


def shared(plan: Plan, those: Sequence[Architecture], seed: int, groups: int = 1) -> Array:
    """Return the scores of all children after each epoch, (epochs, children), under weights shared within groups.

    With G groups each has a supernet of its own that is trained on every G-th step, with the rate of that step.
    """
    found = np.zeros((plan.epochs, len(those)))
    parts = np.array_split(np.arange(len(those)), groups)  # enumerated in order: a part agrees in its first choices
    for part, mine in enumerate(parts):
        lab = plan.lab(seed)
        own = SharedWeights(lab, State(), plan.optimiser, plan.batch)
        gates = {i: Gates(lab.supernet.gates(those[i])) for i in mine.tolist()}
        drawn = stream(seed, "path", part)
        for epoch in range(plan.epochs):
            lr = cosine(epoch / plan.epochs, plan.optimiser.lr)
            for step, batch in enumerate(own.batches(epoch, 0)):
                if step % groups == part:
                    i = int(mine[below(drawn, len(mine))])
                    noise = (seed, "inner", part, epoch, step)
                    terms = (WeightDecay(plan.decay),)
                    loss = BatchLoss(lab.supernet, Given(gates[i]), (), lab.data, batch, own.buffers, noise, terms)
                    own.step(loss, (), lr, step)
            for i in mine.tolist():
                found[epoch, i] = lab.better(finish.shared_score(lab, gates[i], plan.batch))
    return found


def insight(plan: Plan, groups: int = 1, true: Array | None = None) -> Insight:
    """Return what supernets of so many groups say of the children; `true`: what `truth` returned, where it is known."""
    those = children(plan)
    if not 1 <= groups <= len(those):
        raise UsageError(f"groups is {groups}; it must be between 1 and the number of children, {len(those)}")
    known = truth(plan, those) if true is None else true
    return figures(np.stack([shared(plan, those, seed, groups) for seed in range(plan.seeds)]), known, groups)


def figures(scores: Array, known: Array, groups: int = 1) -> Insight:
    """Return the figures of scores (seeds, epochs, children) beside what the children are worth (children,)."""
    tau = np.array([[agreement(s, known) for s in run] for run in scores])
    steps = [(a, b) for run in scores for a, b in itertools.pairwise(run)]
    seeds = list(itertools.combinations(scores[:, -1], 2))
    return Insight(
        groups=groups,
        scores=scores,
        truth=known,
        tau=tau,
        between_epochs=float(np.mean([agreement(a, b) for a, b in steps])) if steps else 1.0,
        between_seeds=float(np.mean([agreement(a, b) for a, b in seeds])),
        flips=float(np.mean([_top(a) != _top(b) for a, b in steps])) if steps else 0.0,
        regret=known.max() - known[scores[:, -1].argmax(1)],
    )


def agreement(a: Array, b: Array) -> float:
    """Return Kendall's τ of two rankings, 0 where one of them ranks nothing."""
    from scipy.stats import kendalltau

    tau = float(kendalltau(a, b).statistic)
    return 0.0 if np.isnan(tau) else tau


def _top(scores: Array) -> set[int]:
    return set(np.argsort(-scores, kind="stable")[:TOP].tolist())
