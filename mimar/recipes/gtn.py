"""Generative teaching networks: a generator of images on which fresh networks learn in a few steps rates architectures.

min over φ of L(w_N(φ)) on real data, w_{t+1} = w_t − η_t v_t the steps of a fresh network on G_φ's images, through all
of them; then the best of `candidates` drawn architectures by validation accuracy after N such steps is retrained
"""

from typing import Annotated

from torch import nn

from mimar.core.paper import Paper
from mimar.core.ranges import Batch, Count, Positive, Range, Whole
from mimar.evaluators import Retrain
from mimar.evaluators.synthetic import Teacher
from mimar.search import Teach
from mimar.tasks import Task

PAPER = Paper(
    "Such, Felipe Petroski and Rawal, Aditya and Lehman, Joel and Stanley, Kenneth O. and Clune, Jeff",
    2020,
    "International Conference on Machine Learning (ICML)",
    "Generative Teaching Networks: Accelerating Neural Architecture Search by Learning to Generate Synthetic Training Data",
    "https://arxiv.org/abs/1912.07768",
)
DIFFERS = (
    "the generator imitates real images before it teaches, since 2000 iterations are out of reach here; imitate=0: not",
    "every learner is a random network of the space; the released code teaches one fixed network, and rates others",
    "scaled to small images: 32 steps of 32 images, 30 iterations; published 64 (128 on CIFAR-10) of 128, 2000 iterations",
    "learning rates and momenta are a softplus and a sigmoid of what is learned, in the released code exponentials",
    "no weight normalisation, in generator and learners; learners have batch norm as the space has it, there of means only",
    "real data are never augmented; batch norm takes their statistics: of the batch in the loss, of eight in a rating",
)
TIER = "unit"


def recipe(
    *,
    net: nn.Module | str | None = None,
    task: Task | str | None = None,
    seed: int = 0,
    device: str = "cpu",
    baseline: Whole | None = None,
    candidates: Count = 30,
    iterations: Count = 30,
    steps: Count = 32,
    batch: Batch = 32,
    noise: Count = 16,
    width: Count = 16,
    curriculum: bool = True,
    every: Whole = 8,
    rate: Positive = 4e-3,
    lr: Positive = 0.1,
    momentum: Annotated[float, Range(0.01, 0.99)] = 0.5,
    checkpoint: Whole = 8,
    imitate: Whole = 600,
    retrain: Retrain = Retrain(),
) -> Teach:
    return Teach(
        name="gtn",
        teacher=Teacher(
            steps, batch, noise, width, curriculum, lr, momentum, every=every, checkpoint=checkpoint, imitate=imitate
        ),
        rate=rate,
        iterations=iterations,
        candidates=candidates,
        retrain=retrain,
        net=net,
        task=task,
        seed=seed,
        device=device,
        baseline=baseline,
    )
