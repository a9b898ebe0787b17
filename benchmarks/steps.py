"""What is compared: one step in several forms of one network, on the same weights, gates and batch; and how it is timed.

A step is forward and backward of the supernet in training mode, with gradients of all weights and all gates. Forms that
are compared take turns in one process, so that they see the same machine: a figure is the median of the rounds' ratios,
its spread their quartiles.
"""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import plain
import torch
from torch import Tensor, nn

from mimar import nets
from mimar.core.derivatives import gradient
from mimar.core.streams import isolated, stream
from mimar.core.trees import Tensors
from mimar.supernet import Supernet

CLASSES = 10
KINDS = {"darts": (nets.darts, plain.Darts), "nasbench201": (nets.nasbench201, plain.NasBench201)}
CHOICES = {  # in the order of the plain network's gates, a list for each of its matrices
    "darts": [[f"{kind}/{i}-{j}" for j in range(2, 6) for i in range(j)] for kind in ("normal", "reduce")],
    "nasbench201": [[f"cell/{i}-{j}" for j in range(1, 4) for i in range(j)]],
}
# In float32; rounding alone parts plain NCHW from plain channels-last by 1e-2. The tests compare in float64.
LOSS, GRADIENT = 1e-4, 3e-2

Step = Callable[[], tuple[Tensor, Tensors]]  # → loss, gradients: of the weights, then of the gates


@dataclass(frozen=True)
class Size:
    """A network, and its batch of square colour images."""

    net: str
    cells: int
    channels: int
    side: int
    batch: int

    def __str__(self) -> str:
        return f"{self.net} {self.cells}x{self.channels} {self.side}x{self.side} batch {self.batch}"


class Forms:
    """The step of one network on one batch, in the forms that are compared."""

    def __init__(self, size: Size, device: str = "cpu", dtype: torch.dtype = torch.float32) -> None:
        (ours, theirs), rng = KINDS[size.net], stream(0, "benchmark")
        with isolated(0):
            self.model = ours(size.cells, size.channels, CLASSES).to(device, dtype)
            self.twin = theirs(size.cells, size.channels, CLASSES).to(device, dtype)
        plain.share(self.twin, self.model)
        self.weights = len(list(self.model.parameters()))
        self.x = torch.randn(size.batch, 3, size.side, size.side, generator=rng).to(device, dtype)
        self.y = torch.randint(CLASSES, (size.batch,), generator=rng).to(device)
        self.space = Supernet(self.model).space
        matrices, counts = CHOICES[size.net], {c.name: len(c.options) for c in self.space.choices}
        logits = [torch.randn(len(names), max(counts.values()), generator=rng) for names in matrices]
        self.gates = [values.softmax(1).to(device, dtype) for values in logits]
        self.used = [names for names in matrices if names[0] in self.space]  # two cells are both reductions

    def plain(self, *, channels_last: bool = False, amp: bool = False) -> Step:
        """Return the step of published code, one operation after the other."""
        layout = torch.channels_last if channels_last else torch.contiguous_format
        net, x = copy.deepcopy(self.twin).to(memory_format=layout), self.x.contiguous(memory_format=layout)
        gates = [g.clone().requires_grad_() for g in self.gates]
        inputs = (*net.parameters(), *gates[-len(self.used) :])

        def step() -> tuple[Tensor, Tensors]:
            with torch.autocast(x.device.type, torch.bfloat16, enabled=amp):
                loss = nn.functional.cross_entropy(net(x, *gates), self.y)
            return loss.detach(), gradient(loss, inputs)

        return step

    def ours(self, *, amp: bool = False, **options: Any) -> Step:
        """Return the step of mimar; running statistics move, as in the plain network. `options` are Supernet's."""
        supernet = Supernet(self.model, **options)
        gates = {
            name: gate.clone().requires_grad_()
            for names, values in zip(self.used, self.gates[-len(self.used) :], strict=True)
            for name, gate in zip(names, values, strict=True)
        }
        inputs, given, buffers = (*supernet.weights, *gates.values()), gates | self.opened(), supernet.buffers

        def step() -> tuple[Tensor, Tensors]:
            nonlocal buffers
            with torch.autocast(self.x.device.type, torch.bfloat16, enabled=amp):
                logits, buffers = supernet.call(supernet.weights, given, self.x, buffers=buffers, update=True)
                loss = nn.functional.cross_entropy(logits, self.y)
            return loss.detach(), gradient(loss, inputs)

        return step

    def single(self) -> Step:
        """Return the step of a single path: one option of every edge, drawn anew each step; gradients of weights alone."""
        supernet, rng, opened = Supernet(self.model), stream(0, "paths"), self.opened()
        buffers, rows = supernet.buffers, torch.eye(self.gates[0].shape[1]).to(self.x)
        names = [name for names in self.used for name in names]

        def step() -> tuple[Tensor, Tensors]:
            nonlocal buffers
            drawn = torch.randint(len(rows), (len(names),), generator=rng).tolist()
            gates = {name: rows[i] for name, i in zip(names, drawn, strict=True)} | opened
            logits, buffers = supernet.call(supernet.weights, gates, self.x, buffers=buffers, update=True)
            loss = nn.functional.cross_entropy(logits, self.y)
            return loss.detach(), gradient(loss, supernet.weights)

        return step

    def opened(self) -> dict[str, Tensor]:
        """Return gates that let every edge take part."""
        return {c.name: torch.ones(len(c.options)).to(self.x) for c in self.space.choices if c.kind == "some"}


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """Return all entries as one vector of float64."""
    return torch.cat([t.double().flatten() for t in tensors])


