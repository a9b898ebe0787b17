"""DeepHyper: several PPO agents share one policy through a parameter server, without waiting for each other or in step.

Asynchronous (A3C): an agent whose batch is done sends its gradients and goes on. Synchronous (A2C): all wait, and the
mean counts; with trials.scheduler=synchronous:batch=16 (agents times batch) the waiting shows on the clock.
"""

from typing import Annotated, Literal

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, NonNegative, Positive, Range, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.strategies.ppo import Ppo
from mimar.strategies.recurrent import Recurrent
from mimar.tasks import Task

PAPER = Paper(
    "Balaprakash, Prasanna and Egele, Romain and Salim, Misha and Wild, Stefan and Vishwanath, Venkatram "
    "and Xia, Fangfang and Brettin, Tom and Stevens, Rick",
    2019,
    "International Conference for High Performance Computing, Networking, Storage and Analysis (SC)",
    "Scalable Reinforcement-Learning-Based Neural Architecture Search for Cancer Deep Learning Research",
    "https://arxiv.org/abs/1909.00311",
)
DIFFERS = (
    "4 agents of 4 trials a batch (there many, on hundreds of nodes), at a rate of 1e-2 (there 1e-3 falling to 0)",
    "an architecture is one action, its advantage the reward less a moving average (there a value head, standardised)",
    "agents propose in turn, and one that waits for results goes on proposing from the parameters that it has",
    "the reward is that of a whole training or of the table (there one epoch on a subset, with a time-out)",
    "the 50 best are not trained again: the best is",
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
    agents: Count = 4,
    batch: Count = 4,
    averaging: Literal["asynchronous", "synchronous"] = "asynchronous",
    epochs: Count = 4,
    clip: Annotated[float, Range(0.0, 1.0, open_low=True)] = 0.2,
    entropy: NonNegative = 0.01,
    lr: Positive = 1e-2,
    hidden: Count = 32,
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="deephyper",
        strategy=Ppo(
            policy=Recurrent(hidden=hidden, layers=1),
            lr=lr,
            batch=batch,
            epochs=epochs,
            clip=clip,
            entropy=entropy,
            agents=agents,
            averaging=averaging,
        ),
        retrain=retrain,
        queries=queries,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
        seconds=seconds,
        trials=trials,
    )
