"""BNAS: binary convolutions on part of the channels, and a race in which the worst option drops out.

every option sampled equally often, the worst of each choice abandoned, until `left` remain; then gates by gradients
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import FirstOrder, Observed
from mimar.gradient.regularise import AlphaDecay, WeightDecay
from mimar.gradient.relax import FairRounds
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam, Reduction
from mimar.nets.remodel import Binary, PartialChannels, Several
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Chen, Hanlin and Zhuo, Li'an and Zhang, Baochang and Zheng, Xiawu and Liu, Jianzhuang and Doermann, David and Ji, Rongrong",
    2020,
    "AAAI Conference on Artificial Intelligence",
    "Binarized Neural Architecture Search",
    "https://arxiv.org/abs/1911.10862",
)
DIFFERS = (
    "after the paper's mechanism as recalled: no code was found; the number of rounds is an option",
    "binary convolutions by sign and scale (XNOR); the paper also has PCNN",
    "options are ranked by the mean of minus the loss, in the paper by accuracy; edges choose on half of the channels",
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
    rounds: Count = 2,
    left: Count = 2,
    channels: Count = 2,
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
        name="bnas",
        relaxation=FairRounds(),
        hypergradient=Observed(FirstOrder()),
        inner=Sgd(lr=lr),
        outer=Reduction(Adam(lr=alpha_lr, travel=travel), rounds=rounds, keep=left),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay)),
        schedule=Alternate(epochs=epochs, inner_steps=1),
        derivation=Strongest(),
        remodel=Several((PartialChannels(channels), Binary())),
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
