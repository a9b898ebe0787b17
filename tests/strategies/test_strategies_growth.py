"""Growth: its steps, its law and its gradient, its episodes and stages, and the laws of ask and tell."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest

from mimar import nets, space
from mimar.core.errors import UsageError
from mimar.core.streams import Draws
from mimar.space import Architecture, Chain, Choice, Space
from mimar.space.chains import ChainEdits
from mimar.strategies import Measurement, Proposal, Trial
from mimar.strategies.ascent import Baseline
from mimar.strategies.edit_policy import EditPolicy, edits
from mimar.strategies.growth import CEILING, Growth, shaped
from mimar.testing import check_strategy

SMALL = EditPolicy(wider=1, deeper=2, embedding=3, hidden=4)


def chain() -> Space:
    return space.of(nets.convnet(channels=2))


def told(proposal: Proposal, value: float, status: str = "ok") -> Trial:
    return Trial(proposal, Measurement({"valid_accuracy": value}, 1.0, status), (value,) if status == "ok" else ())  # type: ignore[arg-type]


def path(*options: str) -> dict[str, str]:
    return {f"layer{i}": option for i, option in enumerate(options, 1)}


# --- steps ------------------------------------------------------------------------------------------------------------


def test_a_wider_layer_carries_those_behind_it() -> None:
    found: Any = edits(chain())
    assert found.kinds == ("conv3", "conv5") and found.least == path(*["2-2-skip"] * 4)
    here = path("2-2-conv3", "2-2-skip", "2-2-conv5", "2-8-conv3")
    assert found.wider(here, "layer1") == path("2-4-conv3", "4-4-skip", "4-4-conv5", "4-8-conv3")
    assert found.wider(here, "layer3") == path("2-2-conv3", "2-2-skip", "2-4-conv5", "4-8-conv3")
    assert found.wider(here, "layer2") is None and found.wider(here, "layer4") is None
    assert found.deeper(here, "layer2", "conv5") == {**here, "layer2": "2-2-conv5"}
    assert found.deeper(here, "layer1", "conv5") is None


def test_every_step_stays_in_the_space_and_all_of_it_is_reached() -> None:
    of, found = chain(), edits(chain())
    seen, left = set(), [tuple(found.least.items())]
    while left:
        here = dict(left.pop())
        assert of.valid(here)
        near: list[Any] = [found.wider(here, n) for n in here]
        near += [found.deeper(here, n, k) for n, k in itertools.product(here, found.kinds)]
        for one in near:
            if one is not None and tuple(one.items()) not in seen:
                seen.add(tuple(one.items()))
                left.append(tuple(one.items()))
    assert len(seen) + 1 == of.size() == 729


def test_what_cannot_grow_is_refused() -> None:
    with pytest.raises(UsageError, match="chain of places that can be wider"):
        Growth().start(Space([Choice("a", ("x", "y"))]), 0)
    with pytest.raises(UsageError, match="places that can be empty"):
        Growth().start(space.of(nets.grid()), 0)
    with pytest.raises(UsageError, match="places that can be empty"):
        ChainEdits(("a",), {"a": ("thin-wide-conv3", "thin-thin-skip")})
    with pytest.raises(UsageError, match="leave nothing to decide"):
        EditPolicy(wider=0, deeper=0)


# --- the policy -------------------------------------------------------------------------------------------------------


def test_the_law_is_a_law() -> None:
    """The probabilities of all ways of one wider and one deeper action sum to one."""
    policy = EditPolicy(wider=1, deeper=1, embedding=3, hidden=4, scale=0.9).start(edits(chain()), Draws(0, "law"))
    here = path("2-2-conv3", "2-2-skip", "2-4-conv5", "4-4-skip")
    total = 0.0
    for size in range(3):
        for places in itertools.combinations((0, 2), size):
            for place, kind in itertools.product((1, 3), (0, 1)):
                walk = policy.walk(here, actions=[["wider", *places], ["deeper", place, kind]])
                total += math.exp(float(walk.log_prob.detach()))
    assert total == pytest.approx(1.0, abs=1e-12)


def test_drawn_actions_have_the_probability_of_the_law() -> None:
    policy = SMALL.start(edits(chain()), Draws(0, "law"))
    here, draws = path("2-2-conv3", "2-2-skip", "2-4-conv5", "4-4-skip"), Draws(1, "walk")
    for _ in range(5):
        walk = policy.walk(here, draws)
        again = policy.walk(here, actions=json.loads(json.dumps(walk.actions)))
        assert again.path == walk.path and [a[0] for a in walk.actions] == ["wider", "deeper", "deeper"]
        assert float(again.log_prob.detach()) == float(walk.log_prob.detach())


def test_the_gradient_is_that_of_the_law() -> None:
    policy = EditPolicy(wider=2, deeper=1, embedding=2, hidden=2, scale=0.9).start(edits(chain()), Draws(0, "law"))
    here, draws = path("2-2-conv3", "2-2-skip", "2-4-conv5", "4-4-skip"), Draws(2, "walk")
    children = [policy.walk(here, draws).actions for _ in range(3)]
    weights, bonus = [0.5, -1.0, 0.2], 0.3
    found = policy.gradient(here, children, weights, bonus)

    def value(parameters: Any) -> float:
        policy.load(parameters)
        walks = [policy.walk(here, actions=actions) for actions in children]
        first = sum(w * float(walk.log_prob.detach()) for w, walk in zip(weights, walks, strict=True))
        return first + bonus * float(np.mean([float(walk.entropy.detach()) for walk in walks]))

    at, rng, step = policy.parameters.copy(), np.random.default_rng(0), 1e-6
    for _ in range(3):
        way = rng.standard_normal(len(at))
        slope = (value(at + step * way) - value(at - step * way)) / (2 * step)
        assert slope == pytest.approx(float(found @ way), rel=1e-6)


def test_a_place_is_widened_once_by_one_action() -> None:
    policy = SMALL.start(edits(chain()), Draws(0, "law"))
    walk = policy.walk(path(*["2-2-conv3"] * 4), actions=[["wider", 0, 1, 3]])
    assert walk.path == path("2-4-conv3", "4-4-conv3", "4-4-conv3", "4-4-conv3")


# --- episodes and stages ----------------------------------------------------------------------------------------------


def test_rewards_near_one_count_for_more() -> None:
    assert shaped(0.5) == pytest.approx(1.0) and shaped(0.0) == 0.0
    assert shaped(1.0) == shaped(CEILING) == pytest.approx(636.6, abs=0.1)
    assert (shaped(-0.3), shaped(93.5)) == (-0.3, 93.5)


def test_the_first_is_the_smallest_and_children_name_it() -> None:
    searcher = Growth(SMALL, batch=2, episodes=1).start(chain(), 0)
    first, *others = searcher.ask(3)
    assert first == Proposal(Architecture(path(*["2-2-skip"] * 4)))
    assert all(p.parent == first.architecture.digest and p.architecture != first.architecture for p in others)
    assert all(sum("conv" in o for o in p.architecture.values()) == 2 for p in others)


def test_the_first_has_its_places_spread() -> None:
    (first,) = Growth(SMALL, filled=2).start(chain(), 0).ask(1)
    assert first.architecture == path("2-2-conv3", "2-2-skip", "2-2-conv3", "2-2-skip")
    with pytest.raises(UsageError, match="has 4 places, and filled=5 asks for more"):
        Growth(SMALL, filled=5).start(chain(), 0)


def test_a_stage_ends_with_the_best_that_can_grow() -> None:
    searcher = Growth(SMALL, batch=2, episodes=2).start(chain(), 0)
    (first,) = searcher.ask(1)
    searcher.tell([told(first, 0.1)])
    full = Architecture(path("2-8-conv3", "8-8-conv3", "8-8-conv3", "8-8-conv3"))
    searcher.tell([told(Proposal(full), 0.99)])  # the best of all, at its end
    children = searcher.ask(4)
    parameters = searcher.policy.parameters.copy()
    for child, value in zip(children, (0.3, 0.7, 0.2, 0.4), strict=True):
        assert searcher.begin == first.architecture
        searcher.tell([told(child, value)])
    assert not np.array_equal(parameters, searcher.policy.parameters)
    assert searcher.begin == children[1].architecture and searcher.episode == 0
    assert searcher.ask(1)[0].parent == children[1].architecture.digest
    late = told(Proposal(children[0].architecture, parent=first.architecture.digest, meta=children[0].meta), 0.5)
    searcher.tell([late])
    assert searcher.waiting == []  # of an earlier stage


def test_what_paid_becomes_probable() -> None:
    """Children whose first place is filled with a 5x5 kernel pay; the policy comes to fill it so."""
    part = Growth(EditPolicy(wider=0, deeper=1), batch=10, episodes=1000, lr=0.02, baseline=Baseline(0.9, "after"))
    searcher = part.start(chain(), 0)
    searcher.tell([told(p, 0.0) for p in searcher.ask(1)])
    shares = []
    for _ in range(30):
        children = searcher.ask(10)
        good = [c.architecture["layer1"] == "2-2-conv5" for c in children]
        searcher.tell([told(c, 0.9 if g else 0.1) for c, g in zip(children, good, strict=True)])
        shares.append(sum(good) / 10)
    assert np.mean(shares[:3]) < 0.5 and np.mean(shares[-5:]) > 0.9


def test_choices_beside_the_chain_are_drawn() -> None:
    plain = chain()
    both = Space([*plain.choices, Choice("rate", ("low", "high"))], plain.constraints)
    searcher = Growth(SMALL).start(both, 0)
    assert {p.architecture["rate"] for p in searcher.ask(12)} == {"low", "high"}


def test_it_obeys_the_kit() -> None:
    check_strategy(Growth(SMALL, batch=3, episodes=2), space=chain())


def test_a_short_chain_by_hand() -> None:
    options = ("1-1-skip", "1-1-conv3", "1-2-conv3")
    tiny = Space([Choice("p", options)], [Chain(("p",))])
    searcher = Growth(EditPolicy(1, 1, 2, 2), batch=1, episodes=1).start(tiny, 0)
    seen = []
    for _ in range(4):
        (proposal,) = searcher.ask(1)
        seen.append(proposal.architecture["p"])
        searcher.tell([told(proposal, 0.1 * len(seen))])
    assert seen[:2] == ["1-1-skip", "1-1-conv3"] and "1-2-conv3" in seen[2:]  # and what is full is no start
