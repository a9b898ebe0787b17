"""The plain networks are mimar's, executed otherwise; the file that every ratio is measured against does not change."""

from __future__ import annotations

import hashlib
from pathlib import Path

import plain
import pytest
import steps
import torch
from steps import Forms, Size, checked, flat
from torch import nn

from mimar.supernet import Fused, Reference, Supernet

FROZEN = "547afac356a356d685866d2a6dc660af4dbd18954ffa7dfeb355397ee86cb70e"
SIZES = [
    Size("darts", 3, 4, 8, 4),
    Size("darts", 2, 4, 8, 4),
    Size("darts", 4, 2, 12, 3),
    Size("nasbench201", 1, 4, 8, 4),
]


def test_the_file_is_frozen() -> None:
    assert hashlib.sha256(Path(plain.__file__).read_bytes()).hexdigest() == FROZEN


@pytest.mark.parametrize("engine", [Reference(), Fused()], ids=["reference", "fused"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_plain_networks_equal_those_of_mimar(size: Size, engine: Reference | Fused) -> None:
    made = Forms(size, dtype=torch.float64)
    wanted, theirs = made.plain()()
    found, ours = made.ours(engine=engine)()
    assert float((found - wanted).abs()) < 1e-12
    assert len(ours) == made.weights + sum(map(len, made.used)) and len(theirs) == made.weights + len(made.used)
    for part in (slice(made.weights), slice(made.weights, None)):
        assert float((flat(ours[part]) - flat(theirs[part])).norm() / flat(theirs[part]).norm()) < 1e-11


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_running_statistics_move_alike(size: Size) -> None:
    made = Forms(size, dtype=torch.float64)
    supernet = Supernet(made.model)
    rows = zip([n for names in made.used for n in names], torch.cat(made.gates[-len(made.used) :]), strict=True)
    _, ours = supernet.call(supernet.weights, dict(rows) | made.opened(), made.x, update=True)
    before = flat(list(made.twin.buffers()))
    made.twin(made.x, *made.gates)
    theirs = flat(list(made.twin.buffers()))
    assert not torch.equal(theirs, before)
    torch.testing.assert_close(flat(ours), theirs, rtol=1e-10, atol=1e-12)


def test_another_network_is_refused() -> None:
    with pytest.raises(AssertionError, match="another one"):
        plain.share(plain.Darts(3, 4), plain.Darts(3, 8))


def test_channels_last_is_the_same_step() -> None:
    made = Forms(SIZES[0])
    checked({"plain": made.plain(), "last": made.plain(channels_last=True)}, made.weights)


@pytest.mark.parametrize(("what", "message"), [("loss", "another loss"), (0, "its weights"), (-1, "its gates")])
def test_unequal_steps_are_not_compared(what: str | int, message: str) -> None:
    made = Forms(SIZES[0])

    def wrong() -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        loss, found = made.ours()()
        if isinstance(what, str):
            return loss * 1.01, found
        part = found[: made.weights] if what == 0 else found[made.weights :]
        spoiled = tuple(t * 1.1 for t in part)
        return loss, (*spoiled, *found[made.weights :]) if what == 0 else (*found[: made.weights], *spoiled)

    with pytest.raises(AssertionError, match=message):
        checked({"plain": made.plain(), "wrong": wrong}, made.weights)


def test_a_single_path_runs_one_option_of_every_edge() -> None:
    made, calls = Forms(SIZES[0]), []
    for name, module in made.model.named_modules():
        if isinstance(module, nn.BatchNorm2d) and "candidates" in name:
            module.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
    edges, loss = sum(len(cell.edges) for cell in made.twin.cells), made.single()()[0]
    assert bool(torch.isfinite(loss)) and 0 < len({n.rpartition(".candidates.")[0] for n in calls}) <= edges
    options = {n.rpartition("candidates.")[0] + n.rpartition("candidates.")[2].partition(".")[0] for n in calls}
    assert len(options) == len({n.rpartition(".candidates.")[0] for n in calls})


def test_bounds_and_rows() -> None:
    least, most = steps.Bound(">=", 4, 10), steps.Bound("<=", 0.5)
    assert [least.reached(v) for v in (3.9, 4, 10)] == ["no", "must", "aim"]
    assert [most.reached(v) for v in (0.4, 0.6)] == ["must", "no"]
    held = steps.row("what", SIZES[0], [2.0, 4.0, 9.0], [1.0, 1.0, 1.0], least)
    assert (held["ratio"], held["quartiles"], held["reached"], held["rounds"]) == ("4", "3 to 6.5", "must", 3)
