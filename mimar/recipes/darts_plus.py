"""DARTS+: stop before the skips take over.

stop at the first epoch whose derived cell has `skips` skip connections, or when the options' ranking has settled
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import FirstOrder
from mimar.gradient.regularise import AlphaDecay, WeightDecay
from mimar.gradient.relax import Softmax
from mimar.gradient.schedule import Alternate, RankStable, SkipCount, Until
from mimar.gradient.update import Adam
from mimar.search import Bilevel
from mimar.space import FREE
from mimar.tasks import Task

PAPER = Paper(
    "Liang, Hanwen and Zhang, Shifeng and Sun, Jiacheng and He, Xingqiu and Huang, Weiran and Zhuang, Kechen and Li, Zhenguo",
    2019,
    "arXiv preprint",
    "DARTS+: Improved Differentiable Architecture Search with Early Stopping",
    "https://arxiv.org/abs/1909.06035",
)
DIFFERS = (
    "both criteria at once, whichever comes first; the paper has either",
    "skips are counted in the whole architecture unless `cell` names a part of it, such as normal",
    "the weight step comes before the alpha step of the same iteration",
    "the alphas' rate is max(alpha_lr, travel / outer steps), so that gates move in short searches; travel=0: the paper's",
    "weight decay and alpha decay are losses, not options of the optimisers",
)
TIER = "unit"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    skips: Count = 2,
    stable: Count = 10,
    cell: str = "",
    epochs: Count = 20,
    batch: Batch = 32,
    lr: Positive = 0.025,
    decay: NonNegative = 3e-4,
    alpha_lr: Positive = 3e-4,
    alpha_decay: NonNegative = 1e-3,
    travel: NonNegative = 10.0,
    retrain: Retrain = Retrain(),
) -> Bilevel:
    return Bilevel(
        name="darts-plus",
        relaxation=Softmax(),
        hypergradient=FirstOrder(),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay)),
        schedule=Until(
            Until(Alternate(epochs=epochs), SkipCount(limit=skips, cell=cell)), RankStable(epochs=stable, ignore=FREE)
        ),
        derivation=Strongest(),
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
