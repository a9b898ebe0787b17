"""key=value words: every kind of annotation, dotted fields of parts, and a sentence for whatever is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mimar import recipes
from mimar.cli.options import Option, changed, fields, options, pairs, parse
from mimar.core.errors import UsageError
from mimar.core.ranges import Count, NonNegative, Positive, Range, check, hints, validate
from mimar.core.reading import read


@dataclass(frozen=True)
class Rate:
    lr: Positive = 0.1
    nesterov: bool = False

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True)
class Training:
    epochs: Count = 20
    optimiser: Rate = Rate(lr=0.5)


def toy(
    *,
    seed: int = 0,
    task: str | None = None,
    terms: Annotated[int, Range(-1, 9)] = 2,
    step: Literal["lr", "auto"] | Positive = "lr",
    limit: Count | None = None,
    mixed: bool = False,
    name: str = "x",
    widths: tuple[Count, ...] = (8,),
    training: Training = Training(),
    extra: Training | None = None,
) -> dict[str, Any]:
    return locals()


RIGHT = [
    ("terms=-1", "terms", -1),
    ("terms=9", "terms", 9),
    ("step=auto", "step", "auto"),
    ("step=AUTO", "step", "auto"),
    ("step=0.5", "step", 0.5),
    ("step=1e-3", "step", 1e-3),
    ("limit=none", "limit", None),
    ("limit=3", "limit", 3),
    ("mixed=true", "mixed", True),
    ("mixed=No", "mixed", False),
    ("name=a=b", "name", "a=b"),
    ("name=", "name", ""),
    ("widths=8,16", "widths", (8, 16)),
    (" terms = 3 ", "terms", 3),
    ("training.epochs=5", "training", Training(epochs=5)),
    ("training.optimiser.lr=0.1", "training", Training(optimiser=Rate(lr=0.1))),
    ("training.optimiser.nesterov=yes", "training", Training(optimiser=Rate(lr=0.5, nesterov=True))),
    ("extra=none", "extra", None),
    ("extra.epochs=2", "extra", Training(epochs=2)),
]

WRONG = [
    ("terms=10", "terms is '10'; it must be a whole number at least -1 and at most 9"),
    ("terms=2.5", "terms is '2.5'; it must be a whole number"),
    ("terms=", "terms is ''; it must be a whole number"),
    ("terms=true", "terms is 'true'; it must be a whole number"),
    ("terms=none", "terms is 'none'; it must be a whole number"),
    ("step=fast", "step is 'fast'; it must be 'lr' or 'auto' or a number above 0"),
    ("step=0", "step is '0'; it must be 'lr' or 'auto' or a number above 0"),
    ("step=nan", "step is 'nan'; it must be"),
    ("step=inf", "step is 'inf'; it must be"),
    ("limit=0", "limit is '0'; it must be a whole number at least 1 or none"),
    ("mixed=maybe", "mixed is 'maybe'; it must be true or false"),
    ("widths=8,0", "widths is '8,0'; it must be"),
    ("term=3", "unknown option 'term'; did you mean 'terms'?"),
    ("qqqq=3", "unknown option 'qqqq'; there is extra.epochs"),
    ("terms.x=3", "unknown option 'terms.x'; did you mean 'terms'?"),
    ("training=5", "training is a part: set its fields, as in training.epochs=20"),
    ("training=none", "training is a part: set its fields"),
    ("training.epoch=5", "unknown option 'training.epoch'; did you mean 'training.epochs'?"),
    ("training.epochs=0", "training.epochs is '0'; it must be a whole number at least 1"),
    ("training.optimiser=adam", "training.optimiser is a part: set its fields, as in training.optimiser.lr=0.5"),
    ("training.optimiser.rl=1", "unknown option 'training.optimiser.rl'; did you mean 'training.optimiser.lr'?"),
    ("training.optimiser.lr=-1", "training.optimiser.lr is '-1'; it must be a number above 0"),
    ("trainingg.optimiser.lr=1", "did you mean 'training.optimiser.lr'?"),
    ("terms", "'terms' is not an option: options have the form key=value"),
    ("=3", "'=3' is not an option"),
    ("seed=3", "seed is a flag, not an option of the recipe: give --seed 3 instead of seed=3"),
    ("task=digits", "give --task digits"),
    ("out=x", "give --out x"),
    ("json=true", "give --json instead"),
]


@pytest.mark.parametrize(("word", "name", "expected"), RIGHT)
def test_word_becomes_a_value(word: str, name: str, expected: Any) -> None:
    found = parse([word], toy)
    assert found == {name: expected}
    assert type(found[name]) is type(expected)
    toy(**found)


@pytest.mark.parametrize(("word", "text"), WRONG)
def test_wrong_word_has_a_sentence(word: str, text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse([word], toy)
    assert text in str(error.value)


def test_several_fields_of_one_part_come_together() -> None:
    words = ["training.epochs=3", "training.optimiser.lr=0.2", "training.optimiser.nesterov=true"]
    assert parse(words, toy) == {"training": Training(3, Rate(0.2, True))}
    assert changed(Training(), ["epochs=7", "optimiser.lr=0.3"]) == Training(7, Rate(0.3))


def test_twice_and_contradiction() -> None:
    with pytest.raises(UsageError, match="the option 'terms' is given twice"):
        parse(["terms=1", "terms=2"], toy)
    with pytest.raises(UsageError, match="extra is given as none and with fields"):
        parse(["extra=none", "extra.epochs=3"], toy)


def test_hyphens_in_keys_are_underscores() -> None:
    assert pairs(["inner-steps=a-b"]) == {"inner_steps": "a-b"}


def test_options_are_flat_and_without_the_reserved_words() -> None:
    listed = {o.name: o for o in options(toy)}
    assert "seed" not in listed and "task" not in listed
    assert str(listed["terms"]) == "terms=2  (a whole number at least -1 and at most 9)"
    assert listed["training.optimiser.lr"] == Option("training.optimiser.lr", Positive, 0.5)
    assert str(listed["limit"]) == "limit=none  (a whole number at least 1 or none)"
    assert [o.name for o in fields(Training())] == ["epochs", "optimiser.lr", "optimiser.nesterov"]


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_numbers_read_back_or_are_refused(number: float) -> None:
    try:
        assert read("lr", repr(number), NonNegative) == number
    except UsageError:
        assert not 0 <= number < float("inf")


@pytest.mark.parametrize("name", recipes.names())
def test_every_default_of_every_recipe_reads_back(name: str) -> None:
    _, function = recipes.load(name)
    plain = [f"{o.name}={o.shown}" for o in options(function)]
    assert function(**parse(plain, function)) == function()
    for keyword, hint in hints(function).items():
        if keyword in parse(plain, function):
            check("", keyword, parse(plain, function)[keyword], hint)


def test_recipes_are_found_without_importing_them() -> None:
    assert {"idarts", "darts-1st", "darts-2nd", "random", "random-ws"} <= set(recipes.names())
    assert recipes.load("Darts_1st")[1] is recipes.load("darts-1st")[1]
    assert recipes.about("idarts").startswith("iDARTS")
    with pytest.raises(UsageError, match="unknown recipe 'idart'; did you mean 'idarts'?"):
        recipes.load("idart")
    with pytest.raises(UsageError, match="unknown variant of idarts 'es'; there is none"):
        recipes.load("idarts:es")


def test_variants_are_functions_of_the_file(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_paper.py").write_text(
        '"""A paper."""\n\n\ndef recipe():\n    return 1\n\n\ndef recipe_early_stop():\n    return 2\n'
    )
    monkeypatch.setattr(recipes, "_folder", lambda: tmp_path)
    monkeypatch.setattr(recipes, "__path__", [str(tmp_path)])
    assert recipes.names() == ("some-paper",)
    assert recipes.variants("some-paper") == ("early-stop",)
    assert recipes.load("some-paper:early-stop")[1]() == 2
    assert recipes.load("some_paper")[1]() == 1
    with pytest.raises(UsageError, match="did you mean 'early-stop'?"):
        recipes.load("some-paper:early-stp")
