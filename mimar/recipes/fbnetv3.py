"""FBNetV3: architecture and training recipe are searched together, by a predictor that knows the costs before it is taught.

The encoder of the predictor first learns costs that are free to know; then rounds of training what it predicts best; then
a genetic search that asks the predictor alone. Limits (trials.limits) hold in every stage.
"""

from typing import Literal

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Count, Fraction, Positive, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.table import Table
from mimar.predictors.shared_encoder import SharedEncoder
from mimar.search import AskTell, Trials
from mimar.strategies.pools import Bred, Quasirandom, Staged
from mimar.strategies.ranking import PredictAndRank
from mimar.tasks import Task

PAPER = Paper(
    "Dai, Xiaoliang and Wan, Alvin and Zhang, Peizhao and Wu, Bichen and He, Zijian and Wei, Zhen and others",
    2021,
    "IEEE Conference on Computer Vision and Pattern Recognition (CVPR)",
    "FBNetV3: Joint Architecture-Recipe Search using Predictor Pretraining",
    "https://arxiv.org/abs/2006.02049",
)
DIFFERS = (
    "20 architectures are trained first, then 10 a round (there about 100 and four rounds); what is bred is trained, too",
    "trainings are not stopped early, unless trials.scheduler does; the predictor is fitted anew from the pretrained encoder",
    "the predictor learns normal scores of ranks (target=value: accuracies), and all known costs teach its encoder",
    "choices are a recipe's where their names begin with recipe/ or they are continuous",
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
    initial: Count = 20,
    batch: Count = 10,
    rounds: Whole = 4,
    candidates: Count = 200,
    generations: Count = 20,
    unlabelled: Count = 500,
    frozen: Fraction = 0.5,
    epochs: Count = 150,
    target: Literal["rank", "log-error", "value"] = "rank",
    trials: Trials = Trials(),
    retrain: Retrain = Retrain(),
) -> AskTell:
    return AskTell(
        name="fbnetv3",
        strategy=PredictAndRank(
            predictor=SharedEncoder(unlabelled=unlabelled, frozen=frozen, epochs=epochs),
            initial=initial,
            batch=batch,
            candidates=candidates,
            pool=Staged(first=Quasirandom(), rounds=rounds, then=Bred(generations=generations)),
            design=Quasirandom(),
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
