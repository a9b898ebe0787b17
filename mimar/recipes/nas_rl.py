"""NAS with reinforcement learning: a recurrent controller writes architectures down and learns by REINFORCE.

Two layers of 35 LSTM cells; each decision is fed back into the next. The reward is the cube of the accuracy.
"""

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Fraction, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.objectives import Power
from mimar.search import AskTell, Trials
from mimar.strategies.ascent import Baseline
from mimar.strategies.recurrent import Recurrent
from mimar.strategies.reinforce import Reinforce
from mimar.tasks import Task

PAPER = Paper(
    "Zoph, Barret and Le, Quoc V.",
    2017,
    "International Conference on Learning Representations (ICLR)",
    "Neural Architecture Search with Reinforcement Learning",
    "https://arxiv.org/abs/1611.01578",
)
DIFFERS = (
    "the rate is 3e-3, for hundreds of trainings; with the published 6e-4, for 12,800, a hundred change nothing",
    "the controller decides the choices of the space in their order by softmax; no attention for skip connections",
    "one controller; the accuracy is that of the last epoch (there the best of the last five); networks do not grow",
)
TIER = "toy"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | Table | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    queries: Count | None = None,
    seconds: Positive | None = None,
    lr: Positive = 3e-3,
    momentum: Fraction = 0.9,
    batch: Count = 1,
    hidden: Count = 35,
    layers: Count = 2,
    exponent: Positive = 3.0,
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="nas-rl",
        strategy=Reinforce(
            policy=Recurrent(hidden=hidden, layers=layers),
            lr=lr,
            batch=batch,
            baseline=Baseline(momentum=momentum, update="after"),
        ),
        retrain=retrain,
        queries=queries,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
        seconds=seconds,
        trials=trials.towards(Power(exponent=exponent)),
    )
