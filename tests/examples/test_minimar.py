"""The teaching twin and the library go the same way, step by step."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

import mimar
from mimar.core.events import Step
from mimar.core.optimisers import Sgd
from mimar.gradient.hypergradient import FirstOrder, Hypergradient, Neumann
from mimar.gradient.regularise import WeightDecay
from mimar.gradient.schedule import Alternate
from mimar.recipes import darts_1st, idarts
from mimar.search import Bilevel

STEPS, LR = 60, 0.1
ROOT = Path(__file__).parents[2]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("minimar", ROOT / "examples" / "minimar.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


minimar = load()


class Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.square()


def model() -> nn.Module:
    options = {"identity": nn.Identity(), "tanh": nn.Tanh(), "relu": nn.ReLU(), "square": Square()}
    choice = mimar.OneOf(options, name="activation")
    return nn.Sequential(nn.Flatten(), nn.Linear(2, 8), choice, nn.Linear(8, 2))


def library(recipe: Bilevel) -> tuple[list[Tensor], dict[str, Tensor], tuple[tuple[Tensor, Tensor], ...]]:
    """Return the alphas after every alpha step, the tensors at the start, and the two halves of the data."""
    state = recipe.start()
    begun = state.snapshot()
    data = recipe.lab().data
    halves = tuple(next(iter(data.batches(s, None, size=data.size(s)))) for s in ("train", "valid"))
    path = []
    for event in recipe.events(state):
        if isinstance(event, Step) and not event.boundary and event.done % recipe.schedule.inner_steps == 0:
            path.append(state.tensors["alphas/activation"].clone())
        if len(path) == STEPS // recipe.schedule.inner_steps:
            break
    return path, begun.tensors, halves


@pytest.mark.parametrize(
    ("recipe", "part", "twin"),
    [(darts_1st.recipe, FirstOrder(), minimar.first_order), (idarts.recipe, Neumann(terms=2), minimar.idarts)],
    ids=["first order", "idarts"],
)
def test_same_alphas(recipe: Callable[..., Bilevel], part: Hypergradient, twin: Callable[..., Tensor]) -> None:
    x, y = minimar.chessboard(300, seed=0)
    task = mimar.tasks.arrays(x.view(300, 1, 1, 2), y)
    found = recipe(net=model(), task=task, epochs=STEPS, batch=task.split(0).size("train"), baseline=0)
    assert found.hypergradient == part  # the recipe as it stands, but for the lines that the toy does not have
    found = replace(
        found,
        inner=Sgd(lr=LR, clip=0.0),
        terms=(WeightDecay(minimar.DECAY),),
        schedule=Alternate(epochs=STEPS, inner_steps=found.schedule.inner_steps, floor=LR),
        outer=replace(found.outer, lr=0.02, travel=0.0),
    )
    ours, begun, (train, valid) = library(found)
    weights = tuple(begun[f"weights/{n}"] for n in ("1.weight", "1.bias", "3.weight", "3.bias"))
    flat = [(b[0].flatten(1), b[1]) for b in (train, valid)]
    inner_steps = found.schedule.inner_steps
    theirs = minimar.search(
        twin, weights, begun["alphas/activation"], *flat, steps=STEPS, lr=LR, inner_steps=inner_steps, alpha_lr=0.02
    )
    assert len(ours) == len(theirs) == STEPS // inner_steps
    assert float((theirs[-1] - theirs[0]).abs().max()) > 0.05  # something moved
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-5)


def test_the_two_hypergradients_differ() -> None:
    train, valid = minimar.chessboard(200, seed=0), minimar.chessboard(200, seed=1)
    weights, alphas = minimar.initial(8, seed=0)
    ends = [
        minimar.search(part, weights, alphas, train, valid, steps=80)[-1]
        for part in (minimar.first_order, minimar.idarts)
    ]
    assert float((ends[0] - ends[1]).abs().max()) > 1e-3


def test_minimar_is_short_and_needs_torch_only(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "examples" / "minimar.py").read_text()
    assert len(text.splitlines()) <= 200
    imported = {line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert imported <= {"__future__", "math", "collections", "torch"}
    minimar.main()
    assert "→ square" in capsys.readouterr().out


def test_reading_order_is_short() -> None:
    order = (
        "examples/minimar.py",
        "mimar/recipes/idarts.py",
        "mimar/search/bilevel.py",
        "mimar/gradient/hypergradient/neumann.py",
        "mimar/supernet/reference.py",
    )
    assert sum(len((ROOT / name).read_text().splitlines()) for name in order) < 900
