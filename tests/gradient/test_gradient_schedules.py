"""Schedules: the laws that all obey, the stopping rules on series written by hand, and the gate on gradients."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from mimar.core.curves import Cosine, CosinePower
from mimar.core.describe import describe, rebuild
from mimar.core.errors import UsageError
from mimar.core.streams import stream
from mimar.gradient.schedule import (
    Alternate,
    Curved,
    GradientGated,
    History,
    InheritScores,
    Phase,
    Phases,
    RankStable,
    Rising,
    RisingBack,
    Rollback,
    SkipCount,
    Stage,
    Stop,
    Until,
    after_epoch,
    keeps,
    past,
    phase,
    probes,
)

DENSE_SCORES_FINE = (
    Stage(2, rest=("scores",), settings={"keep": 1.0}, rate=0.25),
    Stage(1, only=("scores",), settings={"keep": 0.05}, begin=InheritScores()),
    Stage(2, rest=("scores",), settings={"keep": 0.05}, rate=0.25),
)
RULES = [SkipCount(), SkipCount(3, cell="normal"), RankStable(3), Rising(), RisingBack()]
UNGATED: list[Any] = [
    Alternate(epochs=15),
    Alternate(epochs=7, inner_steps=3, warmup=2),
    Curved(Alternate(epochs=15), CosinePower(2.0, 0.1)),
    Phases(Alternate(epochs=10, inner_steps=2), DENSE_SCORES_FINE),
    *(Until(Alternate(epochs=15, warmup=1), rule) for rule in RULES),
    Until(Curved(Phases(Alternate(epochs=10), DENSE_SCORES_FINE)), Rising()),
]
GATED: list[Any] = [
    GradientGated(epochs=15, frequency=3.0),
    GradientGated(epochs=9, warmup=2, start=0.5),
    Until(Curved(Phases(GradientGated(epochs=10), DENSE_SCORES_FINE)), SkipCount()),
]


def told(epochs: int, seed: int = 0) -> list[dict[str, Any]]:
    """Return a history at random, with everything that a schedule may ask for."""
    rng = stream(seed, "history")
    numbers = torch.rand(epochs, 3, generator=rng, dtype=torch.float64).tolist()
    return [
        {
            "epoch": e,
            "skips": int(4 * a),
            "skips_by": {"normal": int(4 * a)},
            "ranks": {"x": ["a", "b"][:: 1 - 2 * (b > 0.8)]},
        }
        | {"eigenvalue": c, "entropy": a, "settings": {}}
        for e, (a, b, c) in enumerate(numbers, 1)
    ]


# --- laws -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", UNGATED + GATED, ids=str)
def test_a_schedule_is_a_function_of_counters_of_what_is_held_and_of_the_history(part: Any) -> None:
    per_epoch = 4
    norms = (0.1 + torch.rand(part.epochs * per_epoch, generator=stream(0))).tolist()

    def asked(resume: int) -> tuple[list[bool], dict[str, float]]:
        """Ask at every step, by an equal part with a copy of what was held from step `resume` on."""
        plan, held, found = part, keeps(part), []
        for step, norm in enumerate(norms):
            if step == resume:
                plan, held = rebuild(describe(part)), {n: t.clone() for n, t in held.items()}
            found.append(plan.outer_due(step, per_epoch, norm, held))
        return found, {n: float(t) for n, t in held.items()}

    assert asked(-1) == asked(7) == asked(len(norms) // 2)
    for epoch in range(1, part.epochs + 1):
        history = told(part.epochs)[:epoch]
        before = copy.deepcopy(history)
        assert after_epoch(part, history) == after_epoch(rebuild(describe(part)), history)
        assert history == before
    assert all(t.shape == () and t.dtype == torch.float64 for t in keeps(part).values())


@pytest.mark.parametrize("part", UNGATED + GATED, ids=str)
def test_rates_are_positive_and_never_above_the_top(part: Any) -> None:
    for top in (0.1, 0.025, 1e-4):
        rates = [part.rate(epoch, top) for epoch in range(part.epochs)]
        assert all(0 < rate <= top * (1 + 1e-12) for rate in rates)
    assert len({round(part.rate(epoch, 0.1), 9) for epoch in range(part.epochs)}) > 2


@pytest.mark.parametrize("part", UNGATED, ids=str)
@pytest.mark.parametrize("per_epoch", [1, 3, 10])
def test_schedules_count_what_they_do(part: Any, per_epoch: int) -> None:
    due = [part.outer_due(step, per_epoch) for step in range(part.epochs * per_epoch)]
    assert part.outer_steps(per_epoch) == sum(due) > 0


@dataclass(frozen=True)
class Full:
    """A schedule with everything that one may have, telling what it was asked."""

    epochs: int = 4
    probes: ClassVar[tuple[str, ...]] = ("eigenvalue",)
    past: ClassVar[int] = 3

    def rate(self, epoch: int, top: float) -> float:
        return top / (1 + epoch)

    def outer_due(self, step: int, per_epoch: int, norm: float = 0.0, held: dict[str, Tensor] | None = None) -> bool:
        assert held is not None
        return step + per_epoch + norm > float(held["full/x"])

    def outer_steps(self, per_epoch: int) -> int:
        return 17 * per_epoch

    def keeps(self) -> dict[str, Tensor]:
        return {"full/x": torch.tensor(8.0)}

    def after_epoch(self, history: History) -> Stop | None:
        return Stop(2) if len(history) == 3 else None

    def phase(self, epoch: int) -> Phase:
        return Phase(only=(str(epoch),)) if epoch > 9 else Phase()


@dataclass(frozen=True)
class Back:
    """A rule that goes back at every epoch."""

    past: ClassVar[int] = 1

    def __call__(self, history: History) -> Rollback:
        return Rollback(1)


@pytest.mark.parametrize("wrap", [lambda p: Until(p, Back()), Curved, lambda p: Phases(p, (Stage(),))])
def test_decorators_forward_everything(wrap: Any) -> None:
    inside, part = Full(), wrap(Full())
    held = keeps(part)
    assert part.epochs == 4 and held == {"full/x": torch.tensor(8.0)} and part.outer_steps(2) == 34
    assert [part.outer_due(0, 2, norm, held) for norm in (6.0, 6.5)] == [False, True]
    assert probes(part) == ("eigenvalue",) and past(part) == 3
    assert after_epoch(part, told(3)) == Stop(2)  # what the plan asks for comes first
    assert after_epoch(part, told(2)) == (Rollback(1) if isinstance(part, Until) else None)
    assert phase(part, 3) == Phase() and (isinstance(part, Phases) or phase(part, 10) == Phase(only=("10",)))
    if not isinstance(part, Curved):
        assert [part.rate(e, 1.0) for e in range(4)] == [inside.rate(e, 1.0) for e in range(4)]


def test_a_rule_adds_what_it_needs_to_what_the_plan_needs() -> None:
    stops = Until(Alternate(), Rising())
    assert probes(stops) == ("eigenvalue",) and past(stops) == 0  # the alphas of all epochs are kept anyway
    plan = Until(Alternate(), RisingBack())
    assert probes(plan) == ("eigenvalue",) and past(plan) == 12
    wider = Until(plan, RisingBack(Rising(around=6)))
    assert probes(wider) == ("eigenvalue",) and past(wider) == 14
    assert probes(Until(Alternate(), SkipCount())) == () and past(Until(Alternate(), SkipCount())) == 0
    assert after_epoch(Until(Until(Alternate(), SkipCount(9)), SkipCount()), told(8)) is not None


# --- curves and stages ----------------------------------------------------------------------------------------------


def test_a_curve_replaces_the_rate_alone() -> None:
    part = Curved(Alternate(epochs=10), CosinePower(2.0), floor=0.01)
    assert [part.rate(e, 0.1) for e in range(10)] == [CosinePower(2.0)(e / 10, 0.1, 0.01) for e in range(10)]
    assert part.rate(9, 0.001) == 0.001  # the floor never lifts the rate
    same = Curved(Alternate(epochs=10), Cosine())
    assert all(same.rate(e, 0.1) == Alternate(epochs=10).rate(e, 0.1) for e in range(10))


def test_stages_share_the_epochs() -> None:
    part = Phases(Alternate(epochs=250), (Stage(100), Stage(50, only=("scores",)), Stage(100)))
    trained = [phase(part, e).only for e in range(250)]
    assert trained == [()] * 100 + [("scores",)] * 50 + [()] * 100
    dense, scores, fine = (phase(Phases(Alternate(epochs=5), DENSE_SCORES_FINE), e) for e in (1, 2, 3))
    assert dense == Phase(rest=("scores",), settings={"keep": 1.0})
    assert scores == Phase(only=("scores",), settings={"keep": 0.05}, begin=InheritScores())
    assert fine == Phase(rest=("scores",), settings={"keep": 0.05})


def test_every_stage_runs_through_the_whole_curve() -> None:
    plan = Alternate(epochs=20)
    part = Phases(plan, (Stage(0.5, rate=0.25), Stage(0.5)))
    assert [part.rate(e, 0.1) for e in range(10)] == [0.25 * plan.rate(2 * e, 0.1) for e in range(10)]
    assert [part.rate(e, 0.1) for e in range(10, 20)] == [plan.rate(2 * e, 0.1) for e in range(10)]
    assert part.rate(20, 0.1) == plan.rate(20, 0.1)  # the rate at the end: a schedule asked beyond it goes on
    whole = Phases(plan, (Stage(),))
    assert all(whole.rate(e, 0.1) == plan.rate(e, 0.1) for e in range(20))


def test_a_stage_begins_with_scores_from_the_weights() -> None:
    named = {"a.weight": torch.tensor([1.0, -4.0]), "a.scores": torch.zeros(2), "b.weight": torch.ones(1)}
    begin = phase(Phases(Alternate(epochs=5), DENSE_SCORES_FINE), 2).begin
    assert begin is not None
    begin(named)
    assert named["a.scores"].tolist() == [0.25, 1.0] and named["a.weight"].tolist() == [1.0, -4.0]


def test_impossible_stages_are_refused() -> None:
    with pytest.raises(UsageError, match="Phases.stages is empty"):
        Phases(Alternate(), ())
    with pytest.raises(UsageError, match="2 epochs are too few for 3 stages"):
        Phases(Alternate(epochs=2), DENSE_SCORES_FINE)
    with pytest.raises(UsageError, match="put all stages into one Phases"):
        Phases(Phases(Alternate(), DENSE_SCORES_FINE), (Stage(),))
    with pytest.raises(UsageError, match="Stage.rate is 1.5"):
        Stage(rate=1.5)


# --- skips and ranks ------------------------------------------------------------------------------------------------


def counted(*skips: int, normal: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    by = normal or skips
    return [
        {"epoch": e, "skips": s, "skips_by": {"normal": n}} for e, (s, n) in enumerate(zip(skips, by, strict=True), 1)
    ]


def asked(rule: Any, history: list[dict[str, Any]]) -> Any:
    """Return what a rule asks for at the first epoch at which it asks for something, and that epoch."""
    for epoch in range(1, len(history) + 1):
        if (found := rule(history[:epoch])) is not None:
            return found, epoch
    return None


def test_skips_stop_a_search_at_the_first_epoch_with_two() -> None:
    history = counted(0, 1, 1, 2, 1, 3, normal=(0, 0, 1, 1, 1, 2))
    assert asked(SkipCount(), history) == (Stop(4), 4)
    assert asked(SkipCount(cell="normal"), history) == (Stop(6), 6)
    with pytest.raises(UsageError, match="unknown cell 'reduce'; there is normal"):
        asked(SkipCount(cell="reduce"), history)
    assert asked(SkipCount(4), history) is None
    assert asked(SkipCount(3), history) == (Stop(6), 6)
    assert SkipCount()(history) == Stop(4)  # also on a whole series


def ranked(*alphas: tuple[float, ...]) -> list[dict[str, Any]]:
    """Return the history of one choice with options a, b, c, … whose alphas these were."""
    return [
        {"epoch": e, "ranks": {"x": [o for _, o in sorted(zip((-a for a in row), "abcd", strict=False))], "y": ["q"]}}
        for e, row in enumerate(alphas, 1)
    ]


TRAJECTORY = (
    (0.1, 0.0, -1.0),
    (0.0, 0.1, -1.0),
    (0.0, 0.2, -1.0),
    (0.0, 0.3, -2.0),
    (0.1, 0.3, 0.2),
    (0.0, 3.0, 2.0),
    (0, 4, 3),
)


def test_a_stable_ranking_stops_a_search() -> None:
    history = ranked(*TRAJECTORY)
    assert asked(RankStable(1), history) == (Stop(3), 3)
    assert asked(RankStable(2), history) == (Stop(4), 4)  # epochs 2, 3 and 4 rank alike
    assert asked(RankStable(3), history) is None  # 5 swaps the two last, and 6 swaps nothing
    assert asked(RankStable(3, ignore=("c",)), history) == (Stop(5), 5)  # without the third option it did not
    assert asked(RankStable(1), history[:2]) is None


@pytest.mark.parametrize("transform", [math.exp, math.atan, lambda a: 7 * a - 3, lambda a: a**3])
@pytest.mark.parametrize("seed", range(4))
def test_no_increasing_transform_of_the_alphas_moves_the_stop(transform: Any, seed: int) -> None:
    walk = torch.randn(30, 4, generator=stream(seed), dtype=torch.float64).cumsum(0).tolist()
    stops = [asked(RankStable(n), ranked(*map(tuple, walk))) for n in range(1, 6)]
    moved = [asked(RankStable(n), ranked(*(tuple(map(transform, row)) for row in walk))) for n in range(1, 6)]
    assert moved == stops and stops[0] is not None


# --- eigenvalues ----------------------------------------------------------------------------------------------------


def bent(values: Mapping[int, float] | list[float], settings: dict[str, float] | None = None) -> list[dict[str, Any]]:
    named = values if isinstance(values, Mapping) else dict(enumerate(values, 1))
    return [
        {"epoch": e, "eigenvalue": named.get(e), "settings": settings or {}}
        for e in range(1, max(named, default=0) + 1)
    ]


def release(
    values: list[float], *, window: int = 5, every: int = 2, factor: float = 1.3, first: int = 10, delta: int = 4
) -> Any:
    """Return (epoch of the stop, epoch of the decision), from 0, as the release of RobustDARTS keeps its lists."""
    ev: list[float] = []
    means: list[float] = []
    for epoch in range(0, len(values), every):
        ev.append(values[epoch])
        if len(ev) < math.ceil(window / 2):
            continue
        means.append(sum(ev[-window:]) / len(ev[-window:]))
        centre = epoch - every * (window // 2)
        if centre - every * delta >= first and means[-1] / means[-1 - delta] > factor:
            return centre - every * delta, epoch
    return None


def test_the_stop_is_where_the_definition_says() -> None:
    """λ = 1 up to epoch 20 and 2 from 21 on; measured are odd epochs.

    λ̄(19) has 15, 17, 19, 21, 23: mean 1.4. λ̄(11) has 7 … 15: mean 1. Their ratio, 1.4 > 1.3, is known after epoch 23.
    With 17 (mean 1.2) it was not yet.
    """
    history = bent([1.0] * 20 + [2.0] * 20)
    assert asked(Rising(), history) == (Stop(11), 23)
    assert asked(Rising(threshold=1.4), history) == (Stop(13), 25)  # not above 1.4 but 1.6 at epoch 21
    assert asked(Rising(threshold=2.0), history) is None
    assert asked(Rising(first=12), history) == (Stop(13), 25)
    assert Rising()(history) == Stop(11)


def test_a_rise_before_the_first_epoch_is_seen_from_that_epoch_on_if_it_goes_on() -> None:
    """A jump that is over by then leaves no trace; a rise from epoch 4 on by a tenth of λ an epoch is found at 11."""
    assert asked(Rising(), bent([1.0] * 4 + [3.0] * 40)) is None
    assert asked(Rising(first=1), bent([1.0] * 4 + [3.0] * 40)) == (Stop(1), 13)
    steady = [1.1 ** max(e - 4, 0) for e in range(1, 40)]
    assert asked(Rising(), bent(steady)) == (Stop(11), 23)
    assert asked(Rising(first=1), bent(steady)) == (Stop(1), 13)  # λ̄(1) of 1, 3, 5: from the beginning on


@pytest.mark.parametrize("seed", range(40))
def test_the_stop_is_that_of_the_release(seed: int) -> None:
    noise = torch.rand(60, generator=stream(seed, "eigenvalues"), dtype=torch.float64)
    values = (1.0 + noise * (seed % 4) + 0.02 * (seed % 7) * torch.arange(60)).tolist()
    wanted = release(values)
    found = asked(Rising(), bent(values))
    assert found == (wanted and (Stop(wanted[0] + 1), wanted[1] + 1))


def test_the_ratio_of_the_paper_is_a_setting() -> None:
    rule = Rising(threshold=1 / 0.75, around=0, back=5, first=1, every=1)
    assert asked(rule, bent([1.0, 1.0, 1.0, 1.1, 1.2, 1.3, 1.35, 1.4])) == (Stop(2), 7)


@pytest.mark.parametrize("seed", range(10))
def test_flat_and_falling_series_never_stop_a_search(seed: int) -> None:
    steps = torch.rand(80, generator=stream(seed), dtype=torch.float64)
    falling = (90.0 - steps.cumsum(0)).tolist()
    for rule in (Rising(), Rising(threshold=1.0 + 1e-9, first=1, every=1), RisingBack()):
        assert asked(rule, bent(falling)) is None
        assert asked(rule, bent([0.7] * 80)) is None
        assert asked(rule, bent([0.0] * 80)) is None
    assert asked(Rising(threshold=1.0 + 1e-9), bent(falling[::-1])) is not None  # and the same series backwards does


def test_epochs_without_a_measurement_are_passed_over() -> None:
    sparse = {e: v for e, v in enumerate([1.0] * 20 + [2.0] * 20, 1) if e % 2}
    assert asked(Rising(), bent(sparse)) == (Stop(11), 23)
    assert asked(Rising(), [{"epoch": e, "eigenvalue": None} for e in range(1, 60)]) is None


def test_a_rollback_multiplies_the_decay_up_to_its_most() -> None:
    rising = [1.0] * 20 + [2.0] * 20
    for present, following in (
        ({}, 3.0),
        ({"decay": 3.0}, 9.0),
        ({"decay": 27.0, "keep": 1.0}, 81.0),
        ({"decay": 50.0}, 81.0),
    ):
        assert asked(RisingBack(), bent(rising, present)) == (Rollback(11, {"decay": following}), 23)
    assert asked(RisingBack(), bent(rising, {"decay": 81.0})) is None
    assert asked(RisingBack(factor=2.0, most=2.0), bent(rising, {"decay": 1.0})) == (Rollback(11, {"decay": 2.0}), 23)
    assert asked(RisingBack(), bent([1.0] * 60)) is None


def test_a_search_goes_back_as_often_as_decay_grows() -> None:
    """A loop in small: λ doubles after epoch 20 whatever the decay, so that every pass goes back to epoch 11."""
    part = Until(Alternate(epochs=40), RisingBack())
    history: list[dict[str, Any]] = []
    settings: dict[str, float] = {}
    asked_for = []
    while len(history) < part.epochs:
        epoch = len(history) + 1
        history.append({"epoch": epoch, "eigenvalue": 1.0 + (epoch > 20), "settings": dict(settings)})
        if (found := part.after_epoch(history)) is not None:
            assert isinstance(found, Rollback) and epoch - found.epoch <= part.past
            asked_for.append((epoch, found.epoch, found.settings["decay"]))
            settings |= found.settings
            history = history[: found.epoch]
    assert asked_for == [(23, 11, 3.0), (23, 11, 9.0), (23, 11, 27.0), (23, 11, 81.0)]


# --- the gate on gradients ------------------------------------------------------------------------------------------


def gated(part: GradientGated, norms: Tensor, per_epoch: int = 100) -> list[bool]:
    held = keeps(part)
    return [part.outer_due(step, per_epoch, norm, held) for step, norm in enumerate(norms.tolist())]


@pytest.mark.parametrize("frequency", [1.0, 4.0, 10.0, 25.0])
@pytest.mark.parametrize("kind", ["lognormal", "constant", "correlated"])
@pytest.mark.parametrize("scale", [1e-3, 50.0])
def test_the_share_of_alpha_steps_tends_to_what_is_wanted(frequency: float, kind: str, scale: float) -> None:
    n = 6000
    noise = torch.randn(n, generator=stream(0, kind), dtype=torch.float64)
    if kind == "correlated":
        for i in range(1, n):
            noise[i] = 0.97 * noise[i - 1] + 0.25 * noise[i]
    norms = scale * (torch.ones(n, dtype=torch.float64) if kind == "constant" else noise.exp())
    part = GradientGated(epochs=60, frequency=frequency)
    due = gated(part, norms)
    assert sum(due) / n == pytest.approx(1 / (1 + frequency), rel=0.05)
    assert part.outer_steps(100) == pytest.approx(sum(due), rel=0.05)
    assert not due[0]  # the first F is the threshold, and not below it


def test_the_threshold_and_the_average_move_by_the_formula() -> None:
    part = GradientGated(frequency=2.0, factor=2.0, average=0.25, start=3.0)
    held = keeps(part)
    found = [
        (part.outer_due(i, 9, norm, held), float(held["gate/average"]), float(held["gate/theta"]))
        for i, norm in enumerate((2.0, 1.0, 1.0))
    ]
    assert found == [(False, 4.0, 6.0), (True, 3.25, 1.5), (False, 2.6875, 3.0)]


def test_alphas_and_threshold_rest_during_the_warm_up() -> None:
    part = GradientGated(epochs=4, warmup=2, frequency=1.0)
    held = keeps(part)
    early = [part.outer_due(step, 5, 1.0 / (1 + step), held) for step in range(10)]
    assert not any(early) and float(held["gate/theta"]) < 0 < float(held["gate/average"])
    late = [part.outer_due(step, 5, 0.01, held) for step in range(10, 20)]
    assert any(late) and part.outer_steps(5) == 5


def test_the_gate_needs_what_it_keeps() -> None:
    with pytest.raises(UsageError, match="give outer_due the tensors of keeps"):
        GradientGated().outer_due(0, 5, 1.0)
    with pytest.raises(UsageError, match="GradientGated.factor is 1.0"):
        GradientGated(factor=1.0)


def test_the_rate_of_every_epoch_falls() -> None:
    rates = [GradientGated(epochs=9).rate(e, 0.1) for e in range(9)]
    assert all(a > b for a, b in pairwise(rates)) and rates[0] == 0.1
