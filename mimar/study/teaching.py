"""What learned data are worth: the behaviour check of generative teaching networks.

A teacher learns on the training half of digits. Then small networks of the space, drawn apart, are trained three ways:
a few steps on its data, as many steps on real batches of the same size, and a short real training from scratch. The
figures are the mean accuracies of the first two, and how well the first orders the networks as the third does.
"""

from __future__ import annotations

from typing import Any

import torch

from mimar.core.events import Record
from mimar.core.state import State
from mimar.core.streams import derive, stream
from mimar.evaluators import Retrain, training
from mimar.evaluators.taught import Learner
from mimar.evaluators.train import Job
from mimar.evaluators.unroll import descent
from mimar.recipes import gtn
from mimar.search.lab import Lab
from mimar.space import Architecture

NETWORKS = 16
RATES = (0.03, 0.1, 0.3)  # learning rates of the real steps; the best of them counts
MOMENTUM = 0.5
SHORT = Retrain(epochs=5)


def measure(seed: int, *, networks: int = NETWORKS, short: Retrain = SHORT, **options: Any) -> dict[str, Any]:
    """Return the figures of one seed: accuracies on the validation half, and the rank correlation.

    {"synthetic": mean after the teacher's steps, "real": mean after as many real steps, "real_rate", "spearman":
    correlation of the first with the short training's accuracy on the holdout, "rated", "trained": by network}.
    `options` go to the recipe. The real steps have the rate, of `RATES`, that is best on the validation half itself.
    """
    from scipy import stats

    search = gtn.recipe(seed=seed, **options)
    state = search.start()
    for _ in search.events(state):
        if state.json["iteration"] == search.iterations:
            break
    lab, rater = search.lab(), search.taught(state)
    drawn = [lab.space.sample(stream(seed, "teaching", i)) for i in range(networks)]
    name = lab.primary.name
    rated = [float(rater.evaluate(a).metrics.get(name, 0.0)) for a in drawn]
    real = {rate: [_real(lab, a, i, rate, search.teacher) for i, a in enumerate(drawn)] for rate in RATES}
    means = {rate: sum(values) / networks for rate, values in real.items()}
    best = max(means, key=means.__getitem__)
    trained = [_trained(lab, a, i, short) for i, a in enumerate(drawn)]
    return {
        "seed": seed,
        "synthetic": sum(rated) / networks,
        "real": means[best],
        "real_rate": best,
        "spearman": float(stats.spearmanr(rated, trained).statistic),
        "rated": rated,
        "trained": trained,
        "teacher_loss": state.json["loss"],
    }


def _real(lab: Lab, architecture: Architecture, i: int, rate: float, teacher: Any) -> float:
    """Return the validation accuracy of a fresh network after the teacher's number of steps on real batches."""
    learner = Learner(lab.supernet.model, architecture, lab.data, derive(lab.seed, "real", i), lab.device)
    rates = torch.tensor(rate), torch.tensor(MOMENTUM)

    def batch(t: int) -> Any:
        return lab.data.sample("train", stream(lab.seed, "real", i, t), size=teacher.batch, device=lab.device)

    step = descent(lambda t, w, _: learner.loss(w, batch(t), "inner", t), lambda _t, _a: rates)
    state = learner.start()
    with torch.no_grad():
        for t in range(teacher.steps):
            state = step(t, state, ())
    return learner.measure(learner.weights(state), teacher.batch)[lab.primary.name]


def _trained(lab: Lab, architecture: Architecture, i: int, short: Retrain) -> float:
    """Return the accuracy on the holdout after a short training from scratch."""
    job = Job(f"teaching-{i}", "evaluate", "short", lab.final, architecture, lab.data, lab.seed, lab.device)
    records = [e.data for e in training(short, job, State()) if isinstance(e, Record)]
    return float(records[-1]["metrics"][f"valid_{lab.primary.name}"])
