"""RoBoT: Bayesian optimisation of how much each training-free score counts, then greedily down the best ranking.

No single score of untrained networks is best everywhere. A weighted sum of several ranks all candidates; its favourite
is measured, and the weights are what is searched for. Half of the effort goes into weights, the rest into the ranking.
"""

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.search import AskTell, Trials
from mimar.search.scored import Scored
from mimar.strategies.mixture import ScoreMixture, Scores
from mimar.tasks import Task

PAPER = Paper(
    "He, Zhenfeng and Shu, Yao and Dai, Zhongxiang and Low, Bryan Kian Hsiang",
    2024,
    "International Conference on Learning Representations (ICLR)",
    "Robustifying and Boosting Training-Free Neural Architecture Search",
    "https://openreview.net/forum?id=qPloNoDJZn",
)
DIFFERS = (
    "`candidates` drawn from the space are scored (there all of it: scores=table:FILE, which mimar.study.proxies writes)",
    "the scores of the candidates are not charged to the search's budget (there they are, in seconds of a GPU)",
    "scale and noise of the Gaussian process are the likeliest of a grid, its bound is maximised over 5,000 random weights",
    "a score that is not finite counts as the worst of its kind (there such architectures are passed over)",
)
TIER = "unit"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | Table | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    queries: Count | None = 20,
    seconds: Positive | None = None,
    scores: str | Scores = "grad_norm+snip+grasp+fisher+synflow+jacob_cov",
    candidates: Count = 500,
    steps: Count = 20,
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="robot",
        strategy=ScoreMixture(scores=Scored(scores), steps=steps, candidates=candidates),
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
