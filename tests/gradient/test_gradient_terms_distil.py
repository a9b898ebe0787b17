"""Distillation from a ring of snapshots."""

from __future__ import annotations

import pytest
import torch
from fake_view import NAMES, drawn, network, softmax, start, view

from mimar.core.derivatives import gradient
from mimar.core.trees import flat, leaves
from mimar.gradient.regularise import Distil, Moment, keeps, settle


def moved(by: float) -> Moment:
    weights, alphas = ([t + by for t in ts] for ts in start())
    return Moment(tuple(weights), (torch.full((2,), by),), tuple(alphas), NAMES, 0, 0.0, "inner")


def after(term: Distil, steps: int, by: float = 0.1) -> dict[str, torch.Tensor]:
    """Return what is held after a number of weight steps, in which all tensors grow."""
    held = keeps(term, *start())
    for step in range(steps):
        moment = moved(by * step)
        moment.step = step
        settle(term, held, moment)
    return held


def test_a_student_that_is_the_teacher_learns_nothing() -> None:
    term = Distil(teachers=2, every=1, temperature=1.7)
    held = after(term, 5, by=0.0)
    w, a = (leaves(t) for t in start())
    found = term(w, a, view(w, a, held=held))
    assert abs(found.item()) < 1e-15 and float(flat(gradient(found, (*w, *a))).abs().max()) < 1e-15
    other = leaves(t + 0.1 * drawn(f"d{i}", *t.shape) for i, t in enumerate(w))
    assert float(term(other, a, view(other, a, held=held)).detach()) > 1e-5


def test_there_is_no_loss_before_the_first_snapshot() -> None:
    term = Distil(every=4)
    for steps in (0, 3):
        assert float(term(*start(), view(*start(), held=after(term, steps)))) == 0.0
    assert float(term(*start(), view(*start(), held={}))) == 0.0
    found = after(term, 4)
    assert int(found["ring/count"]) == 1 and float(term(*start(), view(*start(), held=found))) > 0


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_vote_is_the_mean_of_softmaxes_and_the_loss_their_divergence(temperature: float) -> None:
    term = Distil(rate=0.6, teachers=3, every=2, temperature=temperature)
    weights, alphas = start()
    seen = view(weights, alphas, held=after(term, 6))
    x = drawn("x0", 5, 3)
    rows = []
    for step in (1, 3, 5):  # snapshots follow the steps 2, 4 and 6
        w, a = ([t + 0.1 * step for t in ts] for ts in (weights, alphas))
        rows.append(torch.softmax(network(w, softmax(tuple(a)), x) / temperature, 1))
    p = (rows[0] + rows[1] + rows[2]) / 3
    (found,) = term.votes(seen, len(weights), len(alphas))
    torch.testing.assert_close(found, p)
    q = torch.softmax(seen.outputs[0] / temperature, 1)
    expected = 0.6 * temperature**2 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(term(weights, alphas, seen), expected)


def test_the_ring_keeps_the_latest_snapshots_and_never_more() -> None:
    term = Distil(teachers=3, every=2)
    for steps in range(16):
        held = after(term, steps)
        slots = {name.split("/")[1] for name in held} - {"count"}
        assert int(held["ring/count"]) == steps // 2 and len(slots) == min(3, steps // 2)
        kept = {round(float(held[f"ring/{s}/7"][0]), 6) for s in slots}  # the buffer: 0.1 · step
        assert kept == {round(0.1 * s, 6) for s in range(1, steps, 2)[-3:]}
    assert len(held) == 3 * 8 + 1  # four weights, three alphas, a buffer


def test_snapshots_are_copies_and_follow_weight_steps_only() -> None:
    term, held = Distil(every=1), keeps(Distil(), *start())
    moment = moved(0.0)
    moment.kind = "outer"
    settle(term, held, moment)
    assert list(held) == ["ring/count"] and int(held["ring/count"]) == 0
    moment.kind = "inner"
    settle(term, held, moment)
    moment.weights[0].zero_()
    assert torch.equal(held["ring/0/0"], start()[0][0])


def test_other_outputs_have_their_classes_last() -> None:
    term = Distil(every=1)
    w, a = start()
    held = after(term, 1, 0.0)
    seen = view(w, a, held=held)
    z, t = drawn("z", 2, 3, 4), drawn("t", 2, 3, 4)
    seen.outputs, seen.again = (z,), lambda weights=None, gates=None, buffers=None: ((t,), t.sum())
    p, q = torch.softmax(t, -1).reshape(6, 4), torch.softmax(z, -1).reshape(6, 4)
    torch.testing.assert_close(term(w, a, seen), (p * (p / q).log()).sum() / 6)
