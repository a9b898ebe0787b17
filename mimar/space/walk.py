"""The space of a model: walk its modules and collect the choices."""

from __future__ import annotations

import dataclasses

from torch import nn

from mimar.core.errors import SpaceError
from mimar.space.choice import Choice
from mimar.space.modules import OneOf, SomeOf
from mimar.space.space import Space

Condition = tuple[str, str]


def of(model: nn.Module) -> Space:
    """Return the space of all choices inside `model`, in the order of its modules.

    A choice nested in an option is active only with that option. The same name twice is one decision: the options must be
    equal (else SpaceError), the conditions are united, and an unconditional copy makes it unconditional. The attributes
    `space_structure` and `space_constraints` of the model itself, where present, go into the space.
    """
    if not isinstance(model, nn.Module):
        raise SpaceError(f"mimar.space.of takes an nn.Module, not {type(model).__name__}")
    found: dict[str, Choice] = {}
    places: dict[str, str] = {}
    conditions: dict[str, dict[Condition, None] | None] = {}
    _visit(model, "", None, found, places, conditions)
    choices = tuple(dataclasses.replace(c, when=tuple(conditions[name] or ())) for name, c in found.items())
    constraints = getattr(model, "space_constraints", ())
    return Space(choices, constraints, structure=getattr(model, "space_structure", None))


def _visit(
    module: nn.Module,
    path: str,
    under: Condition | None,
    found: dict[str, Choice],
    places: dict[str, str],
    conditions: dict[str, dict[Condition, None] | None],
) -> None:
    if not isinstance(module, OneOf | SomeOf):
        for name, child in module.named_children():
            _visit(child, f"{path}.{name}" if path else name, under, found, places, conditions)
        return
    choice = module.choice
    first = found.setdefault(choice.name, choice)
    places.setdefault(choice.name, path)
    if first != choice:
        raise SpaceError(
            f"the choice {choice.name!r} stands at {places[choice.name] or 'the root'!r} with {_shape(first)} and at {path!r} "
            f"with {_shape(choice)}; the same name is one decision, so give one of them another name"
        )
    if under is None:
        conditions[choice.name] = None
    else:
        held = conditions.setdefault(choice.name, {})
        if held is not None:
            held[under] = None
    for option, candidate in zip(module.options, module.candidates, strict=True):
        inner = f"{path}.{option}" if path else option
        _visit(candidate, inner, (choice.name, option), found, places, conditions)


def _shape(choice: Choice) -> str:
    text = f"the options {', '.join(choice.options)}"
    if choice.kind == "some":
        text += f" (k={choice.k})"
    return text + (f" (never {', '.join(choice.never)})" if choice.never else "")
