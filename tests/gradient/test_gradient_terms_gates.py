"""Terms that look at gates: cost, decision, distance to an architecture, concentration."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from fake_view import NAMES, OPTIONS, SPACE, drawn, one_hot, softmax, start, view

from mimar.core.derivatives import gradient
from mimar.core.trees import flat, leaves
from mimar.gradient.regularise import Admm, Concentration, ExpectedCost, Moment, Proximity, ZeroOne, keeps, settle
from mimar.gradient.regularise.vectors import cells, length, vertex
from mimar.gradient.relax import Context, Softmax
from mimar.space import Choice, Space, darts
from mimar.supernet import Gates

# --- expected cost --------------------------------------------------------------------------------------------------


def test_the_cost_of_one_hot_gates_is_that_of_the_path() -> None:
    for measure, expected in (("params", 9.0 + 0.0 + 18.0), ("macs", 90.0 + 2.0 + 70.0)):
        seen = view(*start(), gates=one_hot(2, 0, 2))
        assert float(ExpectedCost(0.5, measure, log=False)(*start(), seen)) == pytest.approx(0.5 * expected)
        assert float(ExpectedCost(0.5, measure)(*start(), seen)) == pytest.approx(0.5 * math.log(expected))


def test_the_cost_of_soft_gates_is_the_mean_over_architectures() -> None:
    gates = softmax(start()[1])
    mean = sum(
        float(ExpectedCost(1.0, "macs", log=False)(*start(), view(*start(), gates=one_hot(i, j, k))))
        * float(gates[NAMES[0]][i] * gates[NAMES[1]][j] * gates[NAMES[2]][k])
        for i in range(3)
        for j in range(2)
        for k in range(3)
    )
    assert float(ExpectedCost(1.0, "macs", log=False)(*start(), view(*start()))) == pytest.approx(mean)


def test_the_logarithm_of_no_cost_is_nought_and_has_no_gradient() -> None:
    w, a = (leaves(t) for t in start())
    found = ExpectedCost(1.0)(w, a, view(w, a, gates=one_hot(0, 0, 1)))
    assert found.item() == 0.0 and all(not g.any() for g in gradient(found, a))


def test_a_choice_costs_as_much_as_the_option_in_which_it_stands_takes_part() -> None:
    space = Space(
        [
            Choice("n", ("0", "1"), "some", 1),
            Choice("e", ("x", "y"), when=(("n", "0"),)),
            Choice("o", ("l", "r")),
            Choice("d", ("x", "y"), when=(("o", "l"), ("o", "r"))),
        ]
    )
    values = {"n": (0.25, 1.0), "e": (0.5, 0.5), "o": (0.2, 0.8), "d": (1.0, 0.0)}
    costs = {"n": (1.0, 2.0), "e": (10.0, 30.0), "o": (0.0, 5.0), "d": (8.0, 100.0)}
    tensors: list[Any] = [{n: torch.tensor(v).double() for n, v in m.items()} for m in (values, costs)]
    seen = view(*start(), space=space, costs=lambda _: tensors[1])
    seen.gates = Gates(tensors[0])
    expected = (0.25 + 2) + 0.25 * 20 + 0.8 * 5 + 0.5 * 8  # d stands once in l and once in r
    assert float(ExpectedCost(log=False).cost(seen)) == pytest.approx(expected)
    seen.gates.pop("e")  # an architecture's gates leave out what is not active
    assert float(ExpectedCost(log=False).cost(seen)) == pytest.approx(expected - 5)


# --- zero or one ----------------------------------------------------------------------------------------------------


def test_gates_are_pushed_away_from_a_half() -> None:
    values = torch.tensor([0.0, 0.1, 0.5, 0.5, 0.9, 1.0, 0.2, 0.5], dtype=torch.float64, requires_grad=True)
    seen = view(*start())
    seen.gates = Gates(dict(zip(NAMES, values.split([3, 2, 3]), strict=True)))
    found = ZeroOne(10.0)(*start(), seen)
    assert found.item() == pytest.approx(-10 * (0.25 + 0.16 + 0.16 + 0.25 + 0.09) / 8)
    (slope,) = gradient(found, (values,))
    torch.testing.assert_close(slope, -10 * 2 * (values - 0.5).detach() / 8)
    assert all((g < 0) == (p > 0.5) and (g > 0) == (p < 0.5) for p, g in zip(values.tolist(), slope.tolist()))


# --- distance to an architecture ------------------------------------------------------------------------------------


def test_the_vertex_has_two_edges_a_node_and_never_none() -> None:
    space = darts(nodes=3)
    alphas = {c.name: drawn(c.name, len(c.options)) for c in space.choices if c.kind == "one"}
    gates = Softmax().gates(alphas, Context(space))
    found = vertex(space, gates)
    assert set(found) == set(alphas)
    for cell in ("normal", "reduce"):
        for j in range(2, 5):
            best = {i: float(gates[f"{cell}/{i}-{j}"][1:].max()) for i in range(j)}
            for i in range(j):
                disc = found[f"{cell}/{i}-{j}"]
                if i in sorted(best, key=best.__getitem__)[-2:]:
                    assert disc.sum() == 1 and disc[1 + int(gates[f"{cell}/{i}-{j}"][1:].argmax())] == 1
                else:
                    assert not disc.any()
    assert list(cells(space)) == ["normal", "reduce"]
    shifted = {n: g - 2.0 if n in alphas else g for n, g in gates.items()}  # p + u may be below zero
    assert all(torch.equal(found[n], z) for n, z in vertex(space, shifted).items())


@pytest.mark.parametrize("adjusted", [False, True])
def test_proximity_is_nought_with_no_gradient_at_a_discrete_point_and_only_there(adjusted: bool) -> None:
    a = leaves(start()[1])
    found = Proximity(adjusted=adjusted)(start()[0], a, view(start()[0], a, gates=one_hot(2, 0, 1), progress=1.0))
    assert found.item() == 0.0 and all(torch.equal(g, torch.zeros_like(g)) for g in gradient(found, a))
    values = torch.tensor([0.0, 0, 1, 1, 0, 0, 1, 0], dtype=torch.float64, requires_grad=True)
    seen = view(*start(), progress=1.0)
    seen.gates = Gates(dict(zip(NAMES, values.split([3, 2, 3]), strict=True)))
    assert not flat(gradient(Proximity(adjusted=adjusted)(*start(), seen), (values,))).any()
    assert float(Proximity(adjusted=adjusted)(*start(), view(*start()))) > 1e-4


def test_proximity_is_the_sum_over_cells_of_norms_that_grows_with_progress() -> None:
    gates = softmax(start()[1])
    away = {n: g - torch.eye(len(g)).double()[_best(n, g)] for n, g in gates.items()}
    norms = [torch.cat([away[NAMES[0]], away[NAMES[1]]]).norm(), away[NAMES[2]].norm()]
    for progress in (0.0, 0.25, 1.0):
        found = Proximity(0.3)(*start(), view(*start(), progress=progress))
        assert found.item() == pytest.approx(float(progress * 0.15 * sum(norms)))


def _best(name: str, gate: torch.Tensor) -> int:
    return int(gate.argmax())


def test_adjusted_proximity_leaves_undecided_gates_free() -> None:
    zero = tuple(torch.zeros_like(a) for a in start()[1])
    assert float(Proximity(adjusted=True)(start()[0], zero, view(start()[0], zero))) == pytest.approx(0.0, abs=1e-12)
    assert float(Proximity()(start()[0], zero, view(start()[0], zero))) > 0.01
    seen = view(*start(), progress=1.0, space=Space([Choice("b/0-1", OPTIONS)]))
    p = seen.gates[NAMES[2]]
    weight = 4 * (p ** (math.log(2) / math.log(3)) - 0.5) ** 2
    expected = 0.05 * (weight * (p - torch.eye(3).double()[int(p.argmax())])).norm()
    assert float(Proximity(adjusted=True)(*start(), seen)) == pytest.approx(float(expected))


# --- multipliers ----------------------------------------------------------------------------------------------------


def moment(gates: dict[str, torch.Tensor], space: Space | None = None, kind: Any = "outer") -> Moment:
    found = Moment((), (), (), list(gates), 0, 0.0, kind, Gates(gates))
    found.space = space  # type: ignore[attr-defined]
    return found


def test_multipliers_follow_their_rule_every_so_many_steps() -> None:
    term, p = Admm(every=3), {NAMES[2]: torch.tensor([0.1, 0.3, 0.6]).double()}
    held = keeps(term, *start())
    z, u = torch.zeros(3).double(), torch.zeros(3).double()
    for step in range(8):
        p[NAMES[2]] = torch.softmax(drawn(f"p{step}", 3), 0)
        settle(term, held, moment(p, kind="inner"))
        settle(term, held, moment(p))
        if step % 3 == 0:
            z = torch.eye(3).double()[int((p[NAMES[2]] + u).argmax())]
            u = 0.2 * u + p[NAMES[2]] - z
        torch.testing.assert_close(held[f"admm/z/{NAMES[2]}"], z)
        torch.testing.assert_close(held[f"admm/u/{NAMES[2]}"], u)
    assert int(held["admm/steps"]) == 8


def test_multipliers_know_the_nodes_of_a_space() -> None:
    space = darts(nodes=3)
    alphas = {c.name: drawn(c.name, len(c.options)) for c in space.choices if c.kind == "one"}
    gates = Softmax().gates(alphas, Context(space))
    held = keeps(Admm(), *start())
    settle(Admm(), held, moment(gates, space))
    assert all(torch.equal(held[f"admm/z/{n}"], z) for n, z in vertex(space, gates).items())
    assert sum(int(held[f"admm/z/{n}"].sum()) for n in alphas) == 12


def test_multipliers_do_nothing_before_the_first_step_and_at_their_target() -> None:
    assert float(Admm()(*start(), view(*start()))) == 0.0
    a = leaves(start()[1])
    gates = one_hot(2, 0, 1)(a)
    held = {f"admm/z/{n}": g.detach() for n, g in gates.items()}
    held |= {f"admm/u/{n}": torch.zeros_like(g).detach() for n, g in gates.items()}
    found = Admm()(start()[0], a, view(start()[0], a, gates=one_hot(2, 0, 1), held=held))
    assert found.item() == 0.0 and all(torch.equal(g, torch.zeros_like(g)) for g in gradient(found, a))


@pytest.mark.parametrize("middle", [0.55, 0.3])
def test_multipliers_lead_a_quadratic_of_one_edge_to_a_vertex(middle: float) -> None:
    """min ½‖p − c‖² over the box: without the term at c, with it at the nearest vertex.

    The primal problem is solved between renewals, as the method asks for: half-way z would swing back and forth.
    """
    space, name = Space([Choice("b/0-1", ("x", "y"))]), "b/0-1"
    goal = torch.tensor([middle, 1 - middle]).double()

    def end(term: Admm) -> torch.Tensor:
        p, held = goal.clone(), keeps(term, (), ())
        for step in range(3000):
            p.requires_grad_()
            seen = view(*start(), space=space, held=held)
            seen.gates = Gates({name: p})
            (slope,) = gradient(0.5 * (p - goal).square().sum() + term((), (p,), seen), (p,))
            with torch.no_grad():
                p = (p - 0.05 / (1 + step / 100) * slope).clamp(0, 1)
            settle(term, held, moment({name: p}, space))
        return p

    assert torch.allclose(end(Admm(0.0)), goal)
    torch.testing.assert_close(
        end(Admm(2.0, every=50)), torch.tensor([1.0, 0.0] if middle > 0.5 else [0.0, 1.0]).double(), atol=5e-3, rtol=0
    )


# --- concentration, and the norm ------------------------------------------------------------------------------------


def test_concentrations_are_pulled_to_one() -> None:
    a = leaves((torch.tensor([0.5, -1.0]).double(), torch.tensor([2.0]).double()))
    beta = torch.tensor([1.5, math.exp(-1), 3.0]).double()
    found = Concentration(0.1)((), a)
    assert found.item() == pytest.approx(0.1 * float((beta - 1).norm()))
    assert all((g.sign() == t.sign()).all() for g, t in zip(gradient(found, a), a, strict=True))
    zero = leaves((torch.zeros(2).double(), torch.zeros(1).double()))
    at_rest = Concentration()((), zero)
    assert at_rest.item() == 0.0 and all(torch.equal(g, torch.zeros_like(g)) for g in gradient(at_rest, zero))


def test_the_length_has_a_derivative_everywhere() -> None:
    x = torch.tensor([3.0, 4.0]).double().requires_grad_()
    assert length(x).item() == 5.0
    torch.testing.assert_close(gradient(length(x), (x,))[0], torch.tensor([0.6, 0.8]).double())
    zero = torch.zeros(2).double().requires_grad_()
    (slope,) = gradient(length(zero), (zero,), graph=True)
    assert torch.equal(slope, torch.zeros(2).double()) and torch.isfinite(gradient(slope.sum(), (zero,))[0]).all()
    assert [c.name for c in cells(SPACE)["a"]] == list(NAMES[:2])
