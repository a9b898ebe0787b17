"""The laws of supernets: pure, twice differentiable, the extracted network at one-hot gates, equal to the reference."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn

from mimar.core.derivatives import gradient
from mimar.core.state import copy_into
from mimar.core.streams import draw, isolated, stream
from mimar.core.trees import Tensors, add, dot, leaves, norm, scale
from mimar.space import Architecture, OneOf, SomeOf, Space
from mimar.supernet import Reference, Supernet, extract
from mimar.testing.expect import close, expect, identical, same_bits, untouched

STEPS = (1e-4, 1e-5, 1e-6, 1e-7)  # of central differences; one that crosses no kink of the network is enough
LIMITS = {torch.float64: 1e-9, torch.float32: 1e-4}  # of ‖found − truth‖ / ‖truth‖ over all tensors of a group
FLOOR = 1e-3  # a group below this share of all groups of its order is compared on that scale
Groups = dict[str, dict[str, Tensors]]  # {order: {group: tensors}}


def check_supernet(
    model: nn.Module,
    x: Any,
    *,
    build: Callable[[nn.Module], Any] = Supernet,
    architectures: int = 3,
    tolerance: float = 1e-6,
    smooth: bool = True,
    dtypes: Sequence[torch.dtype] = (torch.float64, torch.float32),
    seed: int = 0,
) -> None:
    """Raise AssertionError where the supernet of `model` breaks a law, on the input `x` (or a tuple of inputs).

    Works on a float64 copy of the model. `build` makes the supernet to be checked. The laws: a call writes to nothing,
    repeats bit for bit, and its noise depends on `rng` alone; it is differentiable twice in weights, gates and input
    (central differences along random directions; `smooth=False` leaves the second derivative out); `update=True` changes
    the returned buffers only; at the one-hot gates of random architectures it equals the extracted network, in training
    and in evaluation, to the relative `tolerance`; options of gate zero are not executed, whatever their weights hold;
    the extracted network has no class of mimar inside, shares no memory with the model, can be copied and pickled; fresh
    weights follow their stream. Last, in each of `dtypes`, it agrees with `Reference()` on the same model in output,
    buffers, first and second derivatives at every kind of gates, to 1e-9 relative in float64 and 1e-4 in float32.
    """
    original = model
    model = copy.deepcopy(model).double()
    inputs = tuple(_double(t) for t in (x if isinstance(x, tuple) else (x,)))
    net = build(model)
    gates = _mixture(net, seed)
    for training in (True, False):
        _writes_nothing(net, gates, inputs, training, seed)
        _differentiable(net, gates, inputs, training, smooth, seed)
    _updates_what_it_returns(net, build, gates, inputs, seed)
    for number in range(architectures):
        architecture = net.space.sample(stream(seed, "architecture", number))
        for training in (True, False):
            _equals_extracted(net, architecture, inputs, training, tolerance, seed)
        _skips_zero_gates(net, architecture, inputs)
        _reads_nothing_at_zero_gates(net, architecture, inputs, seed)
        _plain(net, architecture, inputs)
    _agrees_with_reference(original, inputs, build, dtypes, seed)


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def _like(value: Tensor, rng: torch.Generator) -> Tensor:
    return torch.randn(value.shape, generator=rng).to(value.dtype)  # the same numbers in every type


def _mixture(net: Any, seed: int) -> dict[str, Tensor]:
    rng = stream(seed, "mixture")
    drawn = {c.name: torch.rand(len(c.options), generator=rng, dtype=torch.float64) for c in net.space.choices}
    return {n: 0.1 + 0.9 * g for n, g in drawn.items()}


def _run(net: Any, gates: Any, inputs: tuple[Any, ...], training: bool, seed: int, **more: Any) -> Any:
    return net.call(net.weights, gates, inputs, training=training, rng=stream(seed, "noise"), **more)


def _writes_nothing(net: Any, gates: dict[str, Tensor], inputs: tuple[Any, ...], training: bool, seed: int) -> None:
    mode = "training" if training else "evaluation"
    held = {f"the weight {n}": w for n, w in zip(net.weight_names, net.weights, strict=True)}
    held |= {f"the buffer {n}": b for n, b in zip(net.buffer_names, net.buffers, strict=True)}
    held |= {f"the gate {n}": g for n, g in gates.items()}
    with untouched(f"the supernet's call in {mode}", held, models=[net.model]):
        y = _run(net, gates, inputs, training, seed)
        torch.autograd.grad(y.sum(), net.weights, allow_unused=True)
    with untouched("calling the supernet itself", held, models=[net.model]):
        net(inputs, gates)
    with isolated(seed + 1):  # other global random states
        identical((_run(net, gates, inputs, training, seed),), (y,), f"the call in {mode} under the same rng")
        first, again = (net.call(net.weights, gates, inputs, training=training) for _ in range(2))
        identical((again,), (first,), f"the call in {mode} without rng")
    expect(bool(torch.isfinite(y).all()), f"the output in {mode} is not finite")


def _differentiable(
    net: Any, gates: dict[str, Tensor], inputs: tuple[Any, ...], training: bool, smooth: bool, seed: int
) -> None:
    mode, names, rng = ("training" if training else "evaluation"), list(gates), stream(seed, "directions")
    real = [i for i, t in enumerate(inputs) if isinstance(t, Tensor) and t.is_floating_point()]
    groups: dict[str, Sequence[Tensor]] = {
        "weights": [w.detach() + 0.01 * _like(w, rng) for w in net.weights],  # biases of 0 stand on kinks
        "gates": [gates[n] for n in names],
        "input": [inputs[i] for i in real],
    }
    target = _like(_run(net, gates, inputs, training, seed), rng)
    for which, held in groups.items():
        shift = [_like(t, rng) for t in held]
        if not shift:
            continue

        def value(parts: Sequence[Tensor], which: str = which) -> Tensor:
            weights = parts if which == "weights" else groups["weights"]
            mixed = dict(zip(names, parts, strict=True)) if which == "gates" else gates
            given = list(inputs)
            if which == "input":
                for i, t in zip(real, parts, strict=True):
                    given[i] = t
            y = net.call(weights, mixed, tuple(given), training=training, rng=stream(seed, "noise"))
            return (torch.tanh(y) * target).sum()  # curved in y, so that second derivatives are there

        _along(value, list(held), shift, smooth, f"in the {which} ({mode})")


def _along(
    value: Callable[[Sequence[Tensor]], Tensor], held: list[Tensor], shift: list[Tensor], smooth: bool, where: str
) -> None:
    """Compare first and second derivative along `shift`, of length one, with central differences."""
    shift = list(scale(shift, 1 / norm(shift)))

    def at(t: float) -> tuple[Tensor, Tensor]:
        point = leaves([h + t * s for h, s in zip(held, shift, strict=True)])
        y = value(point)
        slope = _slope(y, point, shift) if smooth or t == 0.0 else y
        if t == 0.0:
            return slope.detach(), _slope(slope, point, shift).detach()
        return y.detach(), slope.detach()

    found = [float(derivative) for derivative in at(0.0)]
    sides = [(at(t), at(-t), t) for t in STEPS]
    for order, name in enumerate(("first", "second")[: 1 + smooth]):
        wanted = [float(up[order] - down[order]) / (2 * t) for up, down, t in sides]
        size = max(abs(found[order]), 1e-3 * abs(found[0]), 1e-6)
        expect(
            min(abs(found[order] - w) for w in wanted) <= 1e-4 * size,
            f"the {name} derivative of the call {where} is {found[order]:.6g}, but central differences give "
            f"{', '.join(f'{w:.6g}' for w in wanted)}",
        )


def _slope(y: Tensor, point: Sequence[Tensor], shift: Sequence[Tensor]) -> Tensor:
    return dot(gradient(y, point, graph=True), shift)


def _updates_what_it_returns(net: Any, build: Any, gates: Any, inputs: tuple[Any, ...], seed: int) -> None:
    held = {f"the buffer {n}": b for n, b in zip(net.buffer_names, net.buffers, strict=True)}
    with untouched("the call with update=True", held), torch.no_grad():
        y, new = _run(net, gates, inputs, True, seed, update=True)
        identical((y,), (_run(net, gates, inputs, True, seed),), "the output with update=True beside that without")
        _, kept = _run(net, gates, inputs, False, seed, update=True)
    identical(kept, net.buffers, "the buffers that update=True returns in evaluation beside those held")
    norms = [m for m in net.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    moved = any(not same_bits(a, b) for a, b in zip(new, net.buffers, strict=True))
    expect(moved or not norms, "update=True returned the buffers it was given, although batch norm saw a batch")
    twin = build(copy.deepcopy(net.model))
    copy_into(twin.buffers, new)
    with torch.no_grad():
        found, wanted = _run(net, gates, inputs, False, seed, buffers=new), _run(twin, gates, inputs, False, seed)
    identical((found,), (wanted,), "the call with buffers=new beside a model that holds them")


def _equals_extracted(
    net: Any, architecture: Architecture, inputs: tuple[Any, ...], training: bool, tolerance: float, seed: int
) -> None:
    plain = extract(net.model, architecture).train(training)
    given = tuple(t.clone().requires_grad_(t.is_floating_point()) for t in inputs)
    found = _run(net, net.gates(architecture), given, training, seed)
    with isolated(draw(stream(seed, "noise"))):
        wanted = plain(*given)
    where = f"at {dict(architecture)} in {'training' if training else 'evaluation'}"
    close((found.detach(),), (wanted.detach(),), tolerance, f"the supernet beside the extracted network {where}")
    slopes = [torch.autograd.grad(y.sum(), given, allow_unused=True) for y in (found, wanted)]
    pairs = [(a, b) for a, b in zip(*slopes, strict=True) if a is not None and b is not None]
    gap = [torch.stack([(a - b).norm() for a, b in pairs])] if pairs else []
    size = sum(float(b.norm()) for _, b in pairs)
    expect(
        not gap or float(gap[0].norm()) <= max(tolerance * size, 1e-9),
        f"the input's gradient differs from that of the extracted network {where}",
    )


def _skips_zero_gates(net: Any, architecture: Architecture, inputs: tuple[Any, ...]) -> None:
    calls: Counter[tuple[str, str]] = Counter()
    places = Counter(id(m) for _, m in net.model.named_modules(remove_duplicate=False))
    hooks = []
    for module in net.model.modules():
        if isinstance(module, OneOf | SomeOf):
            for option, candidate in zip(module.options, module.candidates, strict=True):
                if places[id(candidate)] == 1:  # one that also stands elsewhere may run from there
                    key = (module.name, option)
                    hooks.append(candidate.register_forward_hook(lambda *_, key=key: calls.update([key])))
    try:
        with torch.no_grad():
            net.call(net.weights, net.gates(architecture), inputs)
    finally:
        for hook in hooks:
            hook.remove()
    for (name, option), times in calls.items():
        chosen = architecture.get(name, ())
        expect(
            option in chosen if isinstance(chosen, tuple) else option == chosen,
            f"option {option!r} of {name!r} ran {times} times although its gate is zero; it must not be executed",
        )


def _reads_nothing_at_zero_gates(net: Any, architecture: Architecture, inputs: tuple[Any, ...], seed: int) -> None:
    """Put NaN where only options of gate zero read: no trace of it may be found. No hooks, with which engines slow down."""
    read = {id(t) for m in _run_by(architecture, net.model) for t in (*m._parameters.values(), *m._buffers.values())}
    results, gates = [], net.gates(architecture)
    for fill in (1.0, float("nan")):
        weights, buffers = (
            [t if id(t) in read or not t.is_floating_point() else torch.full_like(t, fill) for t in held]
            for held in (net.weights, net.buffers)
        )
        held = leaves(weights)
        y, new = net.call(held, gates, inputs, buffers=buffers, rng=stream(seed), update=True)
        moved = [a for a, b in zip(new, buffers, strict=True) if not same_bits(a, b)]
        results.append((y, *gradient(y.sum(), held), *moved))
    identical(results[0], results[1], f"the call with NaN in what options of gate zero hold, at {dict(architecture)}")


def _run_by(architecture: Architecture, module: nn.Module) -> Iterator[nn.Module]:
    yield module
    children = list(module.children())
    if isinstance(module, OneOf | SomeOf):
        option = architecture.get(module.name, ())
        chosen = option if isinstance(option, tuple) else (option,)
        children = [m for o, m in zip(module.options, module.candidates, strict=True) if o in chosen]
    for child in children:
        yield from _run_by(architecture, child)


def _plain(net: Any, architecture: Architecture, inputs: tuple[Any, ...]) -> None:
    plain = extract(net.model, architecture).eval()
    ours = sorted({type(m).__name__ for m in plain.modules() if type(m).__module__.split(".")[0] == "mimar"})
    expect(not ours, f"the extracted network holds mimar's own {', '.join(ours)}; it must be plain torch")
    memory = {t.data_ptr() for t in (*net.weights, *net.buffers) if t.numel()}
    shared = [n for n, t in plain.state_dict(keep_vars=True).items() if t.numel() and t.data_ptr() in memory]
    expect(not shared, f"the extracted network shares the memory of {', '.join(shared[:3])} with the model")
    held = plain.state_dict()
    packed = pickle.dumps(plain)
    expect(b"mimar." not in packed, "the pickled network names mimar, so that it does not load where mimar is absent")
    for what, twin in (("deep copy", copy.deepcopy(plain)), ("unpickled copy", pickle.loads(packed))):
        outputs = []
        for net_ in (twin, plain):
            with isolated(0), torch.no_grad():
                outputs.append(net_(*inputs))
        identical(outputs[:1], outputs[1:], f"the {what} of the extracted network")
    first, again, other = (extract(net.model, architecture, fresh=stream(s, "fresh")).state_dict() for s in (0, 0, 1))
    expect(all(same_bits(first[n], again[n]) for n in held), "fresh weights differ under the same stream")
    drawn = [n for n, p in plain.named_parameters() if p.dim() > 1]
    for twin, what in ((other, "those of another stream"), (held, "the inherited ones")):
        same = [n for n in drawn if same_bits(first[n], twin[n])]
        expect(not same, f"the fresh weights {', '.join(same[:3])} equal {what}")


def _agrees_with_reference(model: nn.Module, x: Any, build: Any, dtypes: Sequence[torch.dtype], seed: int) -> None:
    """Raise AssertionError where the supernet that `build` makes of `model` differs from `Reference()` on the same model.

    In training and evaluation, at mixed, one-hot, partly and wholly zero gates (float32: the first two); with the second
    derivative along a random direction. Where rounding alone moves the reference further, four times as much is allowed.
    """
    model = _unsettled(model, seed)
    exact = Supernet(copy.deepcopy(model).double(), engine=Reference())
    for dtype in dtypes:
        nets = (build(model.to(dtype)), Supernet(model, engine=Reference()), exact)
        draws = 1 if dtype == torch.float64 else 3  # of the point: rounding may cross a kink of the network
        wrong = list(takewhile(bool, (next(_differences(nets, x, dtype, seed + n), "") for n in range(draws))))
        expect(len(wrong) < draws, "".join(wrong[:1]))


def _differences(nets: Sequence[Any], x: Any, dtype: torch.dtype, seed: int) -> Iterator[str]:
    limit, double = LIMITS[dtype], torch.float64
    for number, (kind, gates) in enumerate(_gates(nets[0].space, seed)):
        for training in (True, False) if number < 2 or dtype == double else ():
            found, truth = (_measured(n, gates, x, training, t, seed) for n, t in ((nets[0], dtype), (nets[2], double)))
            own: Groups = {}  # the reference with rounding errors, made when it is needed
            for order, groups in truth.items():
                floor = FLOOR * norm([t for part in groups.values() for t in part])
                for name, wanted in groups.items():
                    size = max(norm(wanted), floor) or 1.0
                    if (gap := norm(add(found[order][name], wanted, -1.0)) / size) <= limit:
                        continue
                    own = own or _measured(nets[1], gates, x, training, dtype, seed, 3e-16 * (dtype == double))
                    error, rest = (norm(add(own[order][name], t, -1.0)) / size for t in (wanted, found[order][name]))
                    allowed = max(limit, min(4 * error, 0.1))
                    if not min(gap, rest) <= allowed:  # NaN is not
                        where = f"{order}{name} at {kind} gates in {'training' if training else 'evaluation'}"
                        said = f"differs from that of the reference by {gap:.3g} relative, more than {allowed:.3g}"
                        yield f"the {where} ({str(dtype)[6:]}) {said}"


def _measured(net: Any, gates: Any, x: Any, training: bool, dtype: Any, seed: int, nudge: float = 0.0) -> Groups:
    rng, weights = stream(seed, "directions"), leaves(w + nudge * _like(w, stream(seed)) * w for w in net.weights)
    mixed = {n: g.detach().to(dtype).requires_grad_(g.requires_grad) for n, g in gates.items()}
    real = [isinstance(t, Tensor) and t.is_floating_point() for t in x]
    given = [t.detach().to(dtype).requires_grad_() if r else t for t, r in zip(x, real, strict=True)]
    y, after = net.call(weights, mixed, tuple(given), training=training, rng=stream(seed, "noise"), update=True)
    groups = {
        "weights": weights,
        "gates": tuple(g for g in mixed.values() if g.requires_grad),
        "input": tuple(t for t, r in zip(given, real, strict=True) if r),
    }
    held = [t for part in groups.values() for t in part]
    slopes = gradient((torch.tanh(y) * _like(y, rng)).sum(), held, graph=True)  # tanh: curved in y
    products = gradient(dot(slopes, [_like(t, rng) for t in held]), held)
    found: Groups = {"output": {"": (y,)}, "buffers": {"": after}}
    for order, tensors in (("first derivative in the ", slopes), ("second derivative in the ", products)):
        it = iter(tensors)
        found[order] = {name: tuple(next(it) for _ in part) for name, part in groups.items()}
    return {o: {n: tuple(t.detach().double() for t in part) for n, part in g.items()} for o, g in found.items()}


def _unsettled(model: nn.Module, seed: int) -> nn.Module:
    """Return a float32 copy away from the numbers of a fresh model: biases of 0 stand on kinks, means of 0 hide errors."""
    model, rng = copy.deepcopy(model).float(), stream(seed, "unsettled")
    for name, t in (*model.named_parameters(), *model.named_buffers()):
        if t.is_floating_point():
            noise = _like(t, rng)
            t.data.mul_((0.3 * noise).exp()) if name.endswith("running_var") else t.data.add_(0.05 * noise)
    return model


def _gates(space: Space, seed: int) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield a name and gates for every kind of gates that an execution may treat on its own."""
    rng = stream(seed, "gates")
    zero = {c.name: torch.zeros(len(c.options)) for c in space.choices if c.kind != "value"}
    some, mixed = {}, {n: 0.1 + 0.9 * torch.rand(g.shape, generator=rng) for n, g in zero.items()}
    for name, gate in mixed.items():
        order = torch.randperm(len(gate), generator=rng)
        some[name] = gate.index_fill(0, order[: int(torch.randint(len(gate), (), generator=rng))], 0.0)
    yield "mixed", {n: g.requires_grad_() for n, g in mixed.items()}
    yield "one-hot", space.gates(space.sample(rng))
    yield "partly zero", some
    half = {n: g.clone().requires_grad_(i % 2 == 0) for i, (n, g) in enumerate(some.items())}
    yield "partly zero, partly differentiable", half
    yield "zero", zero
    yield "differentiable zero", {n: g.clone().requires_grad_() for n, g in zero.items()}
