"""Untied cells: choices of their own, in any kit, with the structure of each cell."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mimar import nets, space
from mimar.core.errors import SpaceError, UsageError
from mimar.core.streams import isolated, stream
from mimar.space import Architecture, OneOf
from mimar.supernet import extract
from mimar.testing import check_space, check_supernet

NETS = (
    "darts:cells=3,channels=2,nodes=2,nested=1",
    "s3:cells=2,channels=2,nested=1",
    "nasbench201:cells=1,channels=2,nested=1",
)


def built(text: str, affine: bool = False) -> nn.Module:
    with isolated(0):
        return nets.named(text, in_channels=1, classes=3, affine=affine)


def test_names_say_the_cell() -> None:
    found = [c.name for c in space.of(built(NETS[0]))]
    assert found[:6] == ["normal0/node2", "normal0/0-2", "normal0/1-2", "normal0/node3", "normal0/0-3", "normal0/1-3"]
    assert {name.partition("/")[0] for name in found} == {"normal0", "reduce1", "reduce2"}
    assert len(found) == 3 * 7
    names = [c.name for c in space.of(built("nasbench201:cells=2,channels=2,nested=1"))]
    assert names == [f"cell{n}/{i}-{j}" for n in range(6) for i, j in space.NASBENCH201_EDGES]
    untied = built(NETS[2])
    assert len({m.name for m in untied.modules() if isinstance(m, OneOf)}) == 18


def test_zero_is_the_tied_net() -> None:
    for text in NETS:
        tied = text.replace("nested=1", "nested=0")
        assert space.of(built(tied)).choices == space.of(built(text.replace(",nested=1", ""))).choices
        assert space.of(built(tied)).layout in ("darts", "nasbench201")
        assert space.of(built(text)).layout is None
        assert [p.shape for p in built(text).parameters()] == [p.shape for p in built(tied).parameters()]


@pytest.mark.parametrize("text", NETS)
def test_untied_nets_obey_the_kits(text: str) -> None:
    net = built(text)
    check_space(net, samples=3)
    check_supernet(net, torch.randn(2, 1, 8, 8, generator=stream(1)), architectures=1, smooth=False)


@pytest.mark.parametrize("text", NETS)
def test_codes_come_back(text: str) -> None:
    found = space.of(built(text))
    archs = [found.sample(stream(0, i)) for i in range(3)]
    for kind in ("onehot", "unit-cube", "tokens", "graph"):
        assert found.decode(found.encode(archs, kind), kind) == archs, kind
    codes = found.encode(archs, "path")
    assert codes.shape == (3, found.structure.path_count)
    assert (codes.sum(1) > 0).all()


def tied(arch: Architecture, cell: str, name: str) -> dict:
    return {k.replace(cell, name): v for k, v in arch.items() if k.startswith(f"{cell}/")}


def test_canonical_and_simplified_cells_are_those_of_the_tied_space() -> None:
    untied, alone = space.of(built(NETS[2])), space.nasbench201()
    arch = untied.sample(stream(4))
    for rule in ("canonical", "simplify"):
        found = getattr(untied, rule)(arch)
        assert found.keys() == arch.keys()
        for n in range(3):
            wanted = getattr(alone, rule)(Architecture(tied(arch, f"cell{n}", "cell")))
            assert tied(found, f"cell{n}", "cell") == dict(wanted)


def test_path_codes_stand_one_behind_the_other() -> None:
    untied, alone = space.of(built(NETS[2])), space.nasbench201()
    arch = untied.sample(stream(5))
    parts = [alone.encode([Architecture(tied(arch, f"cell{n}", "cell"))], "path") for n in range(3)]
    assert torch.equal(untied.encode([arch], "path"), torch.cat(parts, dim=1))


def test_pruned_networks_compute_the_same() -> None:
    net = built(NETS[2], affine=True).double().eval()
    found, x = space.of(net), torch.randn(2, 1, 8, 8, generator=stream(1), dtype=torch.float64)
    archs = [found.sample(stream(6, i)) for i in range(20)]
    changed = [arch for arch in archs if found.simplify(arch) != arch]
    assert changed
    for arch in changed[:5]:
        torch.testing.assert_close(extract(net, arch, prune=True)(x), extract(net, arch)(x))


def test_wrong_words_and_graphs() -> None:
    for text in ("darts:nested=2", "nasbench201:nested=3"):
        with pytest.raises(UsageError, match="nested is [23]; it must be 0"):
            built(text)
    found = space.of(built(NETS[0]))
    labels, edges = found.structure.graph(found.sample(stream(0)))
    with pytest.raises(SpaceError, match="a graph of 3 cells has as many outputs, not 2"):
        found.structure.ungraph((labels[:-1], edges))
