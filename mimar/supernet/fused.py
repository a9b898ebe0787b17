"""Fused execution of choices: all options that can be told in stages run as one operation, the others one by one.

All edges into a node are one sum, Σ_i q_i Σ_o p_io · option_io(x_i): it is formed in one pass, and nothing but the inputs
of batch norms is kept for the way back. What several options share is made once: a pool of one input and its statistics
for all edges that leave it. Values and derivatives of first and second order are those of `Reference` to rounding.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules import module as torch_module
from torch.utils._python_dispatch import _get_current_dispatch_mode

from mimar.core.errors import UsageError
from mimar.kernels import native
from mimar.kernels.bundled import bundled
from mimar.kernels.memory import SMALL, version
from mimar.kernels.node import Pools, Share, join, node, shared
from mimar.kernels.programs import POOLS, Layout, Program, Term
from mimar.kernels.rerouted import Rerouted
from mimar.kernels.stages import Chain, Stage, conv_size
from mimar.space.modules import OneOf, SomeOf
from mimar.supernet.bundles import HOOKS, Bundle, bundle
from mimar.supernet.reference import OneByOne, added

PLANS = 1024  # of one model: sampled paths ask for ever new ones
GLOBAL_HOOKS = tuple(getattr(torch_module, f"_global{name}") for name in HOOKS)


@dataclass(frozen=True)
class Fused:
    """The engine that runs the options of a node together: on the compiled kernels, or in bundled calls of torch.

    `recompute`: keep nothing but the inputs of nodes for the way back and make the rest again: a third more time, for a
    fraction of the memory. `budget` (GiB): keep what fits into it, in the order of execution, and make the rest again.
    Values are the same to the last bit with every setting; bundled calls of torch keep what autograd keeps.
    Raises UsageError for a negative budget.
    """

    recompute: bool = False
    budget: float | None = None

    def __post_init__(self) -> None:
        if self.budget is not None and not self.budget >= 0:
            raise UsageError(f"Fused.budget is {self.budget!r}; it must be at least 0 GiB, or None for no limit")

    def anew(self, model: nn.Module) -> None:
        """Forget what was found out about a model: it may have changed."""
        _MEMORY.pop(model, None)

    def begin(self, model: nn.Module, gates: Mapping[str, Tensor], *, update: bool) -> OneByOne:
        """Return the execution of one call of `model` under `gates`: {choice name: (options,) tensor}."""
        if not available():
            return OneByOne(gates)
        limit = 0.0 if self.recompute else math.inf if self.budget is None else self.budget * 2**30
        return Together(gates, _MEMORY.setdefault(model, Memory()), update, limit)


def available() -> bool:
    """Tell whether this call can run together: not while another mode of torch watches its operations."""
    return (
        _get_current_dispatch_mode() is None
        and not any(GLOBAL_HOOKS)
        and forward_ad._current_level < 0
        and torch._C._functorch.peek_interpreter_stack() is None
        and not torch.compiler.is_compiling()
    )


class Option(NamedTuple):
    """One option of a node: its module, what it does, its source and the place of its coefficient."""

    module: nn.Module
    bundle: Bundle
    source: int
    coef: int


class Plan(NamedTuple):
    """How a node is run, once shapes and active options are known."""

    program: Program | None
    weights: tuple[tuple[dict, str], ...] = ()  # where the weights are when the node runs
    norms: tuple[nn.BatchNorm2d, ...] = ()
    plain: tuple[Option, ...] = ()
    pools: tuple[tuple[int, Stage], ...] = ()  # (source, stage) of every pool; each is a source of its own
    hooks: tuple[dict, ...] = ()  # where those of its edges and options are


class Memory:
    """What is found out once about a model: its options' bundles, and the plans of its nodes."""

    def __init__(self) -> None:
        self.bundles: dict[int, tuple[nn.Module, Bundle]] = {}
        self.plans: OrderedDict[Any, Plan] = OrderedDict()
        self.pools: dict[Any, Program] = {}
        self.layouts: dict[Any, Layout] = {}

    def bundle(self, module: nn.Module) -> Bundle:
        """Return what a module does."""
        found = self.bundles.get(id(module))
        if found is None:
            found = self.bundles[id(module)] = (module, bundle(module))  # held, so that the identity stays its own
        return found[1]


