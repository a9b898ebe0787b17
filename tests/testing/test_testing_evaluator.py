"""The kit of evaluators finds planted errors, and says which law they break."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from mimar.core.streams import Draws
from mimar.evaluators.table import Table
from mimar.space import Choice, Measurement, Proposal, Space
from mimar.tasks.protocol import Measure
from mimar.testing import check_evaluator

SPACE = Space([Choice("width", (8, 16), "size"), Choice("norm", ("batch", "layer"))])
TABLE = Table.from_arrays(
    SPACE,
    {"valid_accuracy": [[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]]},
    known={"params": [1, 2, 3, 4]},
    final={"test_accuracy": [1, 2, 3, 4]},
    seconds=[[1.0] * 4, [4.0] * 4],
    fidelities=(1, 4),
    resumes=True,
)


@dataclass
class Broken:
    """A table with single answers replaced: by (name of a method or attribute, value or function of the right answer)."""

    name: str
    change: Any

    def __getattr__(self, name: str) -> Any:
        right = getattr(TABLE, name)
        if name != self.name:
            return right
        if not callable(right):
            return self.change
        return lambda *given, **more: self.change(right, *given, **more)


def answered(change: Callable[[Measurement], Measurement]) -> Callable[..., Measurement]:
    return lambda right, *given, **more: change(right(*given, **more))


def tries(error: Exception) -> Callable[..., Any]:
    def fail(right: Any, proposal: Proposal, *given: Any, **more: Any) -> Any:
        if not SPACE.valid(proposal.architecture):
            raise error
        return right(proposal, *given, **more)

    return fail


COUNTER = iter(range(10**9))

PLANTED: list[tuple[str, Any, str]] = [
    ("measures", (), "has a measure at least"),
    ("measures", (Measure("a", "max", ""), Measure("a", "min", "")), "two measures have the same name"),
    ("measures", (Measure("valid_accuracy", "up", ""),), "the direction of 'valid_accuracy' is 'up'"),
    ("measures", (*TABLE.measures, Measure("macs", "min", "1")), "the measurement has no 'macs'"),
    ("fidelities", (4.0, 1.0), r"the fidelities \[4.0, 1.0\] do not increase"),
    ("unit", "", "the unit of costs has no name"),
    ("prepare", lambda right, seed: float(next(COUNTER)), "prepare costs something else the second time"),
    ("evaluate", answered(lambda r: replace(r, cost=-1.0)), "a measurement costs -1.0"),
    ("evaluate", answered(lambda r: replace(r, cost=float("nan"))), "gave other figures|costs nan"),
    (
        "evaluate",
        answered(lambda r: replace(r, status="fine")),
        "the status 'fine' is none of ok, failed, timeout, infeas",
    ),
    (
        "evaluate",
        answered(lambda r: replace(r, metrics={**r.metrics, "params": 7.0})),
        "'params' is another number in the",
    ),
    (
        "evaluate",
        answered(lambda r: replace(r, metrics={**r.metrics, "valid_accuracy": float("inf")})),
        "'valid_accuracy' is inf; it must be finite",
    ),
    (
        "evaluate",
        answered(lambda r: replace(r, metrics={**r.metrics, "valid_accuracy": float(next(COUNTER))})),
        "gave other figures",
    ),
    ("evaluate", answered(lambda r: replace(r, curve=[0.0])), "the curve ends with 0.0, and the figure is"),
    (
        "evaluate",
        lambda right, proposal, fidelity=None, rng=None: right(proposal, None, rng),
        "measured with the fidelity beside the proposal|unknown fidelity 4.5 is no UsageError",
    ),
    (
        "evaluate",
        answered(lambda r: replace(r, cost=5.0 / (r.cost or 1.0))),
        "the fidelity 4 costs 1.25, less than a lower",
    ),
    ("evaluate", answered(lambda r: replace(r, status="ok")), "another space was measured"),
    ("evaluate", tries(KeyError("width")), "an architecture of another space is a status, not KeyError"),
    ("costs", lambda right, arch: {**right(arch), "params": 9.0}, "'params' is another number in the measurement"),
    ("costs", lambda right, arch: {"params": float("nan")}, "the known cost 'params' is nan"),
    (
        "costs",
        lambda right, arch: right(arch) or {"params": 0.0},
        "costs are known of an architecture of another space",
    ),
    ("verdict", lambda right, arch: {"params": 3.0}, r"the verdict repeats \['params'\]"),
    ("verdict", lambda right, arch: {"test": next(COUNTER)}, "the verdict is another one the second time"),
    ("digest", lambda right: str(next(COUNTER)), "the digest is another one the second time"),
]


@pytest.mark.parametrize(("name", "change", "says"), PLANTED, ids=[f"{i}-{p[0]}" for i, p in enumerate(PLANTED)])
def test_planted_errors_are_found(name: str, change: Any, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check_evaluator(Broken(name, change))


def test_a_global_generator_is_noticed() -> None:
    def draws(right: Any, *given: Any, **more: Any) -> Any:
        random.random()
        return right(*given, **more)

    with pytest.raises(AssertionError, match="drew from Python's global generator"):
        check_evaluator(Broken("evaluate", draws), elsewhere=False)


def test_an_unknown_fidelity_must_be_told() -> None:
    def lenient(right: Any, proposal: Proposal, fidelity: float | None = None, rng: Draws | None = None) -> Any:
        level = proposal.fidelity if fidelity is None else fidelity
        return right(Proposal(proposal.architecture), level if level in TABLE.fidelities else None, rng)

    with pytest.raises(AssertionError, match="the unknown fidelity 4.5 is no UsageError"):
        check_evaluator(Broken("evaluate", lenient), elsewhere=False)


class Hashing:
    """A digest that depends on the hash of a text, which differs from process to process."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(TABLE, name)

    def digest(self) -> str:
        return str(hash("table"))


def test_a_digest_that_depends_on_hashing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(__import__("pathlib").Path(__file__).parent))
    with pytest.raises(AssertionError, match="here and .* in another process"):
        check_evaluator(Hashing())


def test_a_right_one_passes() -> None:
    check_evaluator(TABLE)
    check_evaluator(TABLE, architectures=list(SPACE.enumerate()), elsewhere=False)
