"""Architecture and hyper-parameters as one space, measured at several fidelities: who finds both, beside random search."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from mimar.objectives import Best
from mimar.schedulers import named
from mimar.search.session import Session, Terms, best
from mimar.space import Architecture, Choice, Measurement, Proposal, Space
from mimar.space.transforms.product import Product
from mimar.strategies import Random
from mimar.strategies.density import DensityRatio
from mimar.strategies.fantasies import Fantasies
from mimar.tasks import Measure

NET = Space(
    [
        Choice("op", ("conv", "pool", "skip")),
        Choice("width", (8, 16, 32, 64), "size"),
        Choice("kernel", ("3", "5"), when=(("op", "conv"),)),
    ]
)
HYPER = Space([Choice("lr", (1e-5, 10.0), "value", log=True), Choice("optimiser", ("sgd", "adam")), Choice("momentum", (0.0, 1.0), "value", when=(("optimiser", "sgd"),))])  # fmt: skip


class Curves:
    """Accuracies made up: each network has a right learning rate, and longer training shows it better."""

    unit, resumes = "epochs", True
    measures = (Measure("valid_accuracy", "max", "fraction"),)
    fidelities = (1.0, 3.0, 9.0, 27.0)
    space = Product((("net", NET), ("hp", HYPER))).space

    def prepare(self, seed: int) -> float:
        return 0.0

    def costs(self, architecture: Architecture) -> Mapping[str, float]:
        return {}

    def final(self, a: Mapping[str, Any]) -> float:
        right = -1.5 if a["hp/optimiser"] == "sgd" else -3.0
        lost = 0.05 * abs(math.log10(a["hp/lr"]) - right) + 0.1 * (a["net/op"] != "conv")
        lost += 0.02 * (6 - math.log2(a["net/width"])) + 0.03 * (a.get("net/kernel") == "5")
        return 0.95 - lost - 0.05 * abs(a.get("hp/momentum", 0.5) - 0.9)

    def evaluate(self, proposal: Proposal, fidelity: float | None = None, rng: Any = None) -> Measurement:
        epochs = fidelity or 27.0
        value = self.final(proposal.architecture) * (1 - 0.5 / (1 + epochs))
        noise = 0.03 * (int(proposal.architecture.digest[:6], 16) / 16**6 - 0.5) / math.sqrt(epochs)
        return Measurement({"valid_accuracy": max(value + noise, 0.0)}, epochs)


def found(strategy: Any, scheduler: str, seed: int, workers: int = 1) -> float:
    evaluator: Any = Curves()
    course = named(scheduler).start(evaluator.fidelities, seed)
    terms = Terms(evaluator, Best(), cost=540.0 / workers, seed=seed, workers=workers)
    session = Session(terms, strategy.start(evaluator.space, seed), course)
    while session.step() is not None:
        pass
    winner = best(session.trials)
    assert winner is not None and winner.proposal.fidelity == 27.0
    return evaluator.final(winner.architecture)


def test_models_find_architecture_and_hyper_parameters_together() -> None:
    """Twenty full trainings' worth of epochs; means over eight seeds, four of the process."""
    runs = {
        "random": [full(seed) for seed in range(8)],
        "asha": [found(Random(), "asha", seed) for seed in range(8)],
        "density": [found(DensityRatio(), "hyperband", seed) for seed in range(8)],
        "process": [found(Fantasies(), "asha", seed, workers=4) for seed in range(4)],
    }
    mean = {name: float(np.mean(values)) for name, values in runs.items()}
    assert mean["asha"] > mean["random"] + 0.01
    assert mean["density"] > mean["random"] + 0.01
    assert mean["process"] > mean["asha"] + 0.01


def full(seed: int) -> float:
    """Return what twenty full trainings of random networks give."""
    evaluator: Any = Curves()
    session = Session(
        Terms(evaluator, Best(), queries=20, seed=seed),
        Random().start(evaluator.space, seed),
        named("asynchronous").start(evaluator.fidelities, seed),
    )
    while session.step() is not None:
        pass
    winner = best(session.trials)
    assert winner is not None
    return evaluator.final(winner.architecture)


@pytest.mark.parametrize("strategy", [DensityRatio(random=0.1), Fantasies(initial=4, candidates=40)])
def test_conditions_of_both_halves_are_kept(strategy: Any) -> None:
    evaluator: Any = Curves()
    session = Session(
        Terms(evaluator, Best(), queries=40, workers=3),
        strategy.start(evaluator.space, 0),
        named("hyperband").start(evaluator.fidelities, 0),
    )
    while session.step() is not None:
        pass
    assert len(session.trials) == 40
    assert all(evaluator.space.valid(t.architecture) for t in session.trials)
