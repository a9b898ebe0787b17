"""Fields of a training as choices: what a text says, what it may not say, what comes of it."""

from __future__ import annotations

import pytest

from mimar.core.errors import UsageError
from mimar.core.optimisers import Sgd
from mimar.evaluators import Retrain
from mimar.evaluators.tuned import tuned
from mimar.space import Choice


def test_a_text_says_choices() -> None:
    lr, decay, batch, cutout, momentum = tuned(
        "lr=0.003..0.3, decay=0|0.001, batch=64|32, cutout=0|4, momentum=0.5..0.99"
    )
    assert lr == Choice("recipe/lr", (0.003, 0.3), "value", log=True)
    assert decay == Choice("recipe/decay", (0.0, 0.001))
    assert batch == Choice("recipe/batch", (32, 64), "size") and cutout == Choice("recipe/cutout", (0, 4), "size")
    assert momentum == Choice("recipe/momentum", (0.5, 0.99), "value")  # less than a decade
    assert tuned("decay=0..0.1")[0].log is False  # nothing is zero on a logarithmic scale
    assert tuned("") == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("learning=0.1..1", "unknown field of a training 'learning'; .*lr"),
        ("lr", "tune takes lr=LOW..HIGH or lr=VALUE|VALUE once; got 'lr'"),
        ("lr=0.1|0.2,lr=0.3|0.4", "once; got 'lr=0.3|0.4'"),
        ("lr=0.3..0.1", "the range goes from LOW to HIGH"),
        ("lr=0.1", "has two different values or more"),
        ("lr=0.1|0.1", "has two different values or more"),
        ("lr=-1|0.1", "lr of tune is '-1'; it must be a number above 0"),
        ("lr=..", "lr of tune is ''; it must be a number above 0"),
        ("batch=16..64", "it is a whole number at least 2: give values between bars, as batch=32|64"),
        ("batch=1|32", "batch of tune is '1'"),
        ("momentum=0.5..1.5", "momentum of tune is '1.5'"),
    ],
)
def test_what_a_text_may_not_say(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        tuned(text)


def test_only_fields_that_are_offered() -> None:
    with pytest.raises(UsageError, match="unknown field of a training 'batch'; .*lr"):
        tuned("batch=16|32", ("lr", "decay"))


def test_a_training_settles_what_was_decided() -> None:
    part = Retrain(epochs=3, batch=8, optimiser=Sgd(lr=0.5, decay=0.1), cutout=2)
    assert part.settled({"op": "a"}) is part
    found = part.settled({"op": "a", "recipe/lr": 0.25, "recipe/batch": 16, "recipe/decay": 0.0})
    assert found == Retrain(epochs=3, batch=16, optimiser=Sgd(lr=0.25, decay=0.0), cutout=2)
