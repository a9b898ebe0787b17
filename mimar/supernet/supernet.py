"""A model with choices as a pure function of weights, gates, input and noise."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mimar.core.errors import UsageError
from mimar.core.streams import Rng, draw, isolated
from mimar.core.trees import Tensors
from mimar.space import Architecture, Space, of
from mimar.space.beside import network
from mimar.space.modules import EXECUTION, Execution, OneOf
from mimar.supernet.fused import Fused

Gates = Mapping[str, Tensor]


class Running(Execution, Protocol):
    """The execution of one call; `end` is called once the model has run."""

    def end(self) -> None: ...


class Engine(Protocol):
    """How choices are executed: `Fused()` (fast, the default) or `Reference()` (slow and obvious); frozen dataclasses."""

    def begin(self, model: nn.Module, gates: Gates, *, update: bool) -> Running: ...


class Supernet:
    """All architectures of a model's space at once, sharing the model's parameters.

    `weights` and `buffers` alias the model's parameters and buffers, in the fixed order of `weight_names` and
    `buffer_names`; parameters that are frozen (`requires_grad=False`) are no weights and stay as they are; `space` is the model's space. The model itself is an ordinary nn.Module with choices inside.
    """

    def __init__(self, model: nn.Module, *, engine: Engine | None = None) -> None:
        self.model = model
        self.engine: Engine = Fused() if engine is None else engine
        if isinstance(self.engine, Fused):
            self.engine.anew(model)
        self.space: Space = of(model)
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.weight_names = tuple(trained)
        self.buffer_names = tuple(name for name, _ in model.named_buffers())
        modules = tuple(model.modules())  # walking a supernet costs as much as a small step
        self._modes = tuple(vars(m) for m in modules)
        self._weight_places = _places(model, [m._parameters for m in modules], trained.values())
        self._buffer_places = _places(model, [m._buffers for m in modules], model.buffers())
        self.weights: Tensors = tuple(trained.values())
        self.buffers: Tensors = tuple(model.buffers())

    def gates(self, architecture: Architecture) -> dict[str, Tensor]:
        """Return the one-hot and k-hot gates of an architecture, in the type and on the device of the weights."""
        like = next((w for w in self.weights if w.is_floating_point()), torch.zeros(()))
        return self.space.gates(network(architecture), dtype=like.dtype, device=like.device)

    def call(
        self,
        weights: Sequence[Tensor],
        gates: Gates,
        x: Any,
        *,
        buffers: Sequence[Tensor] | None = None,
        training: bool = True,
        rng: Rng | None = None,
        update: bool = False,
    ) -> Any:
        """Return the output for `x` (one input, or a tuple of several) as a pure function of the arguments.

        Writes nothing: not to parameters, buffers, modes, `.grad` or torch's global generators. Differentiable twice in
        `weights` and `gates`. Noise inside the model is drawn from `rng` alone; without one it is the fixed noise of a
        private stream, the same in every call. With `update=True` returns (output, new buffers): the batch-norm
        statistics after this pass. Raises UsageError for a missing gate, SpaceError for one of the wrong shape.
        """
        held = self.buffers if buffers is None else tuple(buffers)
        if len(weights) != len(self.weight_names) or len(held) != len(self.buffer_names):
            raise UsageError(
                f"call got {len(weights)} weights and {len(held)} buffers; "
                f"this supernet has {len(self.weight_names)} and {len(self.buffer_names)}"
            )
        fresh = (
            tuple(torch._foreach_clone(held)) if held else ()
        )  # modules write running statistics in place: into the copies
        device = weights[0].device if weights else torch.device("cpu")
        arguments = x if isinstance(x, tuple) else (x,)
        execution = self.engine.begin(self.model, gates, update=update)
        token = EXECUTION.set(execution)
        try:
            with (
                _standing(self._weight_places if weights is not self.weights else (), weights),
                _standing(self._buffer_places, fresh),
                _mode(self._modes, training),
                isolated(0 if rng is None else draw(rng), device),
            ):
                y = self.model(*arguments)
                execution.end()
        finally:
            EXECUTION.reset(token)
        return (y, fresh) if update else y

    def __call__(self, x: Any, gates: Gates | Architecture, *, rng: Rng | None = None, update: bool = False) -> Any:
        """Return `call` with the model's own weights, buffers and mode; writes nothing either."""
        given = self.gates(gates) if isinstance(gates, Architecture) else gates
        return self.call(self.weights, given, x, training=self.model.training, rng=rng, update=update)


