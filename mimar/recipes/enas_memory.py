"""A recurrent controller with a memory: it has to be able to repeat past architectures from its hidden state.

ENAS's controller does not condition on what it decided before: architectures drawn from one hidden state are not alike.
A term over a buffer of past architectures, log P(a | state after reading a), makes the state encode decisions.
"""

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Fraction, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.strategies.ascent import Baseline
from mimar.strategies.recurrent import Recurrent
from mimar.strategies.reinforce import Reinforce
from mimar.strategies.replay import Replay
from mimar.tasks import Task

PAPER = Paper(
    "Adam, George and Lorraine, Jonathan",
    2019,
    "arXiv",
    "Understanding Neural Architecture Search Techniques",
    "https://arxiv.org/abs/1904.00438",
)
DIFFERS = (
    "every network is trained by itself or looked up (there under shared weights)",
    "the controller is ENAS's for cells in size and rate; its logits reach 2.5, as for recurrent cells there",
    "the paper names the memory, not the form of its term: here it is the log-probability of repeating what was read",
    "the controller decides the choices of the space in their order by softmax; no attention over earlier nodes",
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
    lr: Positive = 0.0035,
    momentum: Fraction = 0.99,
    entropy: NonNegative = 1e-4,
    hidden: Count = 64,
    weight: Positive = 0.1,
    size: Count = 100,
    replayed: Count = 8,
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="enas-memory",
        strategy=Reinforce(
            policy=Recurrent(hidden=hidden, layers=1, tanh_scale=2.5),
            lr=lr,
            baseline=Baseline(momentum=momentum, update="after"),
            entropy=entropy,
            replay=Replay(weight=weight, size=size, batch=replayed),
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
