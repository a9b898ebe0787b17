"""MnasNet: accuracy traded against a cost in the reward, by a product that a controller learns to raise with PPO.

reward = accuracy · (cost / target)^w,    w = `below` within the target, `above` beyond it
"""

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.objectives import WeightedProduct
from mimar.search import AskTell, Trials
from mimar.strategies.ppo import Ppo
from mimar.strategies.recurrent import Recurrent
from mimar.tasks import Task

PAPER = Paper(
    "Tan, Mingxing and Chen, Bo and Pang, Ruoming and Vasudevan, Vijay and Sandler, Mark "
    "and Howard, Andrew and Le, Quoc V.",
    2019,
    "IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
    "MnasNet: Platform-Aware Neural Architecture Search for Mobile",
    "https://arxiv.org/abs/1807.11626",
)
DIFFERS = (
    "the cost is what the evaluator knows, multiply-accumulates by default (there the latency measured on a phone)",
    "without a target it is the median cost of 25 random architectures of the space, the same ones for every seed",
    "with one exponent on both sides the target is a mere factor: the exponent alone says what a cost is worth",
    "the space is the given net's or table's, not the seven blocks of the paper; the best by reward is the result",
    "an architecture is one action of PPO, and its advantage is the reward less a moving average",
)
TIER = "unit"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | Table | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    queries: Count | None = None,
    seconds: Positive | None = None,
    cost: str = "macs",
    target: Positive | None = None,
    below: float = -0.07,
    above: float = -0.07,
    lr: Positive = 3e-3,
    batch: Count = 4,
    hidden: Count = 35,
    layers: Count = 2,
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="mnasnet",
        strategy=Ppo(policy=Recurrent(hidden=hidden, layers=layers), lr=lr, batch=batch),
        retrain=retrain,
        queries=queries,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
        seconds=seconds,
        trials=trials.towards(WeightedProduct(cost=cost, target=target, below=below, above=above)),
    )
