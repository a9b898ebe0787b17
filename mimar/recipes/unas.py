"""UNAS: an unbiased gradient of the expected loss of sampled architectures, costs that have no gradient included.

α descends E_z[L_train + λ |L_valid − L_train| + cost(z)] by REBAR: (ℓ(z) − ℓ(z̃)) ∇ log q(z) + the relaxed samples' gradient
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import HingeCost, Rebar
from mimar.gradient.regularise import AlphaDecay, GeneralisationGap, WeightDecay
from mimar.gradient.relax import Categorical
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Vahdat, Arash and Mallya, Arun and Liu, Ming-Yu and Kautz, Jan",
    2020,
    "IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)",
    "UNAS: Differentiable Architecture Search Meets Reinforcement Learning",
    "https://arxiv.org/abs/1912.07651",
)
DIFFERS = (
    "the cost is counted MACs, relative to `target` times those of the mean option, as a black box; the paper has measured latency",
    "the price is on by default; cost=0 is without",
    "the alphas' rate is constant, in the release a cosine",
    "the weight step comes before the alpha step of the same iteration",
    "the alphas' rate is max(alpha_lr, travel / outer steps), so that gates move in short searches; travel=0: the paper's",
    "weight decay and alpha decay are losses, not options of the optimisers",
)
TIER = "toy"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    gap: NonNegative = 0.5,
    temperature: Positive = 0.4,
    cost: NonNegative = 1.0,
    target: Positive = 0.8,
    alpha_lr: Positive = 1e-3,
    epochs: Count = 20,
    warmup: Whole = 0,
    batch: Batch = 32,
    lr: Positive = 0.025,
    decay: NonNegative = 3e-4,
    alpha_decay: NonNegative = 1e-3,
    travel: NonNegative = 10.0,
    retrain: Retrain = Retrain(),
) -> Bilevel:
    return Bilevel(
        name="unas",
        relaxation=Categorical(),
        hypergradient=Rebar(temperature=temperature, cost=HingeCost(target=target, rate=cost)),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay), GeneralisationGap(gap)),
        schedule=Alternate(epochs=epochs, inner_steps=1, warmup=warmup),
        derivation=Strongest(),
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
