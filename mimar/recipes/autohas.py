"""AutoHAS: architecture and hyper-parameters by one policy, judged by a step of the shared weights that is thrown away.

epoch   `queries` times:   (a, h) ~ π;   w̃ = w − h.lr (∇_w L1(w, a) + h.decay w);   θ ← REINFORCE step on the accuracy of a under w̃
        w ← w − h.lr (∇_w L1(w, a) + h.decay w), a new pair (a, h) ~ π in every step
end     the most probable pair is trained from scratch
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, Fraction, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.regularise import WeightDecay
from mimar.search import OneShot
from mimar.strategies.ascent import Baseline
from mimar.strategies.reinforce import Reinforce
from mimar.tasks import Task

PAPER = Paper(
    "Dong, Xuanyi and Tan, Mingxing and Yu, Adams Wei and Peng, Daiyi and Gabrys, Bogdan and Le, Quoc V.",
    2020,
    "arXiv",
    "AutoHAS: Efficient Hyperparameter and Architecture Search",
    "https://arxiv.org/abs/2006.03656",
)
DIFFERS = (
    "a continuous hyper-parameter is decided in 8 cells of its range (there as a weighted sum of basis values)",
    "policy and weights take turns by epochs (there by steps); a step that more than doubles its batch's loss is undone",
    "learning rate and weight decay are searched: what one step of plain SGD, without momentum, can show the effect of",
)
TIER = "unit"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    epochs: Count = 20,
    batch: Batch = 32,
    tune: str = "lr=0.001|0.01|0.1|1,decay=0|0.0003|0.003",
    momentum: Fraction = 0.0,
    queries: Count = 30,
    policy_lr: Positive = 0.1,
    forget: Fraction = 0.95,
    entropy: NonNegative = 0.0,
    retrain: Retrain = Retrain(),
) -> OneShot:
    return OneShot(
        name="autohas",
        inner=Sgd(momentum=momentum),
        terms=(WeightDecay(0.0),),
        epochs=epochs,
        candidates=0,
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
        strategy=Reinforce(lr=policy_lr, baseline=Baseline(momentum=forget), entropy=entropy),
        queries=queries,
        tune=tune,
    )
