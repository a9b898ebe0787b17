"""Fair sampling without replacement, under a shrinking set of candidates."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from mimar.core.streams import stream
from mimar.gradient.relax import Context, FairRounds, keeps, settle
from mimar.space import Choice, Space, nasbench201

PART = FairRounds()


def walk(space: Space, held: dict[str, torch.Tensor], steps: int, first: int = 0) -> list[dict[str, int]]:
    """Take outer steps, and return which option each choice used in each of them."""
    alphas, used = PART.init(space, stream(0)), []
    for at in range(first, first + steps):
        ctx = Context(space, 0.5, stream(7, at), scope="outer", held=held)
        inner = Context(space, 0.5, stream(8, at), held=held)
        found, other = PART.gates(alphas, ctx), PART.gates(alphas, inner)
        assert found.active == other.active  # the weights learn on the option that is judged
        assert all(float(found[n][active.index(True)]) == 1.0 for n, active in found.active.items())
        used.append({name: active.index(True) for name, active in found.active.items()})
        settle(PART, alphas, alphas, Context(space, 0.5, stream(7, at), scope="outer", held=held))
    return used


def test_every_option_is_used_once_a_round() -> None:
    space, rounds = nasbench201(), 6
    held = keeps(PART, space)
    used = walk(space, held, 5 * rounds)
    for r in range(rounds):
        for name in used[0]:
            assert sorted(step[name] for step in used[5 * r : 5 * r + 5]) == [0, 1, 2, 3, 4]
    assert float(held["round"]) == rounds
    assert all(held[f"uses/{n}"].tolist() == [rounds] * 5 for n in used[0])
    orders = {tuple(step[n] for step in used[5 * r : 5 * r + 5]) for r in range(rounds) for n in used[0]}
    assert len(orders) > 20  # of 36 drawn among 120


def test_rounds_go_on_where_they_were() -> None:
    space = nasbench201()
    whole, cut = keeps(PART, space), keeps(PART, space)
    used = walk(space, whole, 13)
    first = walk(space, cut, 7)
    kept = {name: tensor.clone() for name, tensor in cut.items()}
    assert first + walk(space, kept, 6, first=7) == used


def test_rounds_shrink_with_the_candidates() -> None:
    space = nasbench201()
    held = keeps(PART, space)
    walk(space, held, 10)
    for choice in space.choices:
        held[f"alive/{choice.name}"][2] = held[f"were/{choice.name}"][2] = 0.0  # as after the update's own step
    used = walk(space, held, 12, first=10)
    for choice in space.choices:
        assert Counter(step[choice.name] for step in used) == {0: 3, 1: 3, 3: 3, 4: 3}
    assert float(held["round"]) == 5


def test_an_option_that_goes_in_the_middle_of_a_round_is_not_waited_for() -> None:
    space = Space([Choice("a", ("x", "y", "z")), Choice("b", ("u", "v"))])
    held = keeps(PART, space)
    (first,) = walk(space, held, 1)
    gone = next(i for i in range(3) if i != first["a"])
    held["alive/a"][gone] = 0.0
    used = walk(space, held, 5, first=1)
    assert gone not in {step["a"] for step in used}
    assert used[0]["a"] == ({0, 1, 2} - {gone, first["a"]}).pop()
    assert Counter([first["b"], *(step["b"] for step in used)]) == {0: 3, 1: 3}
    assert float(held["round"]) == 3


def test_once_reduced_the_gates_are_the_softmax_of_what_is_alive() -> None:
    space = Space([Choice("a", ("x", "y", "z"))])
    held = keeps(PART, space)
    held["alive/a"][1] = 0.0
    alpha = torch.tensor([0.3, 9.0, -0.4], dtype=torch.float64, requires_grad=True)
    wanted = torch.softmax(alpha[[0, 2]], 0)
    sampled = PART.gates({"a": alpha}, Context(space, held=held))
    assert not sampled["a"].requires_grad and sorted(sampled["a"].tolist()) == [0, 0, 1] and sampled["a"][1] == 0
    held["reduced"].fill_(1.0)
    for training in (True, False):
        found = PART.gates({"a": alpha}, Context(space, training=training, held=held))
        assert torch.allclose(found["a"][[0, 2]], wanted) and found.active["a"] == (True, False, True)
    before = {name: t.clone() for name, t in held.items()}
    settle(PART, {"a": alpha}, {"a": alpha}, Context(space, held=held))
    assert all(torch.equal(before[name], t) for name, t in held.items())
    assert torch.autograd.grad(found["a"][0], alpha)[0][1] == 0


def test_without_what_it_keeps_it_says_so() -> None:
    space = nasbench201()
    with pytest.raises(ValueError, match="needs what it keeps"):
        PART.gates(PART.init(space, stream(0)), Context(space))
