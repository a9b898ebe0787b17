"""From a model with choices to the plain torch network of one architecture."""

from __future__ import annotations

import copy
import operator
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import fx, nn
from torch.utils._pytree import tree_leaves

from mimar.core.errors import UsageError
from mimar.core.streams import Rng, draw, isolated
from mimar.space import Architecture, of
from mimar.space.beside import network
from mimar.space.modules import OneOf, SomeOf


class Edge(NamedTuple):
    """One chosen option inside an extracted network: which choice, which option, and its module."""

    choice: str
    option: str
    module: nn.Module


class Extracted(NamedTuple):
    """A plain network, and where the chosen options are in it (drop-path and drawings need to know)."""

    net: nn.Module
    edges: tuple[Edge, ...]


def extract(
    model: nn.Module, architecture: Architecture, *, fresh: Rng | None = None, prune: bool = False
) -> nn.Module:
    """Return the network of `architecture` as a plain torch module without any class of mimar inside.

    Weights and buffers are copies of the model's; with `fresh` they are re-initialised by each module's own
    `reset_parameters` under that stream. Every chosen operation is kept, so that parameter counts equal the published
    ones; `prune=True` first removes what cannot reach the output (`Space.simplify`). In evaluation and training mode
    equal to the supernet at the one-hot gates. Modules of mimar become `torch.fx.GraphModule`s, yours are copied.
    Raises SpaceError when the architecture does not belong to the model's space.
    """
    return chosen(model, architecture, fresh=fresh, prune=prune).net


def chosen(model: nn.Module, architecture: Architecture, *, fresh: Rng | None = None, prune: bool = False) -> Extracted:
    """Return what `extract` returns, together with the edges of the chosen options."""
    space, architecture = of(model), network(architecture)
    space.check(architecture)
    if prune:
        architecture = space.simplify(architecture)
    build = _Build(architecture)
    net = build.plain(model)
    if fresh is not None:
        _reset(net, fresh, build.traced)
    return Extracted(net, tuple(build.edges))


class _Build:
    """One walk over the model, innermost first; `memo` maps the identity of each module seen to its plain form."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.memo: dict[int, Any] = {}
        self.edges: list[Edge] = []
        self.sums: list[nn.Module] = []  # plain forms of SomeOf
        self.traced: dict[int, nn.Module] = {}  # by the identity of its plain form, which has the same parameters

    def plain(self, module: nn.Module) -> nn.Module:
        if id(module) not in self.memo:
            self.memo[id(module)] = self._build(module)
        found: nn.Module = self.memo[id(module)]
        return found

    def _build(self, module: nn.Module) -> nn.Module:
        if isinstance(module, OneOf):
            return self._option(module, str(self.architecture[module.name]))
        if isinstance(module, SomeOf):
            return self._some(module)
        for child in module.children():
            self.plain(child)
        # deepcopy takes the plain children from the memo, and keeps ties between parameters
        double = copy.deepcopy(module, self.memo)
        if not _ours(module):
            return double
        net = _traced(double, self.sums)
        self.traced[id(net)] = double
        return net

    def _option(self, choice: OneOf | SomeOf, option: str) -> nn.Module:
        found = self.plain(choice.candidates[choice.options.index(option)])
        if isinstance(choice, OneOf):
            self.edges.append(Edge(choice.name, option, found))
        return found

    def _some(self, choice: SomeOf) -> nn.Module:
        root, graph = nn.Module(), fx.Graph()
        # one input for all candidates, or one for each: [x] * n and xs * n both have the right entry for candidate i < n
        leaves = graph.call_function(tree_leaves, (graph.placeholder("inputs"),))
        inputs = graph.call_function(operator.mul, (leaves, len(choice.candidates)))
        total: fx.Node | None = None
        for option in self.architecture[choice.name]:
            index = choice.options.index(option)
            name = f"candidate_{index}"
            root.add_module(name, self._option(choice, option))
            term = graph.call_module(name, (graph.call_function(operator.getitem, (inputs, index)),))
            total = term if total is None else graph.call_function(operator.add, (total, term))
        graph.output(total)
        net = fx.GraphModule(root, graph, class_name="Sum")
        net.train(choice.training)
        self.sums.append(net)
        return net


class _Tracer(fx.Tracer):
    """Records the calls of children as they stand; sums of chosen candidates are written out in their parent."""

    def __init__(self, sums: list[nn.Module]) -> None:
        super().__init__()
        self.sums = sums

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not any(m is net for net in self.sums)


def _traced(module: nn.Module, sums: list[nn.Module]) -> nn.Module:
    graph = _Tracer(sums).trace(module)
    graph._tracer_cls = fx.Tracer  # the network must load where mimar is not installed
    for node in graph.nodes:
        node.type = None  # annotations of postponed evaluation are strings, which cannot be pickled
    net = fx.GraphModule(module, graph, class_name=type(module).__name__)
    net.train(module.training)
    return net


def _ours(module: nn.Module) -> bool:
    return type(module).__module__.split(".")[0] == "mimar"


def reinitialised(model: nn.Module, rng: Rng) -> nn.Module:
    """Return a copy of a model, choices included, with weights drawn anew by each module's own `reset_parameters`.

    Raises UsageError where a module has parameters and no such method.
    """
    double = copy.deepcopy(model)
    _reset(double, rng, {})
    return double


def _reset(net: nn.Module, rng: Rng, traced: Mapping[int, nn.Module]) -> None:
    """Re-initialise every module by its own rule, under `rng`; the rule of a traced one is that of its class."""
    device = next((p.device for p in net.parameters()), torch.device("cpu"))
    with isolated(draw(rng), device):
        for name, module in net.named_modules():
            own = list(module.parameters(recurse=False))
            if own and not any(p.requires_grad for p in own):
                continue  # frozen by its owner: it keeps its weights
            reset = getattr(traced.get(id(module), module), "reset_parameters", None)
            if callable(reset):
                reset()
            elif next(module.parameters(recurse=False), None) is not None:
                raise UsageError(
                    f"module {name or 'the model'!r} ({type(module).__name__}) has parameters but no reset_parameters(); "
                    "give it one, so that the derived network can be trained from scratch"
                )
