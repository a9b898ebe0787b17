"""The laws of supernets: pure, twice differentiable, and at one-hot gates the extracted network."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mimar.core.derivatives import gradient
from mimar.core.state import copy_into
from mimar.core.streams import draw, isolated, stream
from mimar.core.trees import dot, leaves, norm, scale
from mimar.space import Architecture, OneOf, SomeOf
from mimar.supernet import Supernet, extract
from mimar.testing.expect import close, expect, identical, same_bits, untouched

STEPS = (1e-4, 1e-5, 1e-6, 1e-7)  # of central differences; one that crosses no kink of the network is enough


def check_supernet(
    model: nn.Module,
    x: Any,
    *,
    build: Callable[[nn.Module], Any] = Supernet,
    architectures: int = 3,
    tolerance: float = 1e-6,
    smooth: bool = True,
    seed: int = 0,
) -> None:
    """Raise AssertionError where the supernet of `model` breaks a law, on the input `x` (or a tuple of inputs).

    Works on a float64 copy of the model. `build` makes the supernet to be checked. The laws: a call writes to nothing,
    repeats bit for bit, and its noise depends on `rng` alone; it is differentiable twice in weights, gates and input
    (central differences along random directions; `smooth=False` leaves the second derivative out); `update=True` changes
    the returned buffers only; at the one-hot gates of random architectures it equals the extracted network, in training
    and in evaluation, to the relative `tolerance`; options of gate zero are not executed; the extracted network has no
    class of mimar inside, shares no memory with the model, can be copied and pickled; fresh weights follow their stream.
    """
    model = copy.deepcopy(model).double()
    inputs = tuple(_double(t) for t in (x if isinstance(x, tuple) else (x,)))
    net = build(model)
    gates = _mixture(net, seed)
    for training in (True, False):
        _writes_nothing(net, gates, inputs, training, seed)
        _differentiable(net, gates, inputs, training, smooth, seed)
    _updates_what_it_returns(net, gates, inputs, seed)
    for number in range(architectures):
        architecture = net.space.sample(stream(seed, "architecture", number))
        for training in (True, False):
            _equals_extracted(net, architecture, inputs, training, tolerance, seed)
        _skips_zero_gates(net, architecture, inputs)
        _plain(net, architecture, inputs)


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value


def _like(value: Tensor, rng: torch.Generator) -> Tensor:
    return torch.randn(value.shape, generator=rng, dtype=torch.float64)


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


def _updates_what_it_returns(net: Any, gates: dict[str, Tensor], inputs: tuple[Any, ...], seed: int) -> None:
    held = {f"the buffer {n}": b for n, b in zip(net.buffer_names, net.buffers, strict=True)}
    with untouched("the call with update=True", held), torch.no_grad():
        y, new = _run(net, gates, inputs, True, seed, update=True)
        identical((y,), (_run(net, gates, inputs, True, seed),), "the output with update=True beside that without")
        _, kept = _run(net, gates, inputs, False, seed, update=True)
    identical(kept, net.buffers, "the buffers that update=True returns in evaluation beside those held")
    norms = [m for m in net.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    moved = any(not same_bits(a, b) for a, b in zip(new, net.buffers, strict=True))
    expect(moved or not norms, "update=True returned the buffers it was given, although batch norm saw a batch")
    twin = type(net)(copy.deepcopy(net.model))
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
