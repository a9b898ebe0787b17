"""Architectures as values, and the published notations both ways."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import pytest
import torch

from mimar import space
from mimar.core.errors import SpaceError
from mimar.core.streams import stream
from mimar.space import Architecture, Genotype

# DARTS_V2 as published in the DARTS release
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('sep_conv_3x3', 1), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), ('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], "
    "reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)
BEST = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|"


def test_value_semantics() -> None:
    a = Architecture({"x": "conv", "n": ["0", "2"], "w": 16})
    b = Architecture({"w": 16, "n": ("0", "2"), "x": "conv"})
    assert a == b == {"x": "conv", "n": ("0", "2"), "w": 16}
    assert hash(a) == hash(b)
    assert a.digest == b.digest
    assert len(a.digest) == 16
    assert a != Architecture({**a, "w": 32})
    assert a.digest != Architecture({**a, "w": 32}).digest
    assert {a: 1}[b] == 1
    assert pickle.loads(pickle.dumps(a)) == a
    with pytest.raises(AttributeError, match="immutable"):
        a.w = 3
    with pytest.raises(TypeError):
        a["w"] = 3  # type: ignore[index]


def test_the_given_mapping_is_copied() -> None:
    given = {"x": "a"}
    arch = Architecture(given)
    given["x"] = "b"
    assert arch["x"] == "a"


def test_json_round_trip_and_in_another_process() -> None:
    arch = space.darts().sample(stream(0, "json"))
    assert Architecture.from_json(arch.to_json()) == arch
    assert list(json.loads(arch.to_json())) == sorted(arch)
    code = (
        "import sys; from mimar.space import Architecture; a = Architecture.from_json(sys.stdin.read()); "
        "print(a.digest, a.to_genotype())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=arch.to_json(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{arch.digest} {arch.to_genotype()}"


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": null}', '{"a": {"b": 1}}', '{"a": [null]}'])
def test_json_of_something_else(text: str) -> None:
    with pytest.raises(SpaceError):
        Architecture.from_json(text)


def test_wrong_contents() -> None:
    with pytest.raises(SpaceError, match="strings"):
        Architecture({1: "a"})  # type: ignore[dict-item]
    with pytest.raises(SpaceError, match="'x' has the value"):
        Architecture({"x": torch.zeros(1)})


def test_nasbench201_strings() -> None:
    arch = Architecture.from_nasbench201(BEST)
    assert arch["cell/0-1"] == "nor_conv_3x3"
    assert arch["cell/0-3"] == "skip_connect"
    assert arch["cell/2-3"] == "nor_conv_1x1"
    assert arch.to_nasbench201() == BEST
    assert Architecture.from_nasbench201(BEST, prefix="a/b").to_nasbench201() == BEST


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BEST.replace("skip_connect", "skip_conect"), "did you mean 'skip_connect'"),
        (BEST.replace("~2", "~1"), "looks like"),
        (BEST[:30], "looks like"),
        ("", "looks like"),
        (BEST + "+|none~0|", "looks like"),
    ],
)
def test_wrong_nasbench201_strings(text: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Architecture.from_nasbench201(text)


def test_other_architectures_have_no_nasbench201_string() -> None:
    with pytest.raises(SpaceError, match="not a NAS-Bench-201 cell"):
        Architecture({"body": "conv"}).to_nasbench201()
    with pytest.raises(SpaceError, match="7 choices"):
        Architecture({**Architecture.from_nasbench201(BEST), "more": "x"}).to_nasbench201()


def test_published_genotype() -> None:
    arch = Architecture.from_genotype(DARTS_V2)
    assert space.darts().valid(arch)
    assert arch["normal/node5"] == ("0", "2")
    assert arch["normal/2-5"] == "dil_conv_3x3"
    assert arch["reduce/node3"] == ("1", "2")
    again = arch.to_genotype()
    assert isinstance(again, Genotype)
    assert Architecture.from_genotype(again) == Architecture.from_genotype(str(again)) == arch
    published = Genotype(**{k: v for k, v in _evaluated(DARTS_V2).items()})
    for cell in ("normal", "reduce"):  # equal up to the order of a node's two inputs
        pairs, mine = getattr(published, cell), getattr(again, cell)
        assert [sorted(pairs[i : i + 2]) for i in (0, 2, 4, 6)] == [sorted(mine[i : i + 2]) for i in (0, 2, 4, 6)]
    assert Architecture.from_genotype(DARTS_V2.replace("[2, 3, 4, 5]", "range(2, 6)")) == arch


def _evaluated(text: str) -> dict:
    return eval(text, {"Genotype": dict, "__builtins__": {}})  # a constant of this file


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sep_conv_3x3", "sep_conv_3x4", "did you mean 'sep_conv_3x3'"),
        ("dil_conv_3x3", "none", "unknown operation 'none'"),
        ("('dil_conv_3x3', 2)", "('dil_conv_3x3', 5)", "between 0 and 4"),
        ("('dil_conv_3x3', 2)", "('dil_conv_3x3', 0)", "takes the input 0 twice"),
        ("('dil_conv_3x3', 2)", "'dil_conv_3x3'", "not a pair"),
        ("normal_concat=[2, 3, 4, 5]", "normal_concat=[3, 4, 5]", "all intermediate nodes"),
        ("normal_concat", "normal_concta", "the fields"),
        ("Genotype(", "Gene(", "not a genotype"),
        ("Genotype(", "", "cannot be read"),
        ("[2, 3, 4, 5]", "__import__('os').listdir()", "plain values"),
        ("[2, 3, 4, 5]", "range(10**9)", "plain values"),
        (", ('dil_conv_3x3', 2)", "", "two for each node"),
    ],
)
def test_wrong_genotypes(old: str, new: str, message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Architecture.from_genotype(DARTS_V2.replace(old, new))


def test_other_architectures_have_no_genotype() -> None:
    with pytest.raises(SpaceError, match="not a DARTS architecture"):
        Architecture({"body": "conv"}).to_genotype()
    arch = Architecture.from_genotype(DARTS_V2)
    with pytest.raises(SpaceError, match="no choice 'normal/0-2'"):
        Architecture({k: v for k, v in arch.items() if k != "normal/0-2"}).to_genotype()
    with pytest.raises(SpaceError, match="beside"):
        Architecture({**arch, "more": "x"}).to_genotype()


@pytest.mark.parametrize("operations", [None, space.S1, space.S2, space.S3, space.S4])
def test_genotypes_of_random_architectures(operations: object) -> None:
    cells = space.darts(operations=operations)  # type: ignore[arg-type]
    rng = stream(1, "genotypes")
    for _ in range(20):
        arch = cells.sample(rng)
        assert Architecture.from_genotype(repr(arch.to_genotype())) == arch
