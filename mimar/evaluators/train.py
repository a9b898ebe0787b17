"""Training one architecture from scratch, as a resumable process: the derived network and every random one alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from mimar.core import count
from mimar.core.errors import NonFiniteError
from mimar.core.events import Event, Record, Step
from mimar.core.optimisers import Sgd, cosine
from mimar.core.ranges import Count, Fraction, Range, Whole, validate
from mimar.core.state import State, copy_into, moments, restore_moments
from mimar.core.streams import derive, isolated, stream
from mimar.evaluators.auxiliary import attach_auxiliary
from mimar.evaluators.drop_path import drop_paths
from mimar.kernels.rerouted import Rerouted
from mimar.space import Architecture
from mimar.space.beside import recipe
from mimar.supernet import Extracted, chosen
from mimar.tasks import Augment, BoundTask

Begin = Callable[[Extracted], None]  # fills the tensors of a network


@dataclass(frozen=True)
class Retrain:
    """How a finished architecture is trained from scratch; the defaults are DARTS' recipe at a small scale.

    Cosine learning rate from `optimiser.lr` to 0 over `epochs`; `drop_path` grows linearly from 0 to its value;
    `cutout` is the side of the erased square in pixels; `auxiliary` is the weight of the auxiliary head's loss, for
    networks that name a tap for it. `net`: a larger net of the same space to train in ("darts:cells=20,channels=36");
    None is the net that was searched. Trains on the split "fit", is compared on "holdout", tested once on "test".
    """

    epochs: Count = 20
    batch: Annotated[int, Range(2, None)] = 64
    optimiser: Sgd = Sgd(decay=3e-4)
    drop_path: Fraction = 0.0
    cutout: Whole = 0
    auxiliary: Fraction = 0.0
    net: nn.Module | str | None = None
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def steps(self, data: BoundTask) -> int:
        """Return the number of weight steps of one training."""
        return self.epochs * data.steps("fit", self.batch, drop_last=True)

    def settled(self, architecture: Mapping[str, Any]) -> Retrain:
        """Return the training that an architecture asks for: this one, with what the choices beside the network decide."""
        given = recipe(architecture)
        if not given:
            return self
        own = {f.name for f in fields(Retrain)}
        optimiser = replace(self.optimiser, **{n: v for n, v in given.items() if n not in own})
        return replace(self, optimiser=optimiser, **{n: v for n, v in given.items() if n in own})


@dataclass(frozen=True)
class Job:
    """One training: which network, from which model with choices, for which task, under which seed.

    `begin`: fills the tensors of the network, which is on the CPU, before its first step; None leaves them fresh.
    """

    label: str  # "derived", "random-0"
    phase: str  # retrain | baseline | evaluate
    caption: str  # for a person
    model: nn.Module
    architecture: Architecture
    data: BoundTask
    seed: int
    device: str = "cpu"
    begin: Begin | None = None


def training(part: Retrain, job: Job, state: State) -> Iterator[Event]:
    """Train `job.architecture` from fresh weights, or those that `job.begin` gives; leaves the network in `state` under "net/", its figures in the log.

    Resumable at every Step: `state` holds weights, buffers, momentum and counters. Random numbers come from streams of
    (seed, label, epoch, step). Choices beside the network replace fields of `part`. The last event is a Record of kind "trained", its metrics {test_accuracy,
    valid_accuracy (on the holdout), test_loss, params, macs (per sample)}. Raises NonFiniteError.
    """
    part = part.settled(job.architecture)
    trainee = _Trainee(part, job, state)
    counters = state.json
    per_epoch = job.data.steps("fit", part.batch, drop_last=True)
    for epoch in range(counters.setdefault("epoch", 0), part.epochs):
        lr = cosine(epoch / part.epochs, part.optimiser.lr)
        rng = stream(job.seed, "fit", job.label, epoch)
        start = counters.setdefault("step", 0)
        batches = job.data.batches(
            "fit", rng, size=part.batch, start=start, augment=trainee.augment, device=job.device, drop_last=True
        )
        for step, batch in enumerate(batches, start):
            loss = trainee.step(batch, lr, epoch, step)
            counters["step"] = step + 1
            counters["loss_sum"] = counters.get("loss_sum", 0.0) + loss
            done = epoch * per_epoch + step + 1
            yield Step(job.phase, job.caption, done, part.epochs * per_epoch, {"loss": loss})
        mean = counters.pop("loss_sum", 0.0) / max(per_epoch, 1)
        counters.update(epoch=epoch + 1, step=0)
        yield Record(
            {"event": "epoch", "phase": "retrain", "network": job.label, "epoch": epoch + 1, "epochs": part.epochs}
            | {"train_loss": mean}
        )
        yield Step(job.phase, job.caption, (epoch + 1) * per_epoch, part.epochs * per_epoch, {"loss": mean}, True)
    yield Record(trainee.measured())


class _Trainee:
    """The network under training with its optimiser, tied to the tensors of a state."""

    def __init__(self, part: Retrain, job: Job, state: State) -> None:
        self.part, self.job, self.state = part, job, state
        made = chosen(job.model, job.architecture, fresh=stream(job.seed, "weights", job.label))
        held = state.group("weights")
        if job.begin is not None and not held:
            job.begin(made)
        self.net, edges = made
        self.net.to(job.device).train()
        self.head = None
        if part.auxiliary:
            example = next(iter(job.data.batches("fit", None, size=2, device=job.device)))
            with isolated(derive(job.seed, "auxiliary", job.label), job.device):
                self.head = attach_auxiliary(self.net, job.model, job.data.inputs(example), job.data.task.classes)
        self.drop = drop_paths(edges) if part.drop_path else None
        self.augment = job.data.task.augment
        if part.cutout:
            self.augment = replace(self.augment or Augment(), cutout=part.cutout)
        modules = nn.ModuleDict({"net": self.net} | ({"auxiliary": self.head.module} if self.head else {}))
        trained = [(name, p) for name, p in modules.named_parameters() if p.requires_grad]  # not what its owner froze
        self.weights = [p for _, p in trained]
        self.names = [name for name, _ in trained]
        self.buffer_names = [name for name, _ in modules.named_buffers()]
        self.buffers = list(modules.buffers())
        self.optimiser = part.optimiser.optimiser(self.weights)
        if held:
            copy_into(self.weights, held.values())
            copy_into(self.buffers, state.group("buffers").values())
            restore_moments(self.optimiser, state.group("momentum"))
        self._alias()

    def _alias(self) -> None:
        self.state.put("weights", self.names, self.weights)
        self.state.put("buffers", self.buffer_names, self.buffers)
        held = moments(self.optimiser)
        self.state.put("momentum", held.keys(), held.values())

    def step(self, batch: Any, lr: float, epoch: int, step: int) -> float:
        """Take one step; return the loss."""
        noise = derive(self.job.seed, "noise", self.job.label, epoch, step)
        if self.drop is not None:
            self.drop.start(self.part.drop_path * epoch / self.part.epochs, noise)
        with isolated(noise, self.job.device), Rerouted():
            loss = self.job.data.loss(self.net, batch)
            if self.head is not None:
                loss = loss + self.part.auxiliary * self.job.data.loss(self.head, batch)
        value = float(loss.detach())
        if not torch.isfinite(loss):
            raise NonFiniteError(
                f"the training loss of {self.job.label} became {value} in epoch {epoch + 1}, step {step + 1}; "
                f"lower the learning rate (now {lr:.3g}) or clip gradients"
            )
        grads = torch.autograd.grad(loss, self.weights, allow_unused=True)
        filled = [torch.zeros_like(w) if g is None else g for w, g in zip(self.weights, grads, strict=True)]
        fresh = not self.optimiser.state
        self.part.optimiser.step(self.optimiser, filled, lr)
        if fresh:
            self._alias()
        return value

    def measured(self) -> dict[str, Any]:
        """Finish: detach the helpers, measure, and leave the plain network's tensors under "net/"."""
        for helper in (self.drop, self.head):
            if helper is not None:
                helper.remove()
        self.net.eval()
        data, device = self.job.data, self.job.device
        held, tested = (data.evaluate(self.net, s, device=device) for s in ("holdout", "test"))
        example = next(iter(data.batches("fit", None, size=1, device=device)))
        macs = count.macs(self.net, data.inputs(example))
        self.state.drop("weights", "buffers", "momentum")
        tensors = self.net.state_dict()
        self.state.put("net", tensors.keys(), tensors.values())
        metrics = {f"test_{k}": v for k, v in tested.items()} | {f"valid_{k}": v for k, v in held.items()}
        metrics |= {"params": count.params(self.net), "macs": macs}
        budget = 3 * macs * self.part.steps(data) * self.part.batch
        return {
            "event": "trained",
            "network": self.job.label,
            "architecture": dict(self.job.architecture),
            "metrics": metrics,
            "budget": budget,
        }


def network(job_model: nn.Module, architecture: Architecture, tensors: dict[str, Tensor]) -> nn.Module:
    """Return the plain network of an architecture with the weights that `training` left."""
    net = chosen(job_model, architecture).net
    net.load_state_dict(tensors)
    return net.eval()
