"""EAS: networks grow by steps that keep what they compute, and their training goes on from there.

A policy reads the chain of layers and decides which become wider and which empty places are filled; every child begins
with the weights of the network that it grew out of, so that a short training is enough. The best is the next to grow.
"""

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Fraction, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.search import AskTell, Trials
from mimar.strategies.ascent import Baseline
from mimar.strategies.edit_policy import EditPolicy
from mimar.strategies.growth import Growth
from mimar.tasks import Task

PAPER = Paper(
    "Cai, Han and Chen, Tianyao and Zhang, Weinan and Yu, Yong and Wang, Jun",
    2018,
    "AAAI Conference on Artificial Intelligence",
    "Efficient Architecture Search by Network Transformation",
    "https://arxiv.org/abs/1707.04873",
)
DIFFERS = (
    "the search begins with two narrow layers, one a stage of the default net (there with a network of a few wider ones)",
    "one wider and two deeper actions a child (there 4 and 5), since the default net has four places and three widths",
    "an inserted layer takes an empty place of the chain (there it is put behind any layer), decided by one softmax over places and kernels (there block, position and kernel in turn)",
    "a wider layer makes those behind it at least as wide, so that widths never fall along the chain",
    "a stage ends after five episodes and the next begins with the best network that can still grow, under the same policy (there stages are set by hand)",
    "the tangent of a perfect reward is that of 0.999",
)
TIER = "unit"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    queries: Count | None = None,
    filled: Whole = 2,
    batch: Count = 10,
    episodes: Count = 5,
    wider: Whole = 1,
    deeper: Whole = 2,
    lr: Positive = 2e-3,
    momentum: Fraction = 0.95,
    entropy: NonNegative = 1e-5,
    embedding: Count = 16,
    hidden: Count = 50,
    trials: Trials = Trials(weights="inherited"),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="eas",
        strategy=Growth(
            policy=EditPolicy(wider, deeper, embedding, hidden),
            filled=filled,
            batch=batch,
            episodes=episodes,
            lr=lr,
            baseline=Baseline(momentum=momentum, update="after"),
            entropy=entropy,
        ),
        retrain=retrain,
        queries=queries,
        net="convnet" if net is None else net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
        trials=trials,
    )
