"""Changes to the structure of a network with choices, for the search alone or for good."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Protocol

from torch import nn

from mimar.core.errors import UsageError
from mimar.core.ranges import Count, Range, validate
from mimar.nets.binary import BinaryConv2d
from mimar.nets.partial import Partial
from mimar.nets.sparse import SparseConv2d, SparseLinear, inherit_scores
from mimar.space import OneOf, SomeOf

# behind these, what was not negative still is not
SIGNED = (nn.Identity, nn.Dropout, nn.ZeroPad2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)


class Remodel(Protocol):
    """A change of structure: `final` says whether finished networks are taken from the model, or it is searched in."""

    @property
    def lasting(self) -> bool:
        """Whether finished networks are of another kind or space than those of the plain net."""

    def options(self, *, final: bool) -> dict[str, int]:
        """Return the keywords that mimar's own nets get besides those of their words."""

    def __call__(self, model: nn.Module, *, final: bool) -> nn.Module:
        """Change a built model, in place, and return it; raises UsageError for a model that cannot be changed so."""


@dataclass(frozen=True)
class Same:
    """No change."""

    lasting: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def options(self, *, final: bool) -> dict[str, int]:
        """Return none."""
        return {}

    def __call__(self, model: nn.Module, *, final: bool) -> nn.Module:
        """Return the model as it is."""
        return model


@dataclass(frozen=True)
class PartialChannels:
    """While searching, edges choose on 1/k of the channels; final networks are whole. The space is the same.

    `random`: the channels are drawn anew at every call, else they are the first ones and channels are shuffled: see
    `mimar.nets.Partial`. Works on mimar's own nets of cells; k=1 changes nothing.
    Source: PC-DARTS (Xu et al., ICLR 2020): k=4, and 2 on ImageNet.
    """

    k: Count = 4
    random: bool = False
    lasting: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def options(self, *, final: bool) -> dict[str, int]:
        """Return partial=k, while searching."""
        return {} if final else {"partial": self.k}

    def __call__(self, model: nn.Module, *, final: bool) -> nn.Module:
        """Set how channels are taken; raises UsageError for a model that was not built with partial channels."""
        if final or self.k == 1:
            return model
        cells = [m for m in model.modules() if isinstance(getattr(m, "partial", None), Partial)]
        if not cells:
            raise UsageError(
                f"partial channels (k={self.k}) need one of mimar's own nets of cells, such as 'darts'; a module of yours "
                "has no place for them"
            )
        for cell in cells:
            cell.partial = replace(cell.partial, random=self.random)  # type: ignore[type-var]
        return model


@dataclass(frozen=True)
class Nested:
    """Every cell has choices of its own, while searching and after: mimar's nets name them by the cell's number.

    A module of yours stays as it is, if no choice stands in it twice. Source: cells that differ with depth are those of
    D-DARTS (Heuillet et al., 2021).
    """

    lasting: ClassVar[bool] = True
    version: ClassVar[int] = 1

    def options(self, *, final: bool) -> dict[str, int]:
        """Return nested=1."""
        return {"nested": 1}

    def __call__(self, model: nn.Module, *, final: bool) -> nn.Module:
        """Return the model; raises UsageError where a decision still stands in several places."""
        choices = [m for m in model.modules() if isinstance(m, OneOf | SomeOf)]
        # where partial channels pass by, a decision stands once more, over options that do nothing
        places = Counter(m.name for m in choices if any(type(o) is not nn.Identity for o in m.candidates))
        for name, count in places.items():
            if count > 1:
                raise UsageError(
                    f"the choice {name!r} stands in {count} places of the model and is one decision; give each place "
                    "a name of its own, or search in one of mimar's own nets"
                )
        return model


@dataclass(frozen=True)
class Sparse:
    """The convolutions and linear maps inside options keep the share `keep` of their weights, by learned scores.

    Weights stay what they are, scores start from them: see `mimar.nets.SparseConv2d`. While searching, the share is a
    buffer that a schedule may set; in final networks it is `keep`. Frozen layers and those of classes of your own stay.
    Source: DASS (Mousavi et al., 2022).
    """

    keep: Annotated[float, Range(0.0, 1.0, open_low=True)]
    lasting: ClassVar[bool] = True
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def options(self, *, final: bool) -> dict[str, int]:
        """Return none."""
        return {}

    def __call__(self, model: nn.Module, *, final: bool) -> nn.Module:
        """Replace the layers; raises UsageError where there is none."""

        def sparse(layer: nn.Module) -> nn.Module | None:
            new: nn.Module
            if type(layer) is nn.Conv2d:
                new = SparseConv2d(**_conv(layer), keep=self.keep, scheduled=not final)
            elif type(layer) is nn.Linear:
                sizes = {"in_features": layer.in_features, "out_features": layer.out_features}
                new = SparseLinear(**sizes, **_like(layer), keep=self.keep, scheduled=not final)
            else:
                return None
            new._parameters |= layer._parameters
            inherit_scores(dict(new.named_parameters()))
            return new

        return _replaced(model, sparse, "convolution or linear map")