Places = tuple[tuple[dict[str, Any], str, int, Tensor], ...]  # (where, name, which tensor, the model's own)


def _places(model: nn.Module, dicts: Iterable[dict[str, Any]], tensors: Iterable[Tensor]) -> Places:
    """Return every place in the model where one of `tensors` stands: tied ones stand in several."""
    numbers = {id(t): i for i, t in enumerate(tensors)}
    return tuple((d, n, numbers[id(t)], t) for d in dicts for n, t in d.items() if t is not None and id(t) in numbers)


@contextmanager
def _standing(places: Places, tensors: Sequence[Tensor]) -> Iterator[None]:
    """Let `tensors` stand where the model's own do: what torch.func.functional_call does, without its search by name."""
    try:
        for held, name, i, _ in places:
            held[name] = tensors[i]
        yield
    finally:
        for held, name, _, own in places:
            held[name] = own


@contextmanager
def _mode(modes: Sequence[dict[str, Any]], training: bool) -> Iterator[None]:
    changed = [mode for mode in modes if mode["training"] != training]
    for mode in changed:
        mode["training"] = training
    try:
        yield
    finally:
        for mode in changed:
            mode["training"] = not training


def recalibrated(supernet: Supernet, weights: Tensors, gates: Gates, inputs: Iterable[Any]) -> Tensors:
    """Return buffers whose batch-norm statistics are the mean over the batches `inputs`, under these weights and gates.

    Statistics gathered for one mixture mislead every other one; evaluation recalibrates (see `docs/decisions.md`).
    Buffers of other modules are returned as they are. Needs at least one batch.
    """
    norms = {name: m for name, m in supernet.model.named_modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}
    momenta = {m: m.momentum for m in norms.values()}
    sums: list[Tensor] | None = None
    count = 0
    try:
        for module in norms.values():
            module.momentum = 1.0  # so that one pass leaves exactly the statistics of its batch
        with torch.no_grad():
            for x in inputs:
                _, new = supernet.call(weights, gates, x, training=True, update=True)
                sums = list(new) if sums is None else [a + b for a, b in zip(sums, new, strict=True)]
                count += 1
    finally:
        for module, momentum in momenta.items():
            module.momentum = momentum
    if sums is None:
        raise UsageError("recalibration needs at least one batch; got none")
    statistics = {f"{n}.{b}" for n in norms for b in ("running_mean", "running_var")}
    triples = zip(supernet.buffer_names, sums, supernet.buffers, strict=True)
    return tuple(total / count if name in statistics else old.clone() for name, total, old in triples)


def output_scales(supernet: Supernet, x: Any) -> dict[str, dict[str, float]]:
    """Return the output scale (root mean square) of every executed option of every `OneOf`, in training mode.

    Warns where the options of one choice differ more than fourfold: the mixture then prefers the loud option whatever
    it computes; a norm after each option is the remedy. Options that output zero (none) are left out of the comparison.
    """
    found: dict[str, dict[str, float]] = {}
    hooks = []
    for module in supernet.model.modules():
        if isinstance(module, OneOf):
            for option, candidate in zip(module.options, module.candidates, strict=True):
                hooks.append(candidate.register_forward_hook(_scale_hook(found, module.name, option)))
    like = next((w for w in supernet.weights if w.is_floating_point()), torch.zeros(()))
    ones = {
        c.name: torch.ones(len(c.options)).to(like) / len(c.options) for c in supernet.space.choices if c.kind == "one"
    }
    ones |= {c.name: torch.ones(len(c.options)).to(like) for c in supernet.space.choices if c.kind == "some"}
    try:
        with torch.no_grad():
            supernet.call(supernet.weights, ones, x, training=True)
    finally:
        for hook in hooks:
            hook.remove()
    for name, scales in found.items():
        loud = {o: s for o, s in scales.items() if s > 0}
        if loud and max(loud.values()) > 4 * min(loud.values()):
            low, high = min(loud, key=loud.__getitem__), max(loud, key=loud.__getitem__)
            warnings.warn(
                f"choice {name!r}: the outputs of {high!r} are {loud[high] / loud[low]:.1f} times those of {low!r}; "
                "put a norm after each option, or the mixture follows the scale instead of the merit",
                stacklevel=2,
            )
    return found


def _scale_hook(found: dict[str, dict[str, float]], name: str, option: str) -> Any:
    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            found.setdefault(name, {}).setdefault(option, float(output.float().square().mean().sqrt()))

    return hook
