"""Spaces made from spaces: the new architectures are exactly those that they should be, and the ways between them fit."""

from __future__ import annotations

import itertools
import math
import pickle

import pytest

from mimar.core.errors import SpaceError, UsageError
from mimar.core.streams import Draws
from mimar.space import Architecture, Choice, Space, darts, nasbench201
from mimar.space.pairs import pair_cells
from mimar.space.transforms import (
    Active,
    Grow,
    Image,
    Merge,
    Not,
    Partition,
    Poison,
    Product,
    Prune,
    Restrict,
    Split,
    Without,
    blocks,
    chain,
    neutral,
    weakest,
)
from mimar.testing import check_space


def conditional() -> Space:
    """A space of 3·(2 + 1 + 4)·3 architectures with every discrete kind."""
    return Space(
        [
            Choice("op", ("conv", "pool", "none"), prior=(1, 2, 3)),
            Choice("kernel", (3, 5), "size", when=(("op", "conv"),)),
            Choice("stride", ("a", "b", "c", "d"), when=(("op", "none"),)),
            Choice("inputs", ("0", "1", "2"), "some", 2),
        ]
    )


def few(arch: Architecture) -> bool:
    return sum(v == "nor_conv_3x3" for v in arch.values()) <= 1


def all_of(space: Space) -> set[Architecture]:
    return set(space.enumerate())


def fits(image: Image) -> None:
    """Back gives architectures of the old space, and back after forth is where it was."""
    for arch in itertools.islice(image.space.enumerate(), 300):
        there = image.back(arch)
        image.origin.check(there)
        assert image.back(image.forth(there)) == there


# --- smaller ------------------------------------------------------------------------------------------------------


def test_pruning_leaves_the_architectures_that_take_no_removed_option() -> None:
    space = conditional()
    image = Prune((("op", "pool"), ("kernel", 5), ("stride", "b")))(space)
    gone = {("op", "pool"), ("kernel", 5), ("stride", "b")}
    assert all_of(image.space) == {a for a in space.enumerate() if not gone & set(a.items())}
    assert image.space["op"].prior == (1, 3)
    fits(image)
    with pytest.raises(SpaceError, match="pool"):
        image.forth(Architecture({"op": "pool", "inputs": ("0", "1")}))


def test_a_choice_that_can_never_be_active_goes_too() -> None:
    image = Prune((("op", "conv"),))(conditional())
    assert [c.name for c in image.space.choices] == ["op", "stride", "inputs"]
    nested = Space([*conditional().choices, Choice("deep", ("x", "y"), when=(("kernel", 3),))])
    assert "deep" not in Prune((("op", "conv"),))(nested).space


def test_what_cannot_be_pruned_is_refused() -> None:
    for removed in (
        (("op", "pol"),),
        (("op", "conv"), ("op", "pool"), ("op", "none")),
        (("inputs", "0"), ("inputs", "1")),
    ):
        with pytest.raises(SpaceError):
            Prune(removed)(conditional())
    with pytest.raises(SpaceError, match="did you mean 'op'"):
        Prune((("opp", "conv"),))(conditional())


def test_the_worst_options_are_pruned_first_and_never_the_last_one() -> None:
    effects = {
        ("op", "conv"): -5.0,
        ("op", "pool"): -1.0,
        ("op", "none"): -0.5,
        ("kernel", 3): 2.0,
        ("kernel", 5): -0.1,
    }
    assert weakest(conditional(), effects, 1) == Prune((("op", "conv"),))
    assert weakest(conditional(), effects, 9) == Prune((("op", "conv"), ("op", "pool"), ("kernel", 5)))
    assert weakest(conditional(), {("inputs", "0"): -1.0, ("inputs", "2"): -2.0}, 9) == Prune((("inputs", "2"),))


def test_a_constraint_and_forbidden_pairs() -> None:
    space = nasbench201()
    assert all_of(Restrict(few)(space).space) == set(filter(few, space.enumerate()))
    pair = Without(((("op", "conv"), ("inputs", "0")),))
    left = all_of(Restrict(pair)(conditional()).space)
    assert left == {a for a in conditional().enumerate() if not (a["op"] == "conv" and "0" in a["inputs"])}


def test_the_canonical_form_stays_in_a_smaller_space() -> None:
    space = nasbench201()
    image = chain(space, [Prune((("cell/0-1", "none"), ("cell/2-3", "none"))), Restrict(few)])
    classes: dict[Architecture, set[Architecture]] = {}
    for arch in image.space.enumerate():
        form = image.space.canonical(arch)
        assert image.space.valid(form) and image.space.canonical(form) == form
        classes.setdefault(form, set()).add(space.canonical(arch))
    assert all(len(old) == 1 for old in classes.values())
    assert len(classes) == len({space.canonical(a) for a in image.space.enumerate()})
    check_space(image.space)


