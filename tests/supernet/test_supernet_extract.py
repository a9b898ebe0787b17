"""The plain network of one architecture."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mimar import Architecture, OneOf, SomeOf
from mimar.core.errors import SpaceError, UsageError
from mimar.core.streams import stream
from mimar.supernet import chosen, extract
from mimar.testing.problems import tiny_batch, tiny_model

ARCH = Architecture({"body": "wide", "node": ("1", "2")})


def test_a_choice_at_the_root_is_replaced() -> None:
    model = OneOf({"a": nn.Linear(2, 3), "b": nn.Identity()}, name="c")
    net = extract(model, Architecture({"c": "a"}))
    assert type(net) is nn.Linear and torch.equal(net.weight, model.candidates[0].weight)
    some = SomeOf({"a": nn.Linear(2, 2), "b": nn.Identity(), "c": nn.Tanh()}, k=2, name="s")
    x = torch.randn(4, 2, generator=stream(0))
    assert torch.equal(extract(some, Architecture({"s": ("b", "c")}))(x), x + torch.tanh(x))
    assert torch.equal(extract(some, Architecture({"s": ("b", "c")}))([x, 2 * x, 3 * x]), 2 * x + torch.tanh(3 * x))


def test_edges_name_the_chosen_modules() -> None:
    found = chosen(tiny_model(), ARCH)
    assert {(e.choice, e.option) for e in found.edges} == {
        ("body", "wide")
    }  # drop-path acts on operations, not on sums of them
    inside = {id(m) for m in found.net.modules()}
    assert all(id(e.module) in inside for e in found.edges)


def test_fresh_weights_leave_the_model_and_the_global_generator_alone() -> None:
    model = tiny_model()
    before, state = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    net = extract(model, ARCH, fresh=stream(3))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())
    norm = next(m for m in net.modules() if isinstance(m, nn.BatchNorm2d))
    assert not bool(norm.running_mean.any()) and int(norm.num_batches_tracked) == 0


def test_ties_between_parameters_stay_tied() -> None:
    common = nn.Linear(3, 3)
    model = nn.Sequential(common, OneOf({"again": common, "skip": nn.Identity()}, name="c"))
    net = extract(model, Architecture({"c": "again"}))
    assert net[0].weight is net[1].weight and net[0].weight is not common.weight


def test_foreign_and_incomplete_architectures_are_refused() -> None:
    for arch in ({"body": "conv"}, {"body": "huge", "node": ("0", "1")}, {"bodi": "conv"}):
        with pytest.raises(SpaceError):
            extract(tiny_model(), Architecture(arch))


def test_fresh_weights_of_a_module_without_a_rule_are_refused() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return self.scale * x

    model = nn.Sequential(OneOf({"own": Own(), "skip": nn.Identity()}, name="c"))
    assert extract(model, Architecture({"c": "own"}))(torch.ones(1)).item() == 1.0
    with pytest.raises(UsageError, match=r"'0' \(Own\) has parameters but no reset_parameters"):
        extract(model, Architecture({"c": "own"}), fresh=stream(0))


def test_the_pickled_network_loads_where_mimar_is_absent(tmp_path: Path) -> None:
    net, (x, _) = extract(tiny_model(), ARCH).eval(), tiny_batch()
    (tmp_path / "net.pickle").write_bytes(pickle.dumps((net, x, net(x).detach())))
    code = (
        "import sys, pickle; sys.modules['mimar'] = None\n"
        "import torch\n"
        "net, x, y = pickle.load(open('net.pickle', 'rb'))\n"
        "print(torch.equal(net(x), y), sum(m.startswith('mimar') for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.split() == ["True", "1"], done.stderr
