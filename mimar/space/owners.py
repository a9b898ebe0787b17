"""Which options of a model a weight belongs to."""

from __future__ import annotations

from torch import nn

from mimar.space.modules import OneOf, SomeOf

Owners = tuple[tuple[str, int], ...]  # (choice, number of the option), outermost first


def owners(model: nn.Module) -> dict[str, Owners]:
    """Return {parameter: the options that must all be active for it to take part}, empty outside of choices.

    A parameter that stands in several places belongs to what these have in common: it may take part whenever that is
    active. Names are those of `model.named_parameters()`.
    """
    found: dict[int, Owners] = {}
    _visit(model, (), found)
    return {name: found[id(p)] for name, p in model.named_parameters()}


def _visit(module: nn.Module, inside: Owners, found: dict[int, Owners]) -> None:
    for parameter in module._parameters.values():
        if parameter is not None:
            before = found.get(id(parameter), inside)
            found[id(parameter)] = tuple(pair for pair in before if pair in inside)
    for child in module._modules.values():
        if child is None:
            continue
        if isinstance(module, OneOf | SomeOf) and child is module.candidates:
            for i, candidate in enumerate(child):
                _visit(candidate, (*inside, (module.choice.name, i)), found)
        else:
            _visit(child, inside, found)