# --- parts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "split",
    [
        Partition("op", (("conv", "none"), ("pool",))),
        Partition("kernel", ((3,), (5,))),  # inactive in some: these are in the first part
        Partition("stride", (("a",), ("b", "d"), ("c",))),
        Split(Active("stride")),
    ],
    ids=repr,
)
def test_the_parts_of_a_partition_are_disjoint_and_all_of_it(split: Partition | Split) -> None:
    space = conditional()
    parts = [list(image.space.enumerate()) for image in split(space)]
    together = [arch for part in parts for arch in part]
    assert all(parts)
    assert len(together) == len(set(together)) == space.size()
    assert set(together) == all_of(space)


def test_a_predicate_splits_a_space_in_two() -> None:
    yes, no = Split(few)(nasbench201())
    assert all_of(yes.space) | all_of(no.space) == all_of(nasbench201())
    assert not all_of(yes.space) & all_of(no.space)
    assert Not(few)(next(no.space.enumerate()))


def test_what_is_no_partition_is_refused() -> None:
    for groups in ((("conv",), ("pool",)), (("conv", "pool", "none"), ("pool",)), (("conv", "pool", "none"), ())):
        with pytest.raises(SpaceError, match="once"):
            Partition("op", groups)(conditional())
    with pytest.raises(SpaceError, match="predicate"):
        Partition("inputs", (("0",), ("1", "2")))(conditional())


# --- products -----------------------------------------------------------------------------------------------------


def test_a_product_is_every_combination_and_splits_back() -> None:
    hyper = Space([Choice("lr", ("low", "high")), Choice("decay", ("0", "1"), when=(("lr", "high"),))])
    product = Product((("net", Restrict(Active("kernel"))(conditional()).space), ("hp", hyper)))
    found = list(product.space.enumerate())
    assert len(found) == len(set(found)) == product.space.size() == 6 * 3
    assert {product.join(product.split(a)) for a in found} == set(found)
    nets = {product.only("net")(a) for a in found}
    assert nets == {a for a in conditional().enumerate() if "kernel" in a}
    assert product.space["hp/decay"].when == (("hp/lr", "high"),)
    check_space(product.space)


def test_the_canonical_form_of_a_product_is_that_of_its_factors() -> None:
    cell = nasbench201()
    product = Product((("a", cell), ("b", cell)))
    draws = Draws(0, "test")
    one, two = (cell.sample(draws) for _ in range(2))
    joined = product.join({"a": one, "b": two})
    assert product.space.canonical(joined) == product.join({"a": cell.canonical(one), "b": cell.canonical(two)})
    assert product.space.simplify(joined) == product.join({"a": cell.simplify(one), "b": cell.simplify(two)})
    for kind in ("graph", "path"):
        with pytest.raises(UsageError, match="graph structure"):
            product.space.encode([joined], kind)


def test_products_of_wrong_names_are_refused() -> None:
    for names in (("a", "a"), ("a/b", "c"), ("", "c")):
        with pytest.raises(SpaceError, match="different names"):
            Product(tuple((name, conditional()) for name in names))
    product = Product((("net", conditional()),))
    with pytest.raises(SpaceError, match="did you mean 'net'"):
        product.only("nets")
    with pytest.raises(SpaceError, match="missing"):
        product.join({})


# --- growing ------------------------------------------------------------------------------------------------------


def test_a_prefix_decides_the_first_blocks_and_leaves_the_others_neutral() -> None:
    space = nasbench201()
    for b in range(1, 7):
        image = Grow(b)(space)
        assert image.space.size() == 5**b
        whole = image.back(next(iter(image.space.enumerate())))
        assert list(whole.values()) == ["none"] * b + ["skip_connect"] * (6 - b)
        fits(image)
    with pytest.raises(SpaceError, match="no prefix"):
        Grow(2)(space).forth(whole)  # all none
    with pytest.raises(SpaceError, match="1 to 6 blocks"):
        Grow(7)(space)


def test_the_neutral_value_of_every_kind() -> None:
    assert neutral(Choice("a", ("conv", "none", "skip_connect"))) == "skip_connect"
    assert neutral(Choice("a", ("conv", "None"))) == "None"
    assert neutral(Choice("a", ("conv", "pool"))) == "conv"
    assert neutral(Choice("a", ("skip", "conv"), never=("skip",))) == "conv"
    assert neutral(Choice("a", (8, 16), "size")) == 8
    assert neutral(Choice("a", ("0", "1", "2"), "some", 2)) == ("0", "1")
    assert neutral(Choice("a", (1e-4, 1e-2), "value", log=True)) == pytest.approx(1e-3)
    assert neutral(Choice("a", ("none", "skip_connect")), ("none",)) == "none"


def test_a_block_is_a_choice_with_all_that_depends_on_it() -> None:
    assert blocks(conditional()) == (("op", "kernel", "stride"), ("inputs",))
    assert blocks(nasbench201()) == tuple((c.name,) for c in nasbench201().choices)
    assert [len(b) for b in blocks(darts())] == [3, 4, 5, 6] * 2
    assert blocks(darts())[0] == ("normal/node2", "normal/0-2", "normal/1-2")


def test_growing_by_a_block_multiplies_the_space() -> None:
    sizes = [Grow(b)(darts()).space.size() for b in (1, 2, 3)]
    assert sizes == [math.prod(math.comb(n, 2) * 7**2 for n in range(2, 2 + b)) for b in (1, 2, 3)]


