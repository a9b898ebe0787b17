"""Learned data: a generator of labelled images with the learning rates that go with them, as a value.

Shapes: N steps, B images a step, Z latents, K classes; images (B, C, H, W), labels (B,) int64.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from mimar.core.ranges import Batch, Count, Positive, Range, Whole, validate
from mimar.core.streams import Rng, draw, isolated, stream
from mimar.tasks import Batch as Images
from mimar.tasks import Task

LATENTS, LR, MOMENTUM, NET = "latents", "lr", "momentum", "net"


@dataclass(frozen=True)
class Teacher:
    """What a teacher is: a generator of images, N batches of latents, and N learning rates and momenta.

        x_t = G(z_t, onehot(y_t)),   η_t = softplus(a_t),   μ_t = sigmoid(b_t),   y_t = 0, 1, … K − 1, 0, 1, …

    `curriculum`: the latents z_t (N, B, Z) are learned; otherwise they are noise, drawn anew for every learner. `width`:
    channels of G. `lr`, `momentum`: where η and μ begin. `every`: a learner is measured on real data after every so many
    steps too, not at the end alone (0). `checkpoint`: length of the segments that are recomputed on the way back
    (0: everything is kept). `imitate`: steps before, in which G and the latents learn to reproduce real images.
    Source: Such et al. (2020), section 3. Differs: η and μ by softplus and sigmoid (there exp); `imitate` is close to the
    encoder loss of the released code, which the published runs do not use (0).
    """

    steps: Count = 32
    batch: Batch = 32
    noise: Count = 16
    width: Count = 16
    curriculum: bool = True
    lr: Positive = 0.1
    momentum: Annotated[float, Range(0.01, 0.99)] = 0.5
    every: Whole = 8
    checkpoint: Whole = 8
    imitate: Whole = 600
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def start(self, task: Task, rng: Rng) -> dict[str, Tensor]:
        """Return the variables to be learned, at their beginning: latents, learning rates, the generator's weights."""
        with isolated(draw(rng)):
            latents = torch.randn(self.steps, self.batch, self.noise)  # (N, B, Z)
            net = Generator(task.shape, task.classes, self.noise, self.width)
        lr = self.lr + math.log(-math.expm1(-self.lr))  # the inverse of softplus
        momentum = math.log(self.momentum / (1.0 - self.momentum))
        found = {LATENTS: latents} if self.curriculum else {}
        found |= {LR: torch.full((self.steps,), lr), MOMENTUM: torch.full((self.steps,), momentum)}
        return found | {f"{NET}.{name}": p.detach() for name, p in net.named_parameters()}

    def due(self, t: int) -> bool:
        """Tell whether a learner is measured on real data after `t` steps."""
        return t == self.steps or (self.every > 0 and t % self.every == 0)

    @property
    def twice(self) -> int:
        """How many steps of a learner are computed twice, for the checkpoints."""
        return (self.steps - 1) // self.checkpoint * self.checkpoint if self.checkpoint else 0


@dataclass(frozen=True, eq=False)
class Synthetic:
    """The data that a teacher makes, a function of what it has learned: batches and learning rates by step.

    `noise` is the seed of the latents where they are not learned.
    """

    teacher: Teacher
    learned: Mapping[str, Tensor]
    task: Task
    noise: int = 0

    def batch(self, t: int) -> Images:
        """Return the images and labels of step `t`, differentiable in what was learned."""
        k, b = self.task.classes, self.teacher.batch
        device = self.learned[LR].device
        y = (torch.arange(t * b, (t + 1) * b) % k).to(device)  # (B,)
        if self.teacher.curriculum:
            z = self.learned[LATENTS][t]  # (B, Z)
        else:
            z = torch.randn(b, self.teacher.noise, generator=stream(self.noise, "latents", t)).to(device)
        net = _template(tuple(self.task.shape), k, self.teacher.noise, self.teacher.width)
        weights = {n.removeprefix(f"{NET}."): w for n, w in self.learned.items() if n.startswith(f"{NET}.")}
        x = functional_call(net, weights, (torch.cat([z, functional.one_hot(y, k).to(z)], 1),))
        return Images(x, y)

    def distance(self, t: int, real: Images) -> Tensor:
        """Return the mean squared difference of the images of step `t` from real ones of the same labels.

        Which of the images `real` stands for which place of a batch is drawn for `t` once and for all.
        """
        made = self.batch(t)
        places = torch.rand(len(made.y), len(real.y), generator=stream(self.noise, "imitated", t)).to(made.x.device)
        chosen = (places + (made.y[:, None] == real.y[None, :])).argmax(1)  # (B,), of the same label where there is one
        return functional.mse_loss(made.x, real.x[chosen])

    def rates(self, t: int) -> tuple[Tensor, Tensor]:
        """Return learning rate and momentum of step `t`, scalars."""
        return functional.softplus(self.learned[LR][t]), self.learned[MOMENTUM][t].sigmoid()


class Generator(nn.Module):
    """Images (B, C, H, W) within ±2 from latents and labels (B, Z + K); standardised images have about that range.

    Two linear layers to maps of a quarter of the size, then twice: enlarge to the double, 3×3 convolution. Batch norm
    with the batch's own statistics. Source: the authors' code, whose width is 64. Differs: no weight normalisation.
    """

    def __init__(self, shape: tuple[int, ...], classes: int, noise: int, width: int) -> None:
        super().__init__()
        channels, *self.size = shape
        self.middle, self.small = ([-(-s // d) for s in self.size] for d in (2, 4))
        wide = 2 * width * math.prod(self.small)
        self.linear = nn.Sequential(*_dense(noise + classes, 16 * width), *_dense(16 * width, wide))
        self.conv = nn.Conv2d(2 * width, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width, track_running_stats=False)
        self.last = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Return the images of (B, Z + K)."""
        x = self.linear(z).unflatten(1, (-1, *self.small))
        x = self.conv(functional.interpolate(x, self.middle))
        x = functional.interpolate(functional.leaky_relu(self.norm(x), 0.1), self.size)
        return 2.0 * self.last(x).tanh()


def _dense(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    norm = nn.BatchNorm1d(outputs, track_running_stats=False)
    return nn.Linear(inputs, outputs, bias=False), norm, nn.LeakyReLU(0.1)


@lru_cache(maxsize=8)
def _template(shape: tuple[int, ...], classes: int, noise: int, width: int) -> Generator:
    """Return a generator without weights, into which those of a call are put; no random number is drawn for it."""
    with torch.device("meta"):
        return Generator(shape, classes, noise, width)
