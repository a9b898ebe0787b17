"""Terms made of losses and weights: ablation, the gap of generalisation, the second copy, partial decay."""

from __future__ import annotations

import pytest
import torch
from fake_view import NAMES, SPACE, drawn, softmax, start, view

from mimar.core.derivatives import gradient
from mimar.core.errors import UsageError
from mimar.core.trees import Tensors, flat, leaves, square
from mimar.gradient.regularise import Ablation, GeneralisationGap, LossScale, PartialDecay, Tether
from mimar.gradient.regularise.ablation import bypassed
from mimar.gradient.regularise.vectors import cells
from mimar.space import Choice
from mimar.supernet import Gates

# --- ablation -------------------------------------------------------------------------------------------------------


def losses(alphas: Tensors, weights: Tensors) -> tuple[float, list[float]]:
    """Return the loss and those with each cell bypassed, written out."""
    seen = view(weights, alphas)
    skip = {n: torch.eye(len(g)).double()[-2] for n, g in seen.gates.items()}
    without = []
    for cell in "ab":
        gates = Gates({n: skip[n] if n.startswith(cell) else g for n, g in seen.gates.items()})
        without.append(seen.again(gates=gates)[1].item())
    return seen.loss.item(), without


@pytest.mark.parametrize("floor", [1e-6, 5.0])
@pytest.mark.parametrize("moving", [False, True])
def test_the_gradient_of_ablation_is_that_of_its_definition_with_the_other_cells_fixed(
    floor: float, moving: bool
) -> None:
    weights, alphas = start()
    term, step = Ablation(0.7, floor), 1e-6
    full, without = losses(alphas, weights)
    mean = full - sum(without) / 2
    expected = []
    for i, alpha in enumerate(alphas):
        cell = 0 if NAMES[i].startswith("a") else 1
        for e in torch.eye(len(alpha)).double():
            sides = []
            for sign in (1, -1):
                moved = tuple(a + sign * step * e if j == i else a for j, a in enumerate(alphas))
                now, gone = losses(moved, weights)
                sides.append(now - gone[cell])  # M of the cell whose alphas move; the other M is fixed
            expected.append(0.7 * (sides[0] - sides[1]) / (2 * step) / max(abs(mean), floor))
    a, w = leaves(alphas), leaves(weights) if moving else weights
    found = term(w, a, view(w, a))
    slopes = gradient(found, (*a, *w) if moving else a, keep=True)
    assert found.item() == 0.0
    assert all(float(g.norm()) > 1e-6 for g in slopes[:3])
    torch.testing.assert_close(flat(slopes[:3]), torch.tensor(expected).double(), rtol=1e-5, atol=1e-8)
    assert not any(g.any() for g in slopes[3:])  # the weights are constants


def test_ablation_lowers_the_loss_whatever_the_cells_add() -> None:
    """Bypassing may be better than the cells: the published sign would then go uphill."""
    a = leaves(start()[1])
    signs = set()
    for factor in (1.0, 0.1):  # with a head of small weights the cells only disturb
        w = (*start()[0][:3], factor * start()[0][3])
        full, without = losses(a, w)
        signs.add(full > sum(without) / 2)
        found = gradient(Ablation()(w, a, view(w, a)), a)
        assert (flat(found) * flat(gradient(view(w, a).loss, a))).sum() > 0
    assert signs == {True, False}


def test_bypassed_cells_skip_and_forget_what_was_ruled_out() -> None:
    gates = softmax(start()[1])
    gates.active = {NAMES[0]: (True, False, True), NAMES[2]: (False, False, True)}
    found = bypassed(gates, cells(SPACE)["a"])
    assert found[NAMES[0]].tolist() == [0, 1, 0] and found[NAMES[1]].tolist() == [1, 0]
    assert torch.equal(found[NAMES[2]], gates[NAMES[2]]) and not found[NAMES[2]].requires_grad
    assert found.active == {NAMES[2]: (False, False, True)} and set(gates.active) == {NAMES[0], NAMES[2]}