def test_pairs_of_inputs_and_operations_make_136_cells_of_one_block() -> None:
    space = pair_cells(1)
    assert space.size() == 256
    assert len({space.canonical(a) for a in space.enumerate()}) == 136
    assert pair_cells(5).size() == math.prod(((2 + b) * 8) ** 2 for b in range(5))
    check_space(pair_cells(2))


def test_exchanging_the_sides_of_a_block_changes_no_class() -> None:
    space, draws = pair_cells(3), Draws(1, "test")
    for _ in range(50):
        arch = space.sample(draws)
        turned = dict(arch)
        for b in range(3):
            for kind in ("input", "op"):
                one, two = f"cell/block{b}/{kind}1", f"cell/block{b}/{kind}2"
                turned[one], turned[two] = arch[two], arch[one]
        assert space.canonical(Architecture(turned)) == space.canonical(arch)


# --- poison -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [1, 5, 25])
def test_poison_is_drawn_with_its_share_and_maps_back(copies: int) -> None:
    space = nasbench201()
    image = Poison("none", copies)(space)
    assert all(c.count == 5 + copies for c in image.space.choices)
    draws, drawn, n = Draws(0, "test"), 0, 2000
    for _ in range(n):
        arch = image.space.sample(draws)
        drawn += sum("#" in v for v in arch.values())
        back = image.back(arch)
        assert space.valid(back)
        assert all(
            b == a or (b == "none" and a.startswith("none#")) for a, b in zip(arch.values(), back.values(), strict=True)
        )
    share = copies / (5 + copies)
    assert abs(drawn / (6 * n) - share) < 4 * math.sqrt(share * (1 - share) / (6 * n))
    assert image.space.structure is None


def test_a_new_useless_option_stands_for_one_that_the_table_knows() -> None:
    image = Poison("dropout", 2, like="none", choices=("cell/0-1",))(nasbench201())
    assert image.space["cell/0-1"].options[-2:] == ("dropout#1", "dropout#2")
    assert image.space["cell/0-2"].count == 5
    arch = Architecture({**next(image.space.enumerate()), "cell/0-1": "dropout#2"})
    assert image.back(arch)["cell/0-1"] == "none"


def test_poison_keeps_priors_and_conditions() -> None:
    image = Poison("none", 2)(conditional())
    assert image.space["op"].prior == (1, 2, 3, 3, 3)
    fits(image)
    poisoned = [a for a in image.space.enumerate() if a["op"] == "none#2"]
    assert len(poisoned) == 4 * 3 and all("stride" in a for a in poisoned)


def test_what_cannot_be_poisoned_is_refused() -> None:
    with pytest.raises(SpaceError, match="no choice"):
        Poison("nonne")(conditional())
    with pytest.raises(SpaceError, match="only 'one'"):
        Poison("0", choices=("inputs",))(conditional())


@pytest.mark.parametrize("copies", [1, 25])
def test_a_space_that_knows_the_copies_has_the_old_classes_and_merging_restores_it(copies: int) -> None:
    space = nasbench201()
    image = Poison("none", copies, known=True)(space)
    draws = Draws(0, "test")
    for _ in range(50):
        arch = image.space.sample(draws)
        assert image.space.canonical(arch) == space.canonical(image.back(arch))
    merged = Merge()(image.space)
    assert merged.space.choices == space.choices
    arch = image.space.sample(draws)
    assert merged.forth(arch) == image.back(arch)


def test_merging_leaves_a_clean_space_and_one_without_classes_as_they_are() -> None:
    assert Merge()(nasbench201()).space.choices == nasbench201().choices
    assert Merge()(Poison("none", 3)(nasbench201()).space).space["cell/0-1"].count == 8
    assert Merge()(conditional()).space.choices == conditional().choices


# --- all ----------------------------------------------------------------------------------------------------------


def test_a_chain_goes_back_through_all_of_it() -> None:
    image = chain(nasbench201(), [Prune((("cell/0-1", "none"),)), Grow(3), Poison("none", 2)])
    assert image.space.size() == 4 * 7 * 7  # the first edge has no none to copy
    draws = Draws(0, "test")
    for _ in range(20):
        image.origin.check(image.back(image.space.sample(draws)))
    fits(image)
    assert chain(nasbench201(), []).back(next(nasbench201().enumerate())) == next(nasbench201().enumerate())


@pytest.mark.parametrize(
    "transform", [Prune((("cell/0-1", "none"),)), Restrict(few), Grow(2), Poison("none", 2, known=True)]
)
def test_images_travel_between_processes(transform: object) -> None:
    image = transform(nasbench201())  # type: ignore[operator]
    again: Image = pickle.loads(pickle.dumps(image))
    draws, twin = Draws(0, "test"), Draws(0, "test")
    arch = image.space.sample(draws)
    assert again.space.sample(twin) == arch and again.back(arch) == image.back(arch)
    assert again.space.canonical(arch) == image.space.canonical(arch)
