"""Choices inside plain models, and the space that a walk over the modules finds."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

import mimar
from mimar import space
from mimar.core.errors import SpaceError, UsageError
from mimar.space import EXECUTION, Architecture, Choice, OneOf, SomeOf


def two(name: str, **options: nn.Module) -> OneOf:
    return OneOf(options or {"conv": nn.Linear(2, 2), "skip": nn.Identity()}, name=name)


class Plain:
    """An execution that sums everything with equal gates of one."""

    def one(self, choice: OneOf, x: tuple[Tensor, ...]) -> Tensor:
        return torch.stack([candidate(*x) for candidate in choice.candidates]).sum(0)

    def some(self, choice: SomeOf, xs: Tensor | Sequence[Tensor]) -> Tensor:
        each = xs if isinstance(xs, list | tuple) else [xs] * len(choice.candidates)
        return torch.stack([c(x) for c, x in zip(choice.candidates, each, strict=True)]).sum(0)


def test_public_names() -> None:
    assert mimar.OneOf is OneOf
    assert mimar.SomeOf is SomeOf
    assert mimar.space.of is space.of


def test_attributes_and_dotted_option_names() -> None:
    choice = OneOf({"a.b": nn.Identity(), "conv 3×3": nn.Linear(1, 1)}, name="x/y.z", never=("a.b",))
    assert choice.options == ("a.b", "conv 3×3")
    assert choice.choice == Choice("x/y.z", ("a.b", "conv 3×3"), never=("a.b",))
    assert isinstance(choice.candidates, nn.ModuleList)
    assert [type(m) for m in choice.candidates] == [nn.Identity, nn.Linear]
    assert len(list(choice.parameters())) == 2
    assert copy.deepcopy(choice).choice == choice.choice
    some = SomeOf({"0": nn.Identity(), "1": nn.Identity(), "2": nn.Identity()}, k=2, name="n")
    assert (some.k, some.choice) == (2, Choice("n", ("0", "1", "2"), "some", 2))
    assert "name='n'" in repr(some)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: OneOf({}, name="x"), "no options"),
        (lambda: OneOf({"a": nn.Identity()}, name="x"), "only the option 'a'"),
        (lambda: OneOf({"a": nn.Identity(), "b": nn.Identity}, name="x"), "the class Identity"),
        (
            lambda: OneOf({"a": nn.Identity(), "b": torch.relu}, name="x"),
            "option 'b' of OneOf 'x' must be an nn.Module",
        ),
        (lambda: OneOf({"a": nn.Identity(), 3: nn.Identity()}, name="x"), "option name 3"),
        (lambda: OneOf([nn.Identity(), nn.Identity()], name="x"), "takes a dict"),
        (lambda: OneOf({"a": nn.Identity(), "b": nn.Identity()}, name=""), "non-empty string"),
        (lambda: OneOf({"a": nn.Identity(), "b": nn.Identity()}, name="x", never=("c",)), "excludes 'c'"),
        (lambda: SomeOf({"a": nn.Identity()}, k=1, name="x"), "at least two"),
        (lambda: SomeOf({"a": nn.Identity(), "b": nn.Identity()}, k=3, name="x"), "between 1 and 2"),
        (lambda: SomeOf({"a": nn.Identity(), "b": nn.Identity()}, k=0, name="x"), "between 1 and 2"),
        (lambda: SomeOf({"a": nn.Identity(), "b": 1}, k=1, name="x"), "must be an nn.Module, not int"),
    ],
)
def test_wrong_choices(make: object, text: str) -> None:
    with pytest.raises(SpaceError, match=text):
        make()  # type: ignore[operator]


def test_outside_a_supernet_a_choice_says_what_to_do() -> None:
    for choice in (two("body"), SomeOf({"0": nn.Identity(), "1": nn.Identity()}, k=1, name="body")):
        with pytest.raises(UsageError, match=r"'body'.*mimar\.supernet\.Supernet.*mimar\.supernet\.extract"):
            choice(torch.zeros(1, 2))


def test_execution_is_delegated_and_local_to_its_context() -> None:
    choice = two("a")
    some = SomeOf({"0": nn.Identity(), "1": nn.Identity()}, k=1, name="n")
    x = torch.ones(1, 2)
    token = EXECUTION.set(Plain())
    try:
        assert torch.equal(choice(x), choice.candidates[0](x) + x)
        assert torch.equal(some(x), 2 * x)
        assert torch.equal(some([x, 3 * x]), 4 * x)
        errors: list[BaseException] = []
        thread = threading.Thread(target=lambda: errors.append(pytest.raises(UsageError, choice, x).value))
        thread.start()
        thread.join()
        assert len(errors) == 1
    finally:
        EXECUTION.reset(token)


def test_walk_finds_choices_in_module_order() -> None:
    found = space.of(nn.Sequential(nn.Linear(2, 2), two("b"), nn.Sequential(two("a"))))
    assert [c.name for c in found.choices] == ["b", "a"]
    assert found.choices[0] == Choice("b", ("conv", "skip"))
    assert found.layout is None
    assert space.of(two("root")).size() == 2
    assert space.of(nn.Linear(1, 1)).size() == 1


def test_nested_choices_are_conditional() -> None:
    inner = two("inner")
    model = nn.Sequential(two("outer", deep=nn.Sequential(nn.ReLU(), inner), flat=nn.Identity()))
    found = space.of(model)
    assert found["inner"].when == (("outer", "deep"),)
    assert set(found.enumerate()) == {
        Architecture({"outer": "deep", "inner": "conv"}),
        Architecture({"outer": "deep", "inner": "skip"}),
        Architecture({"outer": "flat"}),
    }
    assert found.size() == 3


def test_same_name_is_one_decision() -> None:
    assert space.of(nn.Sequential(two("x"), two("x"))).size() == 2
    both = space.of(nn.Sequential(two("p", a=two("x"), b=nn.Identity()), two("q", a=nn.Identity(), b=two("x"))))
    assert both["x"].when == (("p", "a"), ("q", "b"))
    assert both.size() == 2 + 1 + 2 + 2  # x counts twice except at (p=b, q=a)
    free = space.of(nn.Sequential(two("p", a=two("x"), b=nn.Identity()), two("x")))
    assert free["x"].when == ()
    shared = two("x")
    assert space.of(nn.Sequential(two("p", a=shared, b=nn.Identity()), nn.Sequential(shared)))["x"].when == ()


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (two("x", a=nn.Identity(), b=nn.Identity()), ["'0'", "'1.1'", "conv, skip", "a, b"]),
        (SomeOf({"conv": nn.Identity(), "skip": nn.Identity()}, k=1, name="x"), ["k=1"]),
        (OneOf({"conv": nn.Identity(), "skip": nn.Identity()}, name="x", never=("skip",)), ["never skip"]),
    ],
)
def test_same_name_with_other_options(other: nn.Module, words: list[str]) -> None:
    with pytest.raises(SpaceError, match="the same name is one decision") as caught:
        space.of(nn.Sequential(two("x"), nn.Sequential(nn.ReLU(), other)))
    for word in words:
        assert word in str(caught.value)


def test_circles_are_named() -> None:
    with pytest.raises(SpaceError, match="'x' at 'a' stands inside its own option 'a'"):
        space.of(two("x", a=two("x", a=nn.Identity(), b=nn.Identity()), b=nn.Identity()))
    one = two("p", a=two("q", a=nn.Identity(), b=nn.Identity()), b=nn.Identity())
    other = two("q", a=two("p", a=nn.Identity(), b=nn.Identity()), b=nn.Identity())
    with pytest.raises(SpaceError, match="form a circle"):
        space.of(nn.Sequential(two("r", a=one, b=nn.Identity()), two("s", a=other, b=nn.Identity())))


def test_structure_and_constraints_of_the_root_only() -> None:
    model = nn.Sequential(two("x"), two("y"))
    model.space_constraints = (lambda arch: arch["x"] != arch["y"],)
    assert space.of(model).size() == 2
    assert space.of(nn.Sequential(model)).size() == 4


def test_not_a_model() -> None:
    with pytest.raises(SpaceError, match="takes an nn.Module, not str"):
        space.of("model")  # type: ignore[arg-type]
