"""How a network is trained as part of what is searched: fields of `Retrain` as choices beside the network's.

    "lr=0.003..0.3,decay=0|0.0003|0.003,batch=32|64"

A range is a continuous choice, on a logarithmic scale where its ends differ by a factor of ten or more; values between
bars are the options of a choice, ordered where they are whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mimar.core.errors import UsageError, nearest
from mimar.core.optimisers import Sgd
from mimar.core.ranges import fits, hints, spell
from mimar.core.reading import read
from mimar.evaluators.train import Retrain
from mimar.space import Choice
from mimar.space.structures import RECIPE

FIELDS: Mapping[str, Any] = {
    **{name: hints(Sgd)[name] for name in ("lr", "momentum", "decay", "clip")},
    **{name: hints(Retrain)[name] for name in ("batch", "drop_path", "cutout")},
}
DECADE = 10.0  # a range this wide is logarithmic


def tuned(text: str, fields: tuple[str, ...] = tuple(FIELDS)) -> tuple[Choice, ...]:
    """Return the choices that a text says; of the `fields` of a training. No text, no choice.

    Raises UsageError for an unknown field (naming the nearest), one given twice, and values that it cannot take.
    """
    found: dict[str, Choice] = {}
    for word in filter(None, text.replace(" ", "").split(",")):
        name, equals, values = word.partition("=")
        if name not in fields:
            raise UsageError(nearest(name, fields, kind="field of a training"))
        if not equals or name in found:
            raise UsageError(f"tune takes {name}=LOW..HIGH or {name}=VALUE|VALUE once; got {word!r}")
        found[name] = _choice(name, values)
    return tuple(found.values())


def _choice(name: str, values: str) -> Choice:
    kind, given = FIELDS[name], values.split("|")
    low, dots, high = values.partition("..")
    numbers = [read(f"{name} of tune", text, kind) for text in ((low, high) if dots else given)]
    if dots and not fits(0.5, kind):
        raise UsageError(
            f"{name} of tune is {values!r}; it is {spell(kind)}: give values between bars, as {name}=32|64"
        )
    if dots and not numbers[0] < numbers[1]:
        raise UsageError(f"{name} of tune is {values!r}; the range goes from LOW to HIGH")
    if dots:
        log = numbers[0] > 0 and numbers[1] / numbers[0] >= DECADE
        return Choice(RECIPE + name, (float(numbers[0]), float(numbers[1])), "value", log=log)
    if len(set(numbers)) < max(len(numbers), 2):
        raise UsageError(f"{name} of tune is {values!r}; a choice has two different values or more")
    whole = all(type(n) is int for n in numbers)
    return Choice(RECIPE + name, tuple(sorted(numbers)), "size" if whole else "one")