_MEMORY: WeakKeyDictionary[nn.Module, Memory] = WeakKeyDictionary()


class Together(OneByOne):
    """Executes the choices of a model under `gates`, the options of a node together."""

    def __init__(self, gates: Mapping[str, Tensor], memory: Memory, update: bool, limit: float) -> None:
        super().__init__(gates)
        self.left = limit  # bytes that nodes may still keep
        self.memory, self.update = memory, update
        self.pools: Pools = {}
        self.pooled: dict[Any, Tensor] = {}
        self.coefs: dict[Any, tuple[Tensor, Any]] = {}
        self.layouts: dict[Any, tuple[Tensor, Tensor]] = {}
        self.aliases: dict[Any, tuple[Tensor, Tensor]] = {}
        self.shares: dict[int, Share] = {}  # by the identity of an alias
        self.counted: list[Tensor] = []
        self.moved: list[tuple[nn.BatchNorm2d, Tensor, int]] = []

    def one(self, choice: OneOf, x: tuple[Any, ...]) -> Any:
        """Return Σ_o p_o · option_o(x)."""
        if len(x) != 1 or not _plain_tensor(x[0]):
            return super().one(choice, x)
        found = self._node(choice, [(choice, x[0])], None)
        return super().one(choice, x) if found is None else found

    def some(self, choice: SomeOf, xs: Any) -> Any:
        """Return Σ_i q_i · candidate_i(x_i), the options of choices among the candidates included."""
        inputs = self.inputs(choice, xs)
        if not all(map(_plain_tensor, inputs)):
            return super().some(choice, xs)
        found = self._node(choice, list(zip(choice.candidates, inputs, strict=True)), choice)
        return super().some(choice, xs) if found is None else found

    def total(self, modules: Sequence[nn.Module], xs: Sequence[Any]) -> Any:
        """Return Σ_i module_i(x_i), the options of choices among the modules included."""
        plain = not all(map(_plain_tensor, xs))
        found = None if plain else self._node(modules[0], list(zip(modules, xs, strict=True)), None)
        if found is None:
            terms = [module(x) for module, x in zip(modules, xs, strict=True)]
            found = sum(terms[1:], start=terms[0])
        return found

    def joined(self, xs: Sequence[Tensor]) -> Tensor:
        """Return the channels of all inputs side by side."""
        return join(xs)

    def end(self) -> None:
        """Move the statistics of the norms behind shared pools, and count the batches that norms have seen."""
        for norm, stats, count in self.moved:
            assert norm.running_mean is not None and norm.running_var is not None and norm.momentum is not None
            mean, var = stats.to(norm.running_mean.dtype).chunk(2)
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(var * (count / (count - 1)), norm.momentum)
        if self.counted:
            torch._foreach_add_(self.counted, 1)

    def _node(self, choice: nn.Module, edges: Sequence[tuple[nn.Module, Tensor]], outer: SomeOf | None) -> Any:
        """Run all options of all edges; None where the node has to be run one by one."""
        coef, active = self._coefficients(edges, outer)
        places: dict[int, int] = {}
        for _, x in edges:
            places.setdefault(id(x), len(places))
        sources = {id(x): x for _, x in edges}
        key = (active, tuple((id(edge), places[id(x)], x.shape) for edge, x in edges), edges[0][1].dtype)
        compiled = native.serves(coef, *sources.values()) and not torch.is_autocast_enabled("cpu")
        share = compiled and active is None  # of a few options hardly two read one pool
        plan = self._planned((share, *key), edges, places, sources, coef)
        if not all(stage.batch for _, stage in plan.pools):
            plan = self._planned((False, *key), edges, places, sources, coef)
        if plan.program is None or any(plan.hooks):
            return None
        xs = [self._laid(x) for x in sources.values()]
        xs = [self._alias(x) for x in xs] if compiled else xs
        weights = [held[name].contiguous() for held, name in plan.weights]
        if plan.program.single or (compiled and not plan.program.fits(weights)):
            return None  # the reference says why
        xs += [self._pooled(xs[i], stage) for i, stage in plan.pools]
        if not (native.serves(coef, *xs, *weights) if compiled else _bundles(plan.program, coef, *xs, *weights)):
            return None
        if compiled:
            size = sum(plan.program.kept) * xs[0].element_size()
            keep = size <= self.left
            self.left -= size if keep else 0
            shares = [self.shares.get(id(x)) for x in xs]
            y: Any = node(plan.program, coef, xs, weights, self.pools, update=self.update, keep=keep, shares=shares)
        else:
            y = bundled(plan.program, coef, xs, weights, update=self.update)
        if self.update:
            self.counted += [n.num_batches_tracked for n in plan.norms if n.training]  # type: ignore[misc]
        if not _channels_last(edges[0][1]):
            y = y.contiguous()  # the rest of the model sees the layout that it chose
        for option in plan.plain:
            with Rerouted():
                out = option.module(edges[option.source][1])
            y = added(getattr(choice, "name", type(choice).__name__), y, coef[option.coef] * out)
        return y

    def _pooled(self, x: Tensor, stage: Stage) -> Tensor:
        """Return the normed pool of `x`, made once for all edges that leave it; each edge's own statistics move alike."""
        norm = stage.norm
        assert norm is not None
        key = (id(x), version(x), stage.kind, stage.kernel, stage.stride, norm.eps)
        program = self.memory.pools.get((x.shape, x.dtype, *key[2:]))
        if program is None:
            own = nn.BatchNorm2d(
                x.shape[1], norm.eps, affine=False, track_running_stats=False
            )  # of nobody's statistics
            program = Program([Term(0, 0, (replace(stage, norm=own),))], [x.shape], x.dtype, 1)
            self.memory.pools[x.shape, x.dtype, *key[2:]] = program
        place = (torch.is_grad_enabled(), *key)
        if place not in self.pooled:
            one = torch.ones(1, dtype=x.dtype)
            y = node(program, one, [x], (), self.pools, update=False, shares=[self.shares.get(id(x))])
            self.pooled[place] = self._alias(y)
        if self.update and norm.running_mean is not None:
            stats = self.pools[id(x), version(x), stage.kind, stage.kernel, stage.stride, stage.dilation][1].stats
            y = self.pooled[place]
            self.moved.append((norm, stats, y.numel() // y.shape[1]))
        return self.pooled[place]

    def _coefficients(self, edges: Sequence[tuple[nn.Module, Tensor]], outer: SomeOf | None) -> tuple[Tensor, Any]:
        """Return the coefficient of every option, q_i·p_io, and which of them are active (None: all)."""
        names: tuple[Any, ...] = (
            outer and outer.name,
            *(e.name if isinstance(e, OneOf) else None for e, _ in edges),
            edges[0][1].dtype,
        )
        names = (torch.is_grad_enabled(), *names)
        found = self.coefs.get(names)
        if found is not None:
            return found
        gate = self.gate(outer) if outer is not None else None
        fixed = [1.0] * len(edges) if gate is None else None if gate.requires_grad else gate.tolist()
        ways = [True] * len(edges) if gate is None or outer is None else self.live(outer.name, gate)
        parts: list[Tensor] = []
        runs: list[bool] = []
        for i, (edge, x) in enumerate(edges):
            many = len(edge.candidates) if isinstance(edge, OneOf) else 1
            if not ways[i]:  # what is not executed needs no gate
                parts.append(x.new_zeros(many))
                runs += [False] * many
                continue
            if isinstance(edge, OneOf):
                own = self.gate(edge)
                parts.append(own if gate is None or (fixed is not None and fixed[i] == 1.0) else own * gate[i])
                runs += self.live(edge.name, own)
            else:
                parts.append(x.new_ones(1) if gate is None else gate[i : i + 1])
                runs.append(True)
        coef = parts[0].contiguous() if len(parts) == 1 else torch.cat(parts)
        active = None if all(runs) else tuple(runs)
        self.coefs[names] = coef, active
        return coef, active

    def _planned(
        self,
        key: Any,
        edges: Sequence[tuple[nn.Module, Tensor]],
        places: Mapping[int, int],
        sources: Mapping[int, Tensor],
        coef: Tensor,
    ) -> Plan:
        """Return the plan of a node; key: (whether pools are shared, active options, edges, type)."""
        plans = self.memory.plans
        plan = plans.get(key)
        if plan is None:
            plan = plans[key] = self._plan(edges, places, list(sources.values()), key[1], coef, share=key[0])
            if len(plans) > PLANS:
                plans.popitem(last=False)
        else:
            plans.move_to_end(key)
        return plan

    def _plan(
        self,
        edges: Sequence[tuple[nn.Module, Tensor]],
        places: Mapping[int, int],
        xs: Sequence[Tensor],
        active: Any,
        coef: Tensor,
        *,
        share: bool,
    ) -> Plan:
        terms, plain, coefs = [], [], 0
        hooks: list[dict] = []
        for i, (edge, x) in enumerate(edges):
            if isinstance(edge, OneOf):
                hooks += (getattr(edge, name) for name in HOOKS)
            for module in edge.candidates if isinstance(edge, OneOf) else (edge,):
                coefs += 1
                if active is not None and not active[coefs - 1]:
                    continue  # nor would the reference run it
                option = Option(module, self.memory.bundle(module), i, coefs - 1)
                if option.bundle.changes:
                    return Plan(None)
                hooks += option.bundle.hooks
                if option.bundle.zero:
                    continue
                if option.bundle.chain is None:
                    plain.append(option)
                else:
                    terms.append(Term(places[id(x)], option.coef, option.bundle.chain))
        if not terms or not all(x.dim() == 4 and x.numel() for x in xs):
            return Plan(None)
        shapes, pools = [x.shape for x in xs], []
        for n, term in enumerate(terms):
            if share and _shared(term.chain):
                stage = term.chain[0]
                b, c, h, w = shapes[term.source]
                if b * conv_size(h, stage.stride) * conv_size(w, stage.stride) == 1:
                    return Plan(None)  # one number a channel: the reference refuses it
                pools.append((term.source, stage))
                shapes.append(torch.Size((b, c, conv_size(h, stage.stride), conv_size(w, stage.stride))))
                terms[n] = Term(len(shapes) - 1, term.coef, ())
        try:
            program = Program(terms, shapes, xs[0].dtype, len(coef), self.memory.layouts)
        except ValueError:
            return Plan(None)  # the reference says what does not fit
        weights, norms = [], []
        for term in terms:
            for stage in term.chain:
                weights += stage.places()
                if stage.norm is not None and stage.norm.num_batches_tracked is not None:
                    norms.append(stage.norm)
        norms += [s.norm for _, s in pools if s.norm is not None and s.norm.num_batches_tracked is not None]
        return Plan(program, tuple(weights), tuple(norms), tuple(plain), tuple(pools), tuple(hooks))

    def _laid(self, x: Tensor) -> Tensor:
        """Return `x` channels last, converted once for all nodes that read it."""
        if x.is_contiguous(memory_format=torch.channels_last):
            return x
        key = id(x), version(x), torch.is_grad_enabled()
        found = self.layouts.get(key)
        if found is None:
            found = self.layouts[key] = (x, x.contiguous(memory_format=torch.channels_last))
        return found[1]

    def _alias(self, x: Tensor) -> Tensor:
        """Return what nodes read for `x`: an alias of it, so that what comes back to it is summed in one place."""
        if not x.requires_grad or not torch.is_grad_enabled() or x.numel() * x.element_size() < SMALL:
            return x
        key = id(x), version(x)
        if key not in self.aliases:
            alias, share = shared(x)
            self.aliases[key] = x, alias
            self.shares[id(alias)] = share
        return self.aliases[key][1]


def _shared(chain: Chain) -> bool:
    """Whether a chain is a pool that gives the same for every edge that leaves a source."""
    if len(chain) != 1 or chain[0].kind not in POOLS:
        return False
    norm = chain[0].norm
    return norm is not None and not norm.affine


def _bundles(program: Program, *tensors: Tensor) -> bool:
    """Whether bundled calls of torch pay, and can work on these tensors."""
    fit = all(t.is_floating_point() and t.device == tensors[0].device for t in tensors)
    return fit and len(program.terms) > 1


def _channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _plain_tensor(x: Any) -> bool:
    return type(x) in (Tensor, nn.Parameter) and x.dim() == 4
