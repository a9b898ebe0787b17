"""What all scores at initialisation share: the interface, the private copy of a network, its loss and its weights.

Shapes: B batch, K outputs; x (B, …), y (B,) labels, or (B, K) numbers where a network is to fit them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mimar.core.errors import UsageError
from mimar.core.streams import derive, isolated, stream
from mimar.tasks.protocol import Batch

Direction = Literal["max", "min"]
Weights = dict[str, Tensor]


class Proxy(Protocol):
    """A score of an untrained network on one batch: a number that is to foretell what training would give.

    Called with any plain torch network, a batch and a seed; leaves the network as it was, to the last bit, and draws from
    no global generator. NaN and infinities are answers too: a network that lets no signal through has no correlations.
    """

    @property
    def direction(self) -> Direction:
        """Whether a larger or a smaller score is better."""
        ...

    def __call__(self, net: nn.Module, batch: Batch, seed: int = 0) -> float: ...

    def passes(self, size: int) -> float:
        """Return its cost on a batch of `size` in forward passes of one sample; a backward pass counts as two."""
        ...


def noise(shape: tuple[int, ...], classes: int, size: int, seed: int = 0, device: str = "cpu") -> Batch:
    """Return a batch of standard normal images (size, *shape) with random labels: most scores need no better."""
    rng = stream(seed, "noise images")
    x = torch.randn(size, *shape, generator=rng)
    return Batch(x.to(device), torch.randint(classes, (size,), generator=rng).to(device))


@contextmanager
def private(net: nn.Module, seed: int) -> Iterator[nn.Module]:
    """Yield a copy of a network to do with as one likes, under generators seeded for the time being.

    It is in training mode, so that batch norm takes the statistics of the batch (and keeps none); dropout is at rest.
    """
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    with isolated(derive(seed, "proxy"), device), torch.enable_grad():
        double = copy.deepcopy(net).train()
        for module in double.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.training = False
            if isinstance(module, nn.modules.batchnorm._NormBase):
                module.track_running_stats = False
        yield double


def weights(net: nn.Module) -> Weights:
    """Return the trainable tensors of two or more dimensions by name: kernels and matrices, not biases or norms' scales.

    Raises UsageError where there is none.
    """
    found: Weights = {name: p for name, p in net.named_parameters() if p.requires_grad and p.dim() > 1}
    if not found:
        raise UsageError("the network has no trainable weights of two or more dimensions to be scored by")
    return found


def loss(output: Tensor, y: Tensor) -> Tensor:
    """Return the mean cross entropy to labels, or the mean squared error to numbers."""
    fit = nn.functional.mse_loss if y.is_floating_point() else nn.functional.cross_entropy
    return fit(output, y)


def slopes(of: Tensor, tensors: Sequence[Tensor], **more: Any) -> list[Tensor]:
    """Return the gradients of a number; zeros for tensors that it does not depend on."""
    found = torch.autograd.grad(of, tensors, allow_unused=True, **more)
    return [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, found, strict=True)]


def gaussian(net: nn.Module) -> nn.Module:
    """Draw the weights of a network anew from a standard normal, from the generator in force; norms become neutral."""
    with torch.no_grad():
        for name, p in net.named_parameters():
            if p.dim() > 1:
                p.copy_(torch.randn(p.shape, dtype=p.dtype).to(p.device))
            else:
                p.fill_(1.0 if name.endswith("weight") else 0.0)
    return net


class Features(TorchDispatchMode):
    """Notes, while a network runs, the features that its head reads.

    `found`: the input of the last pooling to one position, else of the last linear map; (B, C, H, W) in most networks.
    """

    POOLS = (
        "aten::mean",
        "aten::sum",
        "aten::amax",
        "aten::_adaptive_avg_pool",
        "aten::avg_pool",
        "aten::adaptive_max",
    )
    LINEAR = ("aten::addmm", "aten::mm", "aten::linear")

    def __init__(self) -> None:
        super().__init__()
        self.pooled: Tensor | None = None
        self.read: Tensor | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func._schema.name
        y = out[0] if isinstance(out, tuple) else out
        if name.startswith(self.POOLS) and args[0].dim() > 2 and y.dim() > 0 and len(y) == len(args[0]):
            if y.numel() // len(y) <= args[0].shape[1] or y.numel() // len(y) <= args[0].shape[-1]:
                self.pooled = args[0]
        elif name in self.LINEAR:
            self.read = args[1] if name == "aten::addmm" else args[0]
        return out

    @property
    def found(self) -> Tensor:
        """The features; raises UsageError where the network neither pools nor has a linear layer."""
        features = self.read if self.pooled is None else self.pooled
        if features is None:
            raise UsageError("the network neither pools nor has a linear layer, so that its last features are unknown")
        return features.detach()