@dataclass(frozen=True)
class Binary:
    """The convolutions inside options work on signs: see `mimar.nets.BinaryConv2d`. Weights stay what they are.

    The ReLU before such a convolution goes, since what it leaves has one sign: each one whose output is, but for pools and
    padding, the input of a binary convolution, by the order in which an option holds its layers. Frozen layers and those
    of classes of your own stay, and so does a ReLU in front of a choice.
    Source: BNAS (Chen et al., AAAI 2020), of which no code was found; the binarisation is that of XNOR-Net.
    """

    lasting: ClassVar[bool] = True
    version: ClassVar[int] = 1

    def options(self, *, final: bool) -> dict[str, int]:
        """Return none."""
        return {}

    def __call__(self, model: nn.Module, *, final: bool) -> nn.Module:
        """Replace the layers; raises UsageError where there is none."""

        def binary(layer: nn.Module) -> nn.Module | None:
            if type(layer) is not nn.Conv2d:
                return None
            new = BinaryConv2d(**_conv(layer))
            new._parameters |= layer._parameters
            return new

        _replaced(model, binary, "convolution")
        for option in _options(model):
            _unrectified(option)
        return model


@dataclass(frozen=True)
class Several:
    """Several changes, one after the other."""

    parts: tuple[Remodel, ...]
    version: ClassVar[int] = 1

    @property
    def lasting(self) -> bool:
        """Whether one of the changes lasts."""
        return any(part.lasting for part in self.parts)

    def options(self, *, final: bool) -> dict[str, int]:
        """Return the keywords of all."""
        return {key: value for part in self.parts for key, value in part.options(final=final).items()}

    def __call__(self, model: nn.Module, *, final: bool) -> nn.Module:
        """Change a built model by each in turn."""
        for part in self.parts:
            model = part(model, final=final)
        return model


def _conv(layer: nn.Conv2d) -> dict[str, Any]:
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
    return {name: getattr(layer, name) for name in names} | _like(layer)


def _like(layer: nn.Conv2d | nn.Linear) -> dict[str, Any]:
    return {"bias": layer.bias is not None, "device": layer.weight.device, "dtype": layer.weight.dtype}


Place = tuple[nn.Module, str, nn.Module]  # who holds a layer, under which name, and the layer


def _options(model: nn.Module) -> Iterator[list[Place]]:
    """Yield the places of the layers of every option of every choice, in the order in which modules hold them."""
    for choice in list(model.modules()):
        if isinstance(choice, OneOf | SomeOf):
            for name, option in choice.candidates._modules.items():
                yield list(_layers(choice.candidates, name, option))


def _layers(owner: nn.Module, name: str, module: nn.Module | None) -> Iterator[Place]:
    if module is None:
        return
    if isinstance(module, OneOf | SomeOf) or not module._modules:
        yield owner, name, module  # choices in options: theirs are options themselves
    for inside, child in () if isinstance(module, OneOf | SomeOf) else module._modules.items():
        yield from _layers(module, inside, child)


def _replaced(model: nn.Module, change: Callable[[nn.Module], nn.Module | None], what: str) -> nn.Module:
    """Put change(layer) in the place of every layer of an option that can learn, wherever it is not None."""
    made: dict[int, tuple[nn.Module, nn.Module | None]] = {}  # a layer that stands in two places stays one
    for option in list(_options(model)):
        for owner, name, layer in option:
            if not all(p.requires_grad for p in layer.parameters()):
                continue
            if id(layer) not in made:
                made[id(layer)] = layer, change(layer)
            new = made[id(layer)][1]
            if new is not None:
                owner._modules[name] = new.train(layer.training)
    if not any(new for _, new in made.values()):
        raise UsageError(f"no option of the model holds a {what} that could be replaced")
    return model


def _unrectified(option: list[Place]) -> None:
    """Take every ReLU out whose output is the input of a binary convolution."""
    relus: list[Place] = []
    for place in option:
        if type(place[2]) is nn.ReLU:
            relus.append(place)
        elif isinstance(place[2], BinaryConv2d):
            for owner, name, _ in relus:
                owner._modules[name] = nn.Identity()
            relus = []
        elif not isinstance(place[2], SIGNED):
            relus = []
