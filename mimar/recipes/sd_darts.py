"""SD-DARTS: the supernet learns from the mean of its own earlier selves.

w descends L1(w, p) + λ T² KL(p_T ‖ p_S), p_T the mean of the class probabilities of up to `teachers` snapshots
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import FirstOrder
from mimar.gradient.regularise import AlphaDecay, Distil, WeightDecay
from mimar.gradient.relax import Softmax
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Zhu, Xunyu and Li, Jian and Liu, Yong and Wang, Weiping",
    2023,
    "arXiv preprint",
    "Improving Differentiable Architecture Search via Self-Distillation",
    "https://arxiv.org/abs/2302.05629",
)
DIFFERS = (
    "after the abstract: the number of teachers, their spacing, λ and T are ours, since no code and no formula was at hand",
    "the teachers run on the same batch with its own batch-norm statistics, as the student does",
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
    distil: NonNegative = 1.0,
    teachers: Count = 3,
    every: Count = 20,
    temperature: Positive = 1.0,
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
        name="sd-darts",
        relaxation=Softmax(),
        hypergradient=FirstOrder(),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(
            WeightDecay(decay),
            AlphaDecay(alpha_decay),
            Distil(rate=distil, teachers=teachers, every=every, temperature=temperature),
        ),
        schedule=Alternate(epochs=epochs, inner_steps=1),
        derivation=Strongest(),
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
