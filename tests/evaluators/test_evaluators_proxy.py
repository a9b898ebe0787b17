"""Scores of untrained networks as an evaluator: what they are, what they cost, what is known for free."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mimar.core.errors import UsageError
from mimar.core.streams import derive, isolated, stream
from mimar.evaluators import proxies
from mimar.evaluators.proxies.gradients import ConnectionSensitivity
from mimar.evaluators.proxies.tangent import TangentCondition
from mimar.evaluators.proxy import Proxies
from mimar.space import Architecture, OneOf, Proposal
from mimar.supernet import extract
from mimar.tasks.protocol import Measure
from mimar.testing import check_evaluator


def model() -> nn.Module:
    with isolated(0):
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            OneOf({"conv": nn.Conv2d(4, 4, 3, padding=1), "skip": nn.Identity()}, name="body"),
            OneOf({"relu": nn.ReLU(), "tanh": nn.Tanh()}, name="act"),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        )


def evaluator(*names: str, **more: object) -> Proxies:
    parts = {name: proxies.named(name) for name in names or ("snip", "ntk")}
    return Proxies(model(), proxies.noise((2, 5, 5), 3, 6), parts, **more)  # type: ignore[arg-type]


CONV = Architecture({"body": "conv", "act": "relu"})
SMOOTH = Architecture({"body": "skip", "act": "tanh"})


def test_it_obeys_the_laws_of_evaluators() -> None:
    check_evaluator(evaluator(draws=2))


def test_a_score_is_the_mean_over_fresh_networks() -> None:
    found = evaluator("snip", draws=3, seed=5).evaluate(Proposal(CONV)).metrics["snip"]
    batch, values = proxies.noise((2, 5, 5), 3, 6), []
    for i in range(3):
        net = extract(model(), CONV, fresh=stream(5, "untrained", i))
        values.append(ConnectionSensitivity()(net, batch, derive(5, "untrained", i)))
    assert found == sum(values) / 3 and len(set(values)) == 3


def test_fewer_draws_are_lower_fidelities() -> None:
    many, one = evaluator("snip", draws=9, seed=5), evaluator("snip", draws=1, seed=5)
    assert many.fidelities == (1.0, 3.0, 9.0) and one.fidelities == () and evaluator(draws=2).fidelities == (1.0, 2.0)
    assert many.evaluate(Proposal(CONV), 1.0) == one.evaluate(Proposal(CONV))
    three = evaluator("snip", draws=3, seed=5).evaluate(Proposal(CONV))
    assert many.evaluate(Proposal(CONV, fidelity=3.0)) == three != many.evaluate(Proposal(CONV))
    assert three.cost == 3 * one.evaluate(Proposal(CONV)).cost
    with pytest.raises(UsageError, match="draws=9 has no fidelity 2; it has 1, 3, 9"):
        many.evaluate(Proposal(CONV), 2.0)
    with pytest.raises(UsageError, match="draws=1 has no fidelity 1; it has none"):
        one.evaluate(Proposal(CONV), 1.0)


def test_costs_are_passes_in_macs() -> None:
    macs = 25 * (2 * 4 * 9 + 4 * 4 * 9) + 4 * 3
    result = evaluator("snip", "ntk", "naswot", draws=2).evaluate(Proposal(CONV))
    assert result.metrics["macs"] == macs and result.metrics["params"] == 76 + 148 + 15
    assert result.cost == 2 * macs * (3 * 6 + 6 * (1 + 12) + 6)
    assert evaluator().costs(CONV) == {"params": 239.0, "macs": macs}


def test_measures_say_which_way_is_better() -> None:
    found = {m.name: m.direction for m in evaluator("snip", "ntk").measures}
    assert found == {"snip": "max", "ntk": "min", "params": "min", "macs": "min"}
    found = {m.name: m.direction for m in evaluator("params").measures}  # as a score, more of them is better
    assert found == {"params": "max", "macs": "min"}
    assert TangentCondition.direction == "min"


def test_what_has_no_finite_score_has_failed() -> None:
    both = evaluator("naswot", "snip")
    result = both.evaluate(Proposal(SMOOTH))
    assert result.status == "failed" and "naswot" not in result.metrics and math.isfinite(result.metrics["snip"])
    assert both.evaluate(Proposal(CONV)).status == "ok"


def test_known_costs_may_be_those_of_other_networks() -> None:
    told = evaluator("snip", known=lambda a: {"latency": 2.0}, sizes=(Measure("latency", "min", "ms"),))
    assert [m.name for m in told.measures] == ["snip", "latency"]
    assert set(told.evaluate(Proposal(CONV)).metrics) == {"snip", "latency"} and told.costs(CONV) == {"latency": 2.0}


def test_the_digest_names_model_batch_and_scores() -> None:
    digests = {evaluator(*names).digest() for names in (("snip",), ("ntk",), ("snip", "ntk"))}
    other = Proxies(model(), proxies.noise((2, 5, 5), 3, 6, seed=1), {"snip": ConnectionSensitivity()})
    assert len(digests | {other.digest(), evaluator("snip", seed=1).digest()}) == 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_evaluation_leaves_the_model_as_it_was(dtype: torch.dtype) -> None:
    net = model().to(dtype)
    before = {n: t.clone() for n, t in net.state_dict().items()}
    batch = proxies.noise((2, 5, 5), 3, 6)
    Proxies(net, batch._replace(x=batch.x.to(dtype)), {"zen": proxies.named("zen")}).evaluate(Proposal(CONV))
    assert all(torch.equal(before[n], t) for n, t in net.state_dict().items())