def test_a_cell_without_skips_passes_nothing_on() -> None:
    """S4 has convolutions and noise only: all closed is what an option `none` would give."""
    for options in (("conv", "none"), ("noise", "sep_conv_3x3")):
        closed = bypassed(Gates({"c": torch.ones(2), "d": torch.ones(2)}), [Choice("c", options)])
        assert closed["c"].tolist() == [0, 0] and closed["d"].tolist() == [1, 1]


# --- the gap, the scale and the second copy -------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("turned", [False, True])
def test_the_outer_loss_becomes_the_training_loss_and_the_gap(rate: float, turned: bool) -> None:
    w, a = start()[0], leaves(start()[1])
    seen = view(w, a)
    valid, train = seen.loss, seen.other()
    if turned:
        valid, train = train, valid
        seen.loss, seen.other = valid, lambda: train
    total = valid + GeneralisationGap(rate)(w, a, seen)
    torch.testing.assert_close(total, train + rate * (valid - train).abs())
    g, v, t = (flat(gradient(x, a, keep=True)) for x in (total, valid, train))
    torch.testing.assert_close(g, t + rate * torch.sign(valid - train).detach() * (v - t))


def test_the_data_loss_counts_as_often_as_asked() -> None:
    seen = view(*start())
    assert float(seen.loss + LossScale(7.0)(*start(), seen)) == pytest.approx(7 * float(seen.loss))
    assert float(LossScale(1.0)(*start(), seen)) == 0.0


def test_weights_are_tied_to_their_second_copy_which_stays() -> None:
    w = leaves(start()[0])
    held = {f"twin/{i}": drawn(f"y{i}", *t.shape).requires_grad_() for i, t in enumerate(w)}
    found = Tether(4.0)(w, start()[1], view(w, start()[1], held=held))
    expected = 2.0 * sum((t - y).square().sum().item() for t, y in zip(w, held.values(), strict=True))
    assert found.item() == pytest.approx(expected)
    slopes = gradient(found, (*w, *held.values()))
    for i, t in enumerate(w):
        torch.testing.assert_close(slopes[i], 4 * (t - held[f"twin/{i}"]).detach())
        assert not slopes[len(w) + i].any()
    with pytest.raises(UsageError, match="this search has none"):
        Tether()(w, start()[1], view(w, start()[1]))


# --- partial decay --------------------------------------------------------------------------------------------------


def decay(active: dict[str, tuple[bool, ...]], **changed: object) -> float:
    seen = view(*start(), **changed)
    seen.gates.active = active
    return float(PartialDecay(0.2)(*start(), seen))


def test_only_weights_that_took_part_decay() -> None:
    sizes = [0.1 * float(square((w,))) for w in start()[0]]
    assert decay({}) == pytest.approx(sum(sizes))
    assert decay({NAMES[0]: (True, True, False)}) == pytest.approx(sum(sizes[1:]))
    assert decay({NAMES[0]: (False, False, True), NAMES[1]: (True, False)}) == pytest.approx(sum(sizes) - sizes[1])
    none = {n: (True,) * (len(c.options) - 1) + (False,) for n, c in zip(NAMES, SPACE.choices, strict=True)}
    assert decay(none) == pytest.approx(sizes[3])
    assert decay(none, settings={"decay": 3.0}) == pytest.approx(3 * sizes[3])


def test_weights_of_nested_options_decay_with_all_of_them() -> None:
    owners = {n: (("a/0-1", 2), ("a/1-2", 1)) for n in ("a.0", "a.1", "b.0", "head")}
    both = {"a/0-1": (False, False, True), "a/1-2": (False, True)}
    whole = 0.1 * float(square(start()[0]))
    assert decay(both, owners=owners) == pytest.approx(whole)
    for name, flags in (("a/0-1", (True, True, False)), ("a/1-2", (True, False))):
        assert decay({**both, name: flags}, owners=owners) == 0.0
    assert decay({}, weight_names=(), owners={}) == pytest.approx(whole)
