"""Strategies that a model guides: expected improvement, predict and rank, pruning, limits, several objectives."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mimar.core.errors import UsageError
from mimar.predictors.boosted import BoostedTrees
from mimar.predictors.forest import RandomForest
from mimar.predictors.gaussian import GaussianProcess
from mimar.predictors.graph_network import GraphNetwork
from mimar.predictors.parts import Prediction
from mimar.predictors.ridge import Ridge
from mimar.predictors.shared_encoder import SharedEncoder
from mimar.space import Architecture, Choice, Measurement, Proposal, Space, Trial, nasbench201
from mimar.strategies.bayesian import Bayesian, ExpectedImprovement, log_improvement
from mimar.strategies.guided import GuidedSearcher, targets
from mimar.strategies.past import Known
from mimar.strategies.pools import Bred, Quasirandom, Sampled, Staged
from mimar.strategies.ranking import PredictAndRank
from mimar.testing import check_strategy

pytest.importorskip("lightgbm")
CELLS = nasbench201()
SMALL = GraphNetwork(layers=1, channels=8, head=4, epochs=2)
ENCODER = SharedEncoder(hidden=8, unlabelled=20, before=2, epochs=4)
FBNET = PredictAndRank(ENCODER, 4, 2, 20, pool=Staged(Quasirandom(), 2, Bred(generations=2)), design=Quasirandom())


def worth(arch: Architecture) -> float:
    return sum({"nor_conv_3x3": 0.1, "nor_conv_1x1": 0.05, "none": -0.05}.get(v, 0.0) for v in arch.values()) + 0.3


def told(proposal: Proposal, value: float | None = None, status: str = "ok") -> Trial:
    value = worth(proposal.architecture) if value is None else value
    return Trial(proposal, Measurement({"valid_accuracy": value}, 1.0, status), (value,))  # type: ignore[arg-type]


def run(searcher: GuidedSearcher, n: int) -> list[Proposal]:
    found = []
    for _ in range(n):
        (proposal,) = searcher.ask(1)
        found.append(proposal)
        searcher.tell([told(proposal)])
    return found


# --- the laws -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "part",
    [
        Bayesian(initial=4, batch=2, candidates=20),
        Bayesian(RandomForest(trees=5), initial=4, batch=3, candidates=20),
        PredictAndRank(Ridge(), 4, 3, prune=1),
        PredictAndRank(BoostedTrees(rounds=5), 4, 3, prune=1),
        PredictAndRank(SMALL, 4, 3),
        FBNET,
    ],
    ids=["bayesian", "forest", "ridge", "boosted", "graph", "encoder"],
)
def test_they_obey_the_laws(part: Bayesian | PredictAndRank) -> None:
    check_strategy(part)


def test_bayesian_obeys_them_on_graphs() -> None:
    check_strategy(Bayesian(initial=3, batch=2, candidates=20), space=CELLS)


# --- expected improvement -----------------------------------------------------------------------------------------


def test_log_improvement_is_exact_everywhere() -> None:
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(60):
        for z in (-1e5, -2000.0, -999.0, -40.0, -6.0, -1.0001, -1.0, -0.3, 0.0, 0.7, 5.0, 40.0):
            exact = mpmath.npdf(z) + mpmath.mpf(z) * mpmath.erfc(-mpmath.mpf(z) / mpmath.sqrt(2)) / 2
            expected = float(mpmath.log(exact)) if exact > 0 else None
            if expected is not None:
                assert log_improvement(np.array([z]))[0] == pytest.approx(expected, rel=1e-9)
    assert log_improvement(np.zeros(1))[0] == pytest.approx(-0.5 * math.log(2 * math.pi))


@dataclass
class Fixed:
    """A model that says what it is given, by the width of an architecture."""

    mean: dict[int, float]
    std: dict[int, float]

    def start(self, space: Space, seed: int) -> Fixed:
        return self

    def fit(self, architectures: Sequence[Architecture], y: Sequence[float]) -> None:
        pass

    def predict(self, architectures: Sequence[Architecture]) -> Prediction:
        return tuple(np.array([d[a["w"]] for a in architectures]) for d in (self.mean, self.std))  # type: ignore[return-value]


WIDTHS = Space([Choice("w", tuple(range(8)), "size")])


def test_expected_improvement_is_the_integral() -> None:
    model = Fixed({0: 1.0, 1: 0.5, 2: 1.4}, {0: 0.0, 1: 0.8, 2: 0.1})
    archs = [Architecture({"w": w}) for w in range(3)]
    found = np.exp(ExpectedImprovement()(model, archs[1:], archs[:1]))
    grid = np.linspace(-8, 8, 200001)
    density = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi)
    for (mean, std), ours in zip(((0.5, 0.8), (1.4, 0.1)), found, strict=True):
        integral = np.sum(np.maximum(mean + std * grid - 1.0, 0) * density) * (grid[1] - grid[0])
        assert ours == pytest.approx(integral, rel=1e-6)


def test_a_batch_holds_what_the_model_can_tell_apart() -> None:
    mean = dict.fromkeys(range(8), 0.0) | {5: 3.0, 6: 3.0, 7: 2.0}
    model = Fixed(mean, dict.fromkeys(range(8), 0.0))
    searcher = PredictAndRank(model, initial=2, batch=2, pool=Sampled(), candidates=8).start(WIDTHS, 0)
    for w in (0, 1):
        searcher.tell([told(Proposal(Architecture({"w": w})), 0.5)])
    searcher.asked = 2
    widths = [p.architecture["w"] for p in searcher.ask(2)]
    assert widths[0] in (5, 6) and widths[1] == 7


def test_targets() -> None:
    known = [Known(CELLS.sample(i), (v,)) for i, v in enumerate((0.0, 0.9, 1.0))]
    assert targets(known, "value") == [0.0, 0.9, 1.0]
    assert targets(known, "log-error") == pytest.approx([0.0, math.log(10), math.log(1e4)])
    loss = [Known(k.architecture, (v,)) for k, v in zip(known, (-2.0, 0.3, 0.1), strict=True)]
    assert targets(loss, "log-error") == [-2.0, 0.3, 0.1]  # no accuracies
    both = [Known(k.architecture, v) for k, v in zip(known, ((1.0, 5.0), (2.0, 6.0), (0.0, 0.0)), strict=True)]
    assert targets(both, "log-error") == [0.5, 1.0, 0.0]
    normal = 0.9674215661017014  # Φ⁻¹(5/6)
    assert targets(known, "rank") == pytest.approx([-normal, 0.0, normal])
    assert targets(both, "rank") == pytest.approx([0.0, normal, -normal])
    assert targets([known[0], known[0]], "rank") == [0.0, 0.0]


# --- the searcher -------------------------------------------------------------------------------------------------


def test_the_design_comes_first_and_then_what_is_predicted_best() -> None:
    searcher = PredictAndRank(Ridge(1e-3), initial=60, batch=5).start(CELLS, 0)
    proposals = run(searcher, 65)
    assert len({p.architecture for p in proposals}) == 65
    best = max(CELLS.enumerate(), key=worth)
    assert proposals[60].architecture == best
    top = sorted((worth(a) for a in CELLS.enumerate()), reverse=True)[:6]
    assert min(worth(p.architecture) for p in proposals[60:]) >= top[-1] - 0.051


def test_mutants_say_where_they_come_from() -> None:
    proposals = run(Bayesian(initial=5, batch=5, candidates=20).start(CELLS, 0), 30)
    digests = {p.architecture.digest for p in proposals}
    assert all(p.parent is None for p in proposals[:5])
    assert {p.parent for p in proposals if p.parent} <= digests and any(p.parent for p in proposals)


def test_what_failed_is_not_asked_again() -> None:
    searcher = PredictAndRank(Ridge(), initial=5, batch=3).start(CELLS, 0)
    seen: list[Architecture] = []
    for i in range(40):
        (proposal,) = searcher.ask(1)
        assert proposal.architecture not in seen
        seen.append(proposal.architecture)
        searcher.tell([told(proposal, status="failed" if i % 2 else "ok")])
    assert len(searcher.past) == 20


def test_limits_are_kept_in_every_stage() -> None:
    def allowed(arch: Architecture) -> bool:
        return sum(v == "nor_conv_3x3" for v in arch.values()) <= 1

    for part in (FBNET, Bayesian(initial=4, batch=2, candidates=20)):
        searcher = part.start(CELLS, 0)
        searcher.inform(lambda arch: {"macs": worth(arch)}, allowed)
        assert all(allowed(p.architecture) for p in run(searcher, 20))


def test_costs_reach_the_model() -> None:
    searcher = FBNET.start(CELLS, 0)
    searcher.inform(lambda arch: {"macs": worth(arch)}, None)
    run(searcher, 6)
    assert searcher.model.names == ("macs",)  # type: ignore[attr-defined]


def test_a_harmful_option_is_pruned_and_never_proposed_again() -> None:
    searcher = PredictAndRank(Ridge(), initial=60, batch=10, prune=2).start(CELLS, 0)

    def value(arch: Architecture) -> float:
        return worth(arch) - 5.0 * (arch["cell/0-1"] == "avg_pool_3x3")

    rounds = []
    for _ in range(3):
        proposals = searcher.ask(60 if not rounds else 10)
        searcher.tell([told(p, value(p.architecture)) for p in proposals])
        rounds.append(proposals)
    assert ("cell/0-1", "avg_pool_3x3") in searcher.removed and len(searcher.removed) == 4
    gone = set(searcher.removed[:2])
    assert not any(gone & set(p.architecture.items()) for p in rounds[1])
    state = json.loads(json.dumps(searcher.state_dict()))
    again = PredictAndRank(Ridge(), initial=60, batch=10, prune=2).start(CELLS, 0)
    again.load_state_dict(state)
    assert again.removed == searcher.removed and again.ask(12) == searcher.ask(12)
    with pytest.raises(UsageError, match="explains decisions"):
        PredictAndRank(RandomForest(), prune=1).start(CELLS, 0)


def test_higher_fidelities_take_the_place_of_lower_ones() -> None:
    searcher = PredictAndRank(Ridge(), initial=4, batch=2).start(CELLS, 0)
    proposals = searcher.ask(4)
    searcher.tell([told(replace(p, fidelity=1.0)) for p in proposals])
    searcher.tell([replace(told(replace(p, fidelity=9.0)), since=1.0) for p in proposals])
    assert len(searcher.past) == 4 and {k.fidelity for k in searcher.past.known} == {9.0}
    assert len(searcher.ask(2)) == 2


def test_bayesian_finds_the_best_cells(needs_data: Callable[[str], Path]) -> None:
    needs_data("nas/nasbench201.npz")
    from mimar.evaluators import benchmarks
    from mimar.objectives import Best
    from mimar.schedulers import Asynchronous
    from mimar.search.session import Session, Terms, best

    table = benchmarks.named("nasbench201:epochs=200")
    tested = []
    for seed in range(4):
        session = Session(
            Terms(table, Best(), queries=150, seed=seed),
            Bayesian(GaussianProcess()).start(table.space, seed),
            Asynchronous().start((), seed),
        )
        while session.step() is not None:
            pass
        winner = best(session.trials)
        assert winner is not None
        tested.append(table.verdict(winner.architecture)["test_accuracy"])
    assert np.mean(tested) > 0.9426  # random search: 0.9387
