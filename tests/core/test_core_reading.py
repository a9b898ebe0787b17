"""Words read as values and as parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from mimar.core.errors import UsageError
from mimar.core.ranges import Count, Positive, validate
from mimar.core.reading import part, read


@dataclass(frozen=True)
class Thing:
    size: Count = 3
    rate: Positive | None = None
    kind: Literal["one", "two"] = "one"
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        validate(self)


def test_a_part_is_read_from_its_words() -> None:
    assert part(Thing, "", "thing") == Thing()
    assert part(Thing, "size=5, rate=0.5,kind=two", "thing") == Thing(5, 0.5, "two")
    assert part(Thing, "rate=none", "thing").rate is None
    assert read("names", "a,b", tuple[str, ...]) == ("a", "b") and read("names", "", tuple[str, ...]) == ()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("sizes=5", "unknown option of thing 'sizes'; did you mean 'size'?"),
        ("size=0", "size of thing is '0'; it must be a whole number at least 1"),
        ("size", "an option of thing is key=value; got 'size'"),
        ("kind=three", "kind of thing is 'three'; it must be 'one' or 'two'"),
    ],
)
def test_wrong_words_have_a_sentence(words: str, text: str) -> None:
    with pytest.raises(UsageError) as error:
        part(Thing, words, "thing")
    assert text in str(error.value)
