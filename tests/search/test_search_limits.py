"""What a user's model and task may be, and what is said at the start where they may not."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mimar
from mimar.core.describe import describe
from mimar.core.errors import SpaceError, UsageError
from mimar.core.events import Record
from mimar.core.optimisers import Sgd
from mimar.evaluators import Retrain
from mimar.gradient.hypergradient import FirstOrder
from mimar.recipes import darts_1st, idarts, random, random_ws
from mimar.search.finish import summary
from mimar.tasks import Measure

spec = importlib.util.spec_from_file_location("tiny", Path(__file__).parent / "tiny.py")
assert spec and spec.loader
tiny = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tiny)

HEAD = (nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 10))


def options(**more: Any) -> dict[str, Any]:
    return tiny.options(**{"epochs": 1, "baseline": 1, "retrain": Retrain(epochs=1, batch=40), **more})


def test_frozen_parameters_stay() -> None:
    model = tiny.model()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    found = idarts.recipe(**options(net=model)).run()
    assert found.metrics["params"] > 0
    supernet = mimar.supernet.Supernet(model)
    assert "0.weight" not in supernet.weight_names
    assert torch.equal(model[0].weight, before)


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def only_some() -> nn.Module:
    node = mimar.SomeOf({"a": nn.Conv2d(4, 4, 1), "b": nn.Conv2d(4, 4, 3, padding=1), "c": nn.Identity()}, 2, "node")
    return nn.Sequential(nn.Conv2d(1, 4, 1), node, *HEAD)


def unresettable() -> nn.Module:
    body = mimar.OneOf({"scale": Scale(), "skip": nn.Identity()}, name="body")
    return nn.Sequential(nn.Conv2d(1, 4, 1), body, Scale(), *HEAD)


@pytest.mark.parametrize(
    ("more", "error", "text"),
    [
        ({"net": only_some()}, SpaceError, "nothing to relax"),
        ({"net": unresettable()}, UsageError, "reset_parameters"),
        ({"retrain": Retrain(batch=1000)}, UsageError, "retrain.batch is 1000"),
        ({"retrain": Retrain(auxiliary=0.4)}, UsageError, "auxiliary_tap"),
        ({"retrain": Retrain(net="s2:cells=3,channels=4")}, SpaceError, "other choices"),
    ],
)
def test_what_would_end_the_run_later_is_said_at_the_start(
    more: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        idarts.recipe(**options(**more)).start()


def test_a_model_of_some_only_is_for_the_others() -> None:
    given = {k: v for k, v in options(net=only_some()).items() if k not in ("inner_steps",)}
    assert random_ws.recipe(candidates=2, **given).run().architecture["node"]


@pytest.mark.parametrize(
    "wrong", [{"baseline": -3}, {"baseline": "x"}, {"seed": "a"}, {"device": torch.device("cpu")}, {"batch": 1}]
)
def test_reserved_keywords_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        idarts.recipe(**options(**wrong))


def test_decay_belongs_to_the_terms() -> None:
    from dataclasses import replace

    with pytest.raises(UsageError, match="WeightDecay"):
        replace(idarts.recipe(), inner=Sgd(decay=1e-3))


class Errors:
    """A bound task that reports an error rate, to be made small."""

    def __init__(self, bound: Any, task: Any) -> None:
        self.bound, self.task = bound, task

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bound, name)

    def evaluate(self, *args: Any, **options: Any) -> dict[str, float]:
        found = self.bound.evaluate(*args, **options)
        return {"error": 1 - found["accuracy"], "loss": found["loss"]}


@dataclass(frozen=True)
class ErrorRate:
    name, shape, classes, augment = "error-rate", (1, 8, 8), 10, None
    measures = (Measure("error", "min", "fraction"), Measure("loss", "min", "nats"))

    def split(self, seed: int) -> Any:
        return Errors(mimar.tasks.digits(limit=200).split(seed), self)


@pytest.mark.parametrize("recipe", [darts_1st.recipe, lambda **o: random_ws.recipe(candidates=3, **o)])
def test_another_measure_is_minimised(recipe: Any) -> None:
    found = recipe(**options(net=tiny.model(), task=ErrorRate(), baseline=2)).run()
    assert {"test_error", "valid_error"} <= set(found.metrics)
    assert "test_accuracy" not in found.metrics
    assert found.baseline["random"]["n"] == 2


def test_the_smallest_error_wins() -> None:
    drawn = {
        k: v for k, v in options(net=tiny.model(), task=ErrorRate()).items() if k not in ("epochs", "batch", "baseline")
    }
    search = random.recipe(queries=3, **drawn)
    events = [e.data for e in search.events(search.start()) if isinstance(e, Record)]
    trained = [e["metrics"] for e in events if e["event"] == "trained"]
    assert events[-1]["result"]["metrics"] == min(trained, key=lambda m: m["valid_error"])
    assert (
        summary([{"metrics": m} for m in trained], ErrorRate.measures[0])["best"]
        == events[-1]["result"]["metrics"]["test_error"]
    )


def test_a_plain_class_has_the_same_digest_in_another_process() -> None:
    code = """
import sys
class Task:
    def __init__(self): self.level = 3
from mimar.core.describe import describe
print(describe(Task()), end="")
"""
    texts = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(texts) == 1
    assert "digest" in texts.pop()
    assert describe(FirstOrder()) == {"part": "mimar.gradient.hypergradient.first.FirstOrder"}


def test_a_run_goes_on_elsewhere_from_python(tmp_path: Path) -> None:
    search = idarts.recipe(**options(net=tiny.model()))
    first = search.run(tmp_path / "run")
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert search.run(tmp_path / "run", resume=True, inexact=True).data == first.data
    finally:
        torch.set_num_threads(threads)
