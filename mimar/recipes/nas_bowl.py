"""NAS-BOWL: Bayesian optimisation with a Weisfeiler-Lehman kernel on the graphs of architectures.

Architectures are alike that share motifs (an operation with what it feeds, and so on), and the Gaussian process says
which motifs help: `GaussianProcess().start(space, 0)`, `fit` on what was measured, `explain`.
"""

from typing import Annotated, Literal

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Fraction, Positive, Range, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.predictors.gaussian import GaussianProcess
from mimar.predictors.weisfeiler_lehman import WeisfeilerLehman
from mimar.search import AskTell, Trials
from mimar.strategies.bayesian import Bayesian
from mimar.strategies.pools import Mutants
from mimar.tasks import Task

PAPER = Paper(
    "Ru, Binxin and Wan, Xingchen and Dong, Xiaowen and Osborne, Michael",
    2021,
    "International Conference on Learning Representations (ICLR)",
    "Interpretable Neural Architecture Search via Bayesian Optimisation with Weisfeiler-Lehman Kernels",
    "https://arxiv.org/abs/2006.07556",
)
DIFFERS = (
    "depth and noise are the best of a grid by marginal likelihood (there the noise takes 20 steps of Adam, up to 0.01)",
    "the incumbent of the expected improvement is the largest posterior mean (there the figure measured at it)",
    "motifs explain, they do not guide the mutations; spaces without graphs have a kernel on decisions",
    "normal scores of ranks are fitted, which a few cells that fail do not bend (target=log-error: the paper's −log error)",
)
TIER = "table"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | Table | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    queries: Count | None = None,
    seconds: Positive | None = None,
    initial: Count = 10,
    batch: Count = 5,
    candidates: Count = 200,
    mutants: Fraction = 0.5,
    depth: Whole = 3,
    matching: Literal["count", "assignment"] = "count",
    noise: Annotated[float, Range(1e-5, 1.0)] = 0.1,
    target: Literal["rank", "log-error", "value"] = "rank",
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="nas-bowl",
        strategy=Bayesian(
            predictor=GaussianProcess(kernel=WeisfeilerLehman(depth=depth, matching=matching), noise=noise),
            initial=initial,
            batch=batch,
            candidates=candidates,
            pool=Mutants(share=mutants),
            target=target,
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
