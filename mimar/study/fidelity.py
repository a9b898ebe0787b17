"""How near each hypergradient comes to a long unroll: the behaviour check of the catalogue's section 1.5.

A small supernet (three cells of the NAS-Bench-201 space, 8 channels) is trained on digits until its loss settles, with
the alphas at rest. Then every estimator and the references, plain gradient steps differentiated through, are computed
at the same weights on the same batches; the figure is the cosine between both gradients. The catalogue's reference has
30 steps at a low rate; a longer one shows how far that still is from the implicit gradient.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from mimar.core.errors import DivergenceWarning
from mimar.core.streams import stream
from mimar.core.trees import dot, norm
from mimar.gradient.hypergradient import (
    ConjugateGradient,
    FirstOrder,
    Hypergradient,
    Neumann,
    Unrolled,
)
from mimar.gradient.regularise import WeightDecay
from mimar.gradient.relax import Softmax
from mimar.search.lab import Lab
from mimar.search.losses import BatchLoss

NET = "nasbench201:cells=1,channels=8"  # one cell in each of the three stages
RATE = 0.025  # the learning rate at which γ = "lr" and ξ are taken
REFERENCES = {"30 steps": (30, RATE), "100 steps at 4 times the rate": (100, 4 * RATE)}

ESTIMATORS: Mapping[str, Hypergradient] = {
    "first order": FirstOrder(),
    "second order": Unrolled(steps=1),
    "neumann K=2, lr": Neumann(terms=2, step="lr"),
    "neumann K=10, lr": Neumann(terms=10, step="lr"),
    "neumann K=10, auto": Neumann(terms=10, step="auto"),
    "neumann K=10, auto, damping 0.1": Neumann(terms=10, step="auto", damping=0.1),
    "neumann K=10, auto, gauss-newton": Neumann(terms=10, step="auto", curvature="gauss-newton"),
    "conjugate gradient 10, damping 0.1": ConjugateGradient(iterations=10, damping=0.1),
}


def cosines(seed: int, *, epochs: int = 30, batch: int = 256) -> dict[str, Any]:
    """Return {estimator: {reference: cosine, share, growth}} for one seed, and the losses at which it was measured."""
    import torch

    lab = Lab(NET, "digits", seed, "cpu")
    data, net = lab.data, lab.supernet
    relaxation = Softmax(scale=0.5)  # away from the uniform point, where symmetric options have equal gradients
    alphas = relaxation.init(lab.space, stream(seed, "alphas"))
    names, values = list(alphas), tuple(alphas.values())
    weights = [w.detach().clone().requires_grad_() for w in net.weights]
    optimiser = torch.optim.SGD(weights, lr=0.05, momentum=0.9)
    common: dict[str, Any] = {
        "supernet": net,
        "relaxation": relaxation,
        "names": names,
        "data": data,
        "buffers": net.buffers,
    }
    terms = (WeightDecay(3e-4),)
    loss = torch.zeros(())
    for epoch in range(epochs):
        optimiser.param_groups[0]["lr"] = 0.05 * (1 - epoch / epochs) + 1e-3
        for i, b in enumerate(data.batches("train", stream(seed, "fidelity", epoch), size=64, drop_last=True)):
            loss = BatchLoss(batch=b, noise=(seed, epoch, i), terms=terms, **common)(weights, values)
            for w, g in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                w.grad = g
            optimiser.step()
    held = tuple(w.detach() for w in weights)
    train, valid = (data.sample(s, stream(seed, "fidelity", s), size=batch) for s in ("train", "valid"))
    inner = BatchLoss(batch=train, noise=(seed, "inner"), terms=terms, **common)
    outer = BatchLoss(batch=valid, noise=(seed, "outer"), **common)
    references = {
        name: Unrolled(steps=n).explain(outer, inner, held, values, lr=lr) for name, (n, lr) in REFERENCES.items()
    }
    found: dict[str, Any] = {}
    for name, part in ESTIMATORS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DivergenceWarning)  # growth is one of the figures
            one = part.explain(outer, inner, held, values, lr=RATE)
        near = {ref: _cosine(one.gradients, r.gradients) for ref, r in references.items()}
        found[name] = {**near, "growth": one.growth, "share": one.share}
    return {
        "seed": seed,
        "estimators": found,
        "train_loss": float(inner(held, values)),
        "valid_loss": float(outer(held, values)),
        "references": list(references),
        "reference_shares": [r.share for r in references.values()],
    }


def _cosine(a: Any, b: Any) -> float:
    size = norm(a) * norm(b)
    return float(dot(a, b)) / size if size > 0 else 0.0
