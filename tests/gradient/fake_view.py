"""A pass of a small network in float64, as terms see it: two cells, of two choices and of one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from mimar.core.streams import stream
from mimar.core.trees import Tensors
from mimar.gradient.regularise import View
from mimar.space import Choice, Space
from mimar.supernet import Gates

OPTIONS = ("none", "skip_connect", "conv")
SPACE = Space([Choice("a/0-1", OPTIONS), Choice("a/1-2", OPTIONS[1:]), Choice("b/0-1", OPTIONS)])
NAMES = tuple(c.name for c in SPACE.choices)
WEIGHT_NAMES = ("a.0", "a.1", "b.0", "head")
OWNERS = {"a.0": (("a/0-1", 2),), "a.1": (("a/1-2", 1),), "b.0": (("b/0-1", 2),), "head": ()}
COSTS = {
    "params": {"a/0-1": (0.0, 0.0, 9.0), "a/1-2": (0.0, 9.0), "b/0-1": (0.0, 0.0, 18.0)},
    "macs": {"a/0-1": (0.0, 1.0, 90.0), "a/1-2": (2.0, 80.0), "b/0-1": (0.0, 3.0, 70.0)},
}


def drawn(name: str, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=stream(3, name))


def start() -> tuple[Tensors, Tensors]:
    """Return weights and alphas."""
    weights = (*(drawn(n, 3, 3) for n in WEIGHT_NAMES[:3]), drawn("head", 3, 4))
    return weights, tuple(drawn(c.name, len(c.options)) for c in SPACE.choices)


def softmax(alphas: Tensors) -> Gates:
    return Gates({n: torch.softmax(a, 0) for n, a in zip(NAMES, alphas, strict=True)})


def network(w: Tensors, gates: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """Return logits (B, 4) of x (B, 3)."""
    for name, weight in zip(NAMES, w[:3], strict=True):
        gate = gates[name]
        x = gate[-2] * x + gate[-1] * torch.tanh(x @ weight)
    return x @ w[3]


def view(
    weights: Tensors,
    alphas: Tensors,
    *,
    gates: Callable[[Tensors], Gates] = softmax,
    held: dict[str, Tensor] | None = None,
    **changed: Any,
) -> View:
    """Return the view of a pass on the first batch; the second is that of the other half."""
    batches = [(drawn(f"x{i}", 5, 3), drawn(f"y{i}", 5, 4).argmax(1)) for i in range(2)]
    own = gates(alphas)

    def run(w: Tensors, g: Mapping[str, Tensor], batch: int) -> tuple[tuple[Tensor, ...], Tensor]:
        x, y = batches[batch]
        logits = network(w, g, x)
        return (logits,), torch.nn.functional.cross_entropy(logits, y)

    def again(weights: Any = None, gates: Any = None, buffers: Any = None, *, w: Tensors = weights) -> Any:
        return run(w if weights is None else weights, own if gates is None else gates, 0)

    outputs, loss = run(weights, own, 0)
    parts = {
        "space": SPACE,
        "names": NAMES,
        "gates": own,
        "loss": loss,
        "outputs": outputs,
        "progress": 0.5,
        "held": {} if held is None else held,
        "settings": {},
        "scope": "outer",
        "relax": gates,
        "again": again,
        "other": lambda: run(weights, own, 1)[1],
        "costs": lambda m: {n: torch.tensor(c, dtype=torch.float64) for n, c in COSTS[m].items()},
        "weight_names": WEIGHT_NAMES,
        "owners": OWNERS,
    }
    return View(**(parts | changed))  # type: ignore[arg-type]


def one_hot(*options: int) -> Callable[[Tensors], Gates]:
    """Return the relaxation that always gives these options."""
    eyes = [torch.eye(len(c.options), dtype=torch.float64)[o] for c, o in zip(SPACE.choices, options, strict=True)]
    return lambda alphas: Gates({n: e + 0 * a for n, e, a in zip(NAMES, eyes, alphas, strict=True)})


def close(a: Tensor, b: Tensor, tolerance: float = 1e-9) -> bool:
    return math.isclose(float(a), float(b), rel_tol=tolerance, abs_tol=tolerance)
