"""PC-DARTS: operations see 1/K of the channels, and the edges into a node have gates of their own.

f(x) = Σ_o softmax(α)_o o(S∗x) ⧺ (1 − S)∗x;   node j = Σ_i softmax_i(β_ij) f_ij(x_i)
"""

from torch import nn

from mimar.core.optimisers import Sgd
from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, NonNegative, Positive, Whole
from mimar.evaluators import Retrain
from mimar.gradient.derive import Strongest
from mimar.gradient.hypergradient import FirstOrder
from mimar.gradient.regularise import AlphaDecay, WeightDecay
from mimar.gradient.relax import EdgeSoftmax, Softmax
from mimar.gradient.schedule import Alternate
from mimar.gradient.update import Adam
from mimar.nets.remodel import PartialChannels
from mimar.search import Bilevel
from mimar.tasks import Task

PAPER = Paper(
    "Xu, Yuhui and Xie, Lingxi and Zhang, Xiaopeng and Chen, Xin and Qi, Guo-Jun and Tian, Qi and Xiong, Hongkai",
    2020,
    "International Conference on Learning Representations (ICLR)",
    "PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture Search",
    "https://arxiv.org/abs/1907.05737",
)
DIFFERS = (
    "the alphas rest for 6 of 20 epochs, in the paper for 15 of 50",
    "the weights' rate is 0.025 to 0.001 on batches of 32, in the paper 0.1 to 0 on 256",
    "the first channels are taken and shuffled, as in the released code; drawn=True draws them for every cell and call, the paper for every edge",
    "in the NAS-Bench-201 net edges have no gates of their own: all of them are kept",
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
    channels: Count = 4,
    drawn: bool = False,
    warmup: Whole = 6,
    alpha_lr: Positive = 6e-4,
    epochs: Count = 20,
    batch: Batch = 32,
    lr: Positive = 0.025,
    decay: NonNegative = 3e-4,
    alpha_decay: NonNegative = 1e-3,
    travel: NonNegative = 10.0,
    retrain: Retrain = Retrain(),
) -> Bilevel:
    return Bilevel(
        name="pc-darts",
        relaxation=EdgeSoftmax(Softmax()),
        hypergradient=FirstOrder(),
        inner=Sgd(lr=lr),
        outer=Adam(lr=alpha_lr, travel=travel),
        terms=(WeightDecay(decay), AlphaDecay(alpha_decay)),
        schedule=Alternate(epochs=epochs, inner_steps=1, warmup=warmup),
        derivation=Strongest(),
        remodel=PartialChannels(channels, random=drawn),
        retrain=retrain,
        batch=batch,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
