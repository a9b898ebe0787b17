"""The space of a model: walk its modules and collect the choices."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

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
    found = _Found()
    _visit(model, "", (), found)
    choices = [dataclasses.replace(c, when=tuple(found.when[name] or ())) for name, c in found.choices.items()]
    constraints = getattr(model, "space_constraints", ())
    return Space(choices, constraints, structure=getattr(model, "space_structure", None))


@dataclass
class _Found:
    """Choices by name, where each was met first, and its conditions (None: unconditional)."""

    choices: dict[str, Choice] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    when: dict[str, dict[Condition, None] | None] = field(default_factory=dict)


def _visit(module: nn.Module, path: str, inside: tuple[Condition, ...], found: _Found) -> None:
    """Collect the choices of `module`, which stands at `path` within the options `inside`, outermost first."""
    if not isinstance(module, OneOf | SomeOf):
        for name, child in module.named_children():
            _visit(child, f"{path}.{name}" if path else name, inside, found)
        return
    choice = module.choice
    _enter(choice, path or "the root", inside, found)
    for option, candidate in zip(module.options, module.candidates, strict=True):
        inner = f"{path}.{option}" if path else option
        _visit(candidate, inner, (*inside, (choice.name, option)), found)


def _enter(choice: Choice, path: str, inside: tuple[Condition, ...], found: _Found) -> None:
    for parent, option in inside:
        if parent == choice.name:
            raise SpaceError(
                f"the choice {choice.name!r} at {path!r} stands inside its own option {option!r}; give the inner one "
                "another name"
            )
    first = found.choices.setdefault(choice.name, choice)
    place = found.places.setdefault(choice.name, path)
    if first != choice:
        raise SpaceError(
            f"the choice {choice.name!r} stands at {place!r} with {_shape(first)} and at {path!r} with {_shape(choice)}; "
            "the same name is one decision, so give one of them another name"
        )
    if not inside:
        found.when[choice.name] = None
        return
    conditions = found.when.setdefault(choice.name, {})
    if conditions is not None:
        conditions[inside[-1]] = None


def _shape(choice: Choice) -> str:
    text = f"the options {', '.join(choice.options)}"
    if choice.kind == "some":
        text += f" (k={choice.k})"
    return text + (f" (never {', '.join(choice.never)})" if choice.never else "")
