"""Trainings that go on from a parent's network: what begins how, what is kept, what it saves, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch

from mimar import nets, recipes
from mimar.core.errors import UsageError
from mimar.core.events import Record
from mimar.core.optimisers import Sgd
from mimar.core.state import State
from mimar.core.streams import stream
from mimar.evaluators import Retrain, training
from mimar.evaluators.table import Table
from mimar.evaluators.train import Job
from mimar.search import AskTell, Trials
from mimar.search.lab import Lab
from mimar.space import Architecture, Choice, Proposal, Space, Trial
from mimar.strategies import Evolution
from mimar.supernet import Extracted, chosen
from mimar.testing import check_recipe
from mimar.testing.problems import tiny_model
from mimar.testing.recipe import tiny_task

NET = "convnet:channels=2,widths=2,stages=1"
GIVEN: dict[str, Any] = {"net": NET, "task": tiny_task(), "retrain": Retrain(epochs=1, batch=16), "baseline": 1}
SMALL: dict[str, Any] = {"queries": 5, "filled": 0, "batch": 2, "episodes": 1, "hidden": 4, "embedding": 3}


def eas(**options: Any) -> AskTell:
    found: AskTell = recipes.load("eas")[1](**{**GIVEN, **SMALL, **options})
    return found


def trials(search: AskTell) -> list[dict[str, Any]]:
    return [e.data for e in search.events(search.start()) if isinstance(e, Record) and e.data["event"] == "trial"]


def test_children_go_on_from_the_start_and_it_resumes_bit_for_bit() -> None:
    check_recipe("eas", net=NET, options=SMALL, stops=6)


def test_the_log_says_what_a_training_began_with() -> None:
    found = trials(eas())
    assert [t["weights"] for t in found] == ["fresh", *["inherited"] * 4]
    assert set(found[0]["architecture"].values()) == {"2-2-skip"} and "parent" not in found[0]
    first = Architecture(found[0]["architecture"])
    assert [t["parent"] for t in found[1:3]] == [first.digest] * 2 and found[3]["parent"] != first.digest
    plain = trials(eas(trials=Trials()))
    assert all("weights" not in t for t in plain)
    assert plain[0]["metrics"] == found[0]["metrics"] and plain[1]["metrics"] != found[1]["metrics"]


def test_a_training_starts_where_its_parent_ended() -> None:
    """At the first step of every child its network is the parent's but for noise, the parent's tensors those kept."""
    search = eas(queries=4)
    state, lab = search.start(), search.lab()
    assert isinstance(lab, Lab)
    begun: list[float] = []
    x = torch.randn(20, 1, 5, 5, generator=stream(0))
    plain = lab.final.inheritance.__class__.__call__

    def watched(self: Any, parent: Extracted, child: Extracted, *rest: Any) -> None:
        plain(self, parent, child, *rest)
        with torch.no_grad():
            begun.append(float((parent.net.eval()(x) - child.net.eval()(x)).abs().max()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab.final.inheritance.__class__, "__call__", watched)
        for _ in search.events(state):
            pass
    assert len(begun) == 3 and 0 < max(begun) < 0.05
    assert not state.group("parent") and not {"parent", "begun"} & set(state.json)


class Named:
    """A strategy that proposes what it was given, child after child, each with the parent that it says."""

    def __init__(self, *proposals: Proposal) -> None:
        self.proposals = proposals

    def start(self, space: Space, seed: int) -> Named:
        return copy.copy(self)

    def ask(self, n: int, pending: Any = ()) -> list[Proposal]:
        found, self.proposals = self.proposals[:n], self.proposals[n:]
        return list(found)

    def tell(self, trials: list[Trial]) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"left": len(self.proposals)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.proposals = self.proposals[len(self.proposals) - state["left"] :]


def test_what_is_not_kept_or_not_contained_begins_fresh() -> None:
    one = Architecture({"layer1": "2-2-conv3", "layer2": "2-2-skip"})
    two = Architecture({"layer1": "2-2-conv3", "layer2": "2-4-conv3"})
    less = Architecture({"layer1": "2-2-skip", "layer2": "2-2-conv5"})
    asked = Named(
        Proposal(one),
        Proposal(two, parent=one.digest),
        Proposal(less, parent=one.digest),  # does not contain its parent
        Proposal(
            two, parent=less.digest
        ),  # whose parent is neither the incumbent nor the last one used, as it is worse
        Proposal(two, parent="unknown"),
    )
    search = replace(eas(), strategy=asked, queries=5)
    figures = iter([0.9, 0.5, 0.4, 0.3, 0.2])

    def values(self: Any, trial: Trial) -> tuple[float, ...]:
        return (given.setdefault(trial.number, next(figures)) if trial.number not in given else given[trial.number],)

    given: dict[int, float] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mimar.search.session.Session._values", values)
        assert [t["weights"] for t in trials(search)] == ["fresh", "inherited", "fresh", "fresh", "fresh"]


def test_any_strategy_that_names_parents_inherits() -> None:
    search = replace(eas(), strategy=Evolution(population=3, sample=3), queries=20, baseline=0)
    found = trials(search)
    assert {t["weights"] for t in found} == {"fresh", "inherited"}
    assert all(t["weights"] == "fresh" for t in found if "parent" not in t)


def test_what_cannot_inherit_is_refused() -> None:
    table = Table.from_arrays(Space([Choice("a", ("x", "y"))]), {"valid_accuracy": [0.1, 0.2]})
    inherited = Trials(weights="inherited")
    with pytest.raises(UsageError, match="on the benchmark table .* there are none: take trials.weights=fresh"):
        recipes.load("random")[1](task=table, trials=inherited).start()
    with pytest.raises(UsageError, match="the evaluator 'proxy:synflow' does none"):
        eas(trials=replace(inherited, evaluator="proxy:synflow")).start()
    with pytest.raises(UsageError, match="one after the other, not by 2 workers: take trials.workers=1"):
        eas(trials=replace(inherited, workers=2)).start()
    with pytest.raises(UsageError, match="cannot grow out of one another: take net=convnet"):
        recipes.load("random")[1](**{**GIVEN, "net": tiny_model().float()}, trials=inherited).start()
    with pytest.raises(UsageError, match="cannot grow out of one another"):
        recipes.load("random")[1](**{**GIVEN, "net": nets.convnet(classes=4)}, trials=inherited).start()
    with pytest.raises(UsageError, match="needs a space with a chain"):
        eas(net=tiny_model().float(), trials=Trials()).start()


# --- what it saves ----------------------------------------------------------------------------------------------------


def trained(
    lab: Lab, arch: Architecture, epochs: int, lr: float, begin: Any = None
) -> tuple[float, dict[str, torch.Tensor]]:
    state = State()
    part = Retrain(epochs=epochs, batch=64, optimiser=Sgd(lr=lr))
    *_, last = training(part, Job("net", "search", "", lab.final, arch, lab.data, lab.seed, begin=begin), state)
    assert isinstance(last, Record)
    return last.data["metrics"]["valid_accuracy"], state.group("net")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_one_epoch_after_growing_is_worth_three_from_scratch(seed: int) -> None:
    """Catalogue A4: on digits a grown child reaches in 1 epoch what one from scratch needs 3 epochs or more for.

    At a rate of 0.01; at 0.025 the first epoch undoes much of what was learned, since all copies of a channel move at once.
    """
    small = Architecture({"layer1": "8-8-conv3", "layer2": "8-8-skip", "layer3": "8-16-conv3", "layer4": "16-16-skip"})
    large = Architecture(
        {"layer1": "8-8-conv3", "layer2": "8-16-conv3", "layer3": "16-32-conv3", "layer4": "32-32-conv3"}
    )
    lab = Lab("convnet", "digits", seed, "cpu")
    tensors = trained(lab, small, 20, 0.025)[1]
    inheritance: Any = lab.final.inheritance

    def fill(made: Extracted) -> None:
        parent = chosen(lab.final, small)
        parent.net.load_state_dict(tensors)
        inheritance(parent, made, stream(seed, "grow"), lab.examples(64))

    grown = trained(lab, large, 1, 0.01, fill)[0]
    assert grown > max(trained(lab, large, 2, lr)[0] for lr in (0.01, 0.025)) + 0.05
