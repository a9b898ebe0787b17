"""minimar: DARTS (first order) and iDARTS in one file, on a toy, with torch alone.

The toy: points in the plane, two classes in the pattern of a chessboard (XOR). A network of one hidden layer searches its
activation among {identity, tanh, relu, square}; the weights learn on one half of the data, the alphas on the other.

    logits = W2 · Σ_o softmax(α)_o · act_o(W1 x + b1) + b2

    first order:  g = ∂L2/∂α
    iDARTS:       g = ∂L2/∂α − γ (∂²L1/∂α∂w) Σ_{j=0..K} (I − γH)^j ∂L2/∂w,     H = ∂²L1/∂w∂w

L1 is the training loss, L2 the validation loss. Run it: `python examples/minimar.py`. The library's own recipes give the
same alphas step by step (tests/examples/test_minimar.py), so this file is the map of everything else in mimar.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

Tensors = tuple[Tensor, ...]
Data = tuple[Tensor, Tensor]  # x (N, 2), y (N,)

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda h: h,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "square": torch.square,
}
DECAY = 3e-4  # of the weights: part of L1, so that the Hessian sees it


# ---------------------------------------------------------------------------------------------------------- the problem
def chessboard(n: int, seed: int) -> Data:
    """Return n points of the square [−1, 1]² and their class: 1 where the signs of both coordinates agree."""
    x = 2 * torch.rand(n, 2, generator=torch.Generator().manual_seed(seed)) - 1
    return x, (x[:, 0] * x[:, 1] > 0).long()


def initial(hidden: int, seed: int) -> tuple[Tensors, Tensor]:
    """Return fresh weights (W1, b1, W2, b2) and alphas near zero."""
    rng = torch.Generator().manual_seed(seed)
    shapes = ((hidden, 2), (hidden,), (2, hidden), (2,))
    weights = tuple(torch.randn(s, generator=rng) / math.sqrt(s[-1]) for s in shapes)
    return weights, 1e-3 * torch.randn(len(ACTIVATIONS), generator=rng)


def network(weights: Tensors, alphas: Tensor, x: Tensor) -> Tensor:
    """Return the logits (N, 2) of the relaxed network: all activations at once, mixed by softmax(alphas)."""
    w1, b1, w2, b2 = weights
    h = x @ w1.T + b1  # (N, hidden)
    mixed = sum(p * act(h) for p, act in zip(torch.softmax(alphas, 0), ACTIVATIONS.values(), strict=True))
    return mixed @ w2.T + b2


def inner_loss(weights: Tensors, alphas: Tensor, train: Data) -> Tensor:
    """L1: what the weights minimise."""
    decay = 0.5 * DECAY * sum(w.square().sum() for w in weights)
    return cross_entropy(network(weights, alphas, train[0]), train[1]) + decay


def outer_loss(weights: Tensors, alphas: Tensor, valid: Data) -> Tensor:
    """L2: what the alphas minimise."""
    return cross_entropy(network(weights, alphas, valid[0]), valid[1])


# ---------------------------------------------------------------------------------------------------- the hypergradients
def first_order(weights: Tensors, alphas: Tensor, train: Data, valid: Data, lr: float) -> Tensor:
    """DARTS, first order: the weights are taken as constants."""
    (g,) = torch.autograd.grad(outer_loss(weights, alphas, valid), alphas)
    return g


def idarts(weights: Tensors, alphas: Tensor, train: Data, valid: Data, lr: float, terms: int = 2) -> Tensor:
    """iDARTS: K = `terms` Hessian products and one mixed product, with γ = the weights' learning rate."""
    *v, direct = torch.autograd.grad(outer_loss(weights, alphas, valid), (*weights, alphas))
    slope = torch.autograd.grad(inner_loss(weights, alphas, train), weights, create_graph=True)

    def product(u: list[Tensor], inputs: Tensors) -> list[Tensor]:
        """Return the derivative of ⟨∂L1/∂w, u⟩: H u for inputs = weights, (∂²L1/∂α∂w) u for inputs = alphas."""
        return list(torch.autograd.grad(slope, inputs, u, retain_graph=True))

    total, u = v, v
    for _ in range(terms):
        u = [a - lr * b for a, b in zip(u, product(u, weights), strict=True)]  # u ← (I − γH) u
        total = [a + b for a, b in zip(total, u, strict=True)]
    (implicit,) = product(total, (alphas,))
    return direct - lr * implicit


# ------------------------------------------------------------------------------------------------------------ the search
def search(
    hypergradient: Callable[..., Tensor],
    weights: Tensors,
    alphas: Tensor,
    train: Data,
    valid: Data,
    *,
    steps: int,
    inner_steps: int = 4,
    lr: float = 0.1,
    alpha_lr: float = 0.02,
) -> list[Tensor]:
    """Return the alphas after every alpha step: `inner_steps` weight steps, then one hypergradient and one Adam step."""
    weights = tuple(w.clone().requires_grad_() for w in weights)
    alphas = alphas.clone().requires_grad_()
    descend = torch.optim.SGD(weights, lr=lr, momentum=0.9)
    move = torch.optim.Adam([alphas], lr=alpha_lr, betas=(0.5, 0.999))
    path = []
    for step in range(1, steps + 1):
        for w, g in zip(weights, torch.autograd.grad(inner_loss(weights, alphas, train), weights), strict=True):
            w.grad = g
        descend.step()
        if step % inner_steps == 0:
            alphas.grad = hypergradient(weights, alphas, train, valid, lr)
            move.step()
            path.append(alphas.detach().clone())
    return path


def main() -> None:
    """Search with both hypergradients and print where the gates went."""
    train, valid = chessboard(200, seed=0), chessboard(200, seed=1)
    for name, hypergradient in (("first order", first_order), ("iDARTS", idarts)):
        weights, alphas = initial(hidden=8, seed=0)
        path = search(hypergradient, weights, alphas, train, valid, steps=400)
        gates = torch.softmax(path[-1], 0)
        shown = "  ".join(f"{o} {p:.3f}" for o, p in zip(ACTIVATIONS, gates.tolist(), strict=True))
        print(f"{name:12} {shown}   → {list(ACTIVATIONS)[int(gates.argmax())]}")


if __name__ == "__main__":
    main()