def checked(steps: Mapping[str, Step], weights: int) -> None:
    """Assert that all steps have the loss and the gradients of the first, `weights` of them of weights; warms them up."""
    (loss, wanted), *others = (step() for step in steps.values())
    for name, (other, found) in zip(list(steps)[1:], others, strict=True):
        assert abs(float(other - loss)) <= LOSS * abs(float(loss)), f"{name} has another loss: {other} for {loss}"
        for what, part in (("weights", slice(weights)), ("gates", slice(weights, None))):
            ours, theirs = flat(found[part]), flat(wanted[part])
            apart = float((ours - theirs).norm() / theirs.norm())
            assert apart <= GRADIENT, f"{name} has other gradients of its {what}: relative distance {apart:.1e}"


def seconds(step: Callable[[], Any], device: str = "cpu") -> float:
    """Return the wall time of one call."""
    start = time.perf_counter()
    step()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def in_turns(
    steps: Mapping[str, Callable[[], Any]], spend: float, device: str = "cpu", rounds: tuple[int, int] = (5, 200)
) -> dict[str, list[float]]:
    """Return the seconds of every step, round by round, in about `spend` seconds and within the limits of rounds."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    begin, done = time.perf_counter(), 0
    while done < rounds[0] or (done < rounds[1] and time.perf_counter() - begin < spend):
        for name, step in steps.items():
            found[name].append(seconds(step, device))
        done += 1
    return found


class Bound(NamedTuple):
    """What a ratio has to reach."""

    sign: str  # ">=" or "<="
    must: float
    aim: float | None = None

    def reached(self, ratio: float) -> str:
        """Return which of the two a ratio reaches: "aim", "must" or "no"."""
        side = 1 if self.sign == ">=" else -1
        found = [name for name in ("aim", "must") if (v := getattr(self, name)) is not None and side * (ratio - v) >= 0]
        return found[0] if found else "no"


def row(
    what: str, where: Size | str, above: Sequence[float], below: Sequence[float], bound: Bound | None
) -> dict[str, Any]:
    """Return one row of the table: the median of above ÷ below, its quartiles, and the medians of both."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return {
        "measure": what,
        "on": str(where),
        "must": f"{bound.sign} {bound.must:g}" if bound else "",
        "aim": f"{bound.sign} {bound.aim:g}" if bound and bound.aim is not None else "",
        "ratio": f"{middle:.3g}",
        "quartiles": f"{low:.3g} to {high:.3g}",
        "reached": bound.reached(middle) if bound else "",
        "above": f"{statistics.median(above):.4g}",
        "below": f"{statistics.median(below):.4g}",
        "rounds": len(ratios),
    }
