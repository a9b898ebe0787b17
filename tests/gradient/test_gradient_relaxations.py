"""Every relaxation and every decorator through the kit of its kind."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mimar.core.errors import UsageError
from mimar.core.streams import stream
from mimar.gradient.mix import MaxW
from mimar.gradient.relax import (
    Adversarial,
    Box,
    Categorical,
    Context,
    Dirichlet,
    EdgeSoftmax,
    FairRounds,
    GroupDropout,
    Gumbel,
    GumbelHard,
    PathDrop,
    Perturbed,
    Sigmoid,
    Softmax,
    SparseNoisy,
    Start,
    keeps,
)
from mimar.space import darts, nasbench201
from mimar.testing import check_relaxation

START = (("a", "y"), ("[b]", "p"))
SIMPLEX: list[tuple[Any, dict[str, Any]]] = [
    (Softmax(), {"pathwise": True}),
    (Softmax(temperature=0.3, scale=1.0), {"pathwise": True}),
    (Gumbel(), {"pathwise": True}),
    (Gumbel(curve="exponential", end=0.3), {"pathwise": True}),
    (GumbelHard(), {}),
    (Categorical(), {}),
    (Dirichlet(), {}),
    (SparseNoisy(), {}),
    (SparseNoisy(threshold=0.0, end=0.3), {"pathwise": True}),
    (SparseNoisy(noise=0.0, end=0.3, threshold=0.2), {"pathwise": True}),
    (GroupDropout(rate=0.3, free=("x", "y")), {"pathwise": True}),
    (GroupDropout(rate=0.0), {"same": Softmax(), "pathwise": True}),
    (FairRounds(), {}),
    (EdgeSoftmax(Softmax()), {"pathwise": True}),
    (EdgeSoftmax(GumbelHard()), {}),
    (EdgeSoftmax(FairRounds()), {}),
    (Start(Softmax(), START), {"same": Softmax(), "pathwise": True}),
    (Start(SparseNoisy(), START), {"same": SparseNoisy()}),
]
OFF: list[tuple[Any, dict[str, Any]]] = [
    (Sigmoid(), {"pathwise": True}),
    (Sigmoid(bias=-1.0), {"pathwise": True}),
    (Box(), {"pathwise": True}),
    (Perturbed(Softmax(scale=1.0)), {}),
    (Perturbed(Perturbed(Softmax()), radius=0.1), {}),
    (PathDrop(Softmax(), rate=0.6), {"pathwise": True}),
    (PathDrop(GroupDropout(rate=0.3, free=("x", "y")), rate=0.9, spare=("x",)), {"pathwise": True}),
    (PathDrop(Box(), rate=1.0), {"pathwise": True}),
    (Adversarial(Softmax()), {}),
    (Adversarial(GumbelHard(), steps=2), {}),
    (Adversarial(EdgeSoftmax(SparseNoisy())), {}),
    (EdgeSoftmax(PathDrop(Dirichlet())), {}),
]
INSIDE = (Softmax(), Gumbel(), GumbelHard(), Categorical(), SparseNoisy(), Sigmoid(), Dirichlet(), Box(), FairRounds())
RATE_0 = (Perturbed, PathDrop, Adversarial)


@pytest.mark.parametrize(("part", "promised"), SIMPLEX, ids=str)
def test_relaxations_obey_the_kit(part: Any, promised: dict[str, Any]) -> None:
    check_relaxation(part, **promised)


@pytest.mark.parametrize(("part", "promised"), OFF, ids=str)
def test_relaxations_off_the_simplex_obey_the_kit(part: Any, promised: dict[str, Any]) -> None:
    check_relaxation(part, simplex=False, **promised)


@pytest.mark.parametrize("inside", INSIDE, ids=str)
@pytest.mark.parametrize("kind", RATE_0)
def test_decorators_at_rate_0_are_the_identity(kind: Any, inside: Any) -> None:
    rate = {"rate": 0.0} if kind is PathDrop else {"radius": 0.0}
    check_relaxation(kind(inside, **rate), simplex=not isinstance(inside, Box | Sigmoid), same=inside)


@pytest.mark.parametrize("kind", RATE_0)
def test_a_decorator_that_is_no_identity_is_caught(kind: Any) -> None:
    with pytest.raises(AssertionError, match=r"scope: inner\): the tensors differ"):
        check_relaxation(kind(Softmax()), simplex=False, same=Softmax())


@pytest.mark.parametrize("part", [p for p, _ in SIMPLEX + OFF if not isinstance(p, Box)], ids=str)
@pytest.mark.parametrize("space", [darts(nodes=3), nasbench201()], ids=["darts", "nasbench201"])
def test_relaxations_serve_the_published_spaces_in_single_precision(part: Any, space: Any) -> None:
    if isinstance(part, Start):
        part = Start(part.inside, (("*", "skip_connect"),))
    if isinstance(part, Adversarial):
        part = part.inside
    alphas = part.init(space, stream(0))
    assert set(alphas) - {c.name for c in space.choices} == set()
    gates = part.gates(alphas, Context(space, 0.9, stream(1), held=keeps(part, space)))
    for choice in space.choices:
        gate = gates[choice.name]
        assert gate.dtype == torch.float32 and gate.shape == (len(choice.options),) and bool(torch.isfinite(gate).all())


DRAWING = (Gumbel(), GumbelHard(), Categorical(), SparseNoisy(), Dirichlet(), GroupDropout(0.9), PathDrop(Softmax()))


@pytest.mark.parametrize("part", DRAWING, ids=str)
def test_noise_asks_for_a_stream(part: Any) -> None:
    space = nasbench201()
    with pytest.raises(ValueError, match="needs a stream in its context"):
        part.gates(part.init(space, stream(0)), Context(space, 0.5, held=keeps(part, space)))


NOISY = (*DRAWING, Perturbed(Softmax()), GroupDropout(rate=0.5), EdgeSoftmax(Gumbel()), Start(Gumbel(), ()))
STILL = (Softmax(), Sigmoid(), Box(), FairRounds(), Adversarial(Softmax()), EdgeSoftmax(Box()), GroupDropout(rate=0.0))


@pytest.mark.parametrize("part", NOISY + STILL, ids=str)
def test_noise_is_another_one_under_another_stream(part: Any) -> None:
    space = nasbench201()
    alphas = part.init(space, stream(0))

    def drawn(i: int) -> torch.Tensor:
        ctx = Context(space, 0.9, stream(i), held=keeps(part, space), loss=lambda g: torch.stack([*g.values()]).sum())
        return torch.cat([*part.gates(alphas, ctx).values()])

    assert torch.equal(drawn(0), drawn(1)) == (part in STILL)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Gumbel(start=0.0), "start"),
        (lambda: GumbelHard(end=-1.0), "end"),
        (lambda: Gumbel(curve="steps"), "curve"),  # type: ignore[arg-type]
        (lambda: SparseNoisy(threshold=1.5), "threshold"),
        (lambda: SparseNoisy(limit=0.5), "limit"),
        (lambda: PathDrop(Softmax(), rate=1.1), "rate"),
        (lambda: Adversarial(Softmax(), steps=0), "steps"),
        (lambda: GroupDropout(rate=-0.1), "rate"),
        (lambda: MaxW(through=1), "through"),  # type: ignore[arg-type]
    ],
)
def test_fields_out_of_range_are_named(make: Any, said: str) -> None:
    with pytest.raises(UsageError, match=rf"\.{said} is "):
        make()
