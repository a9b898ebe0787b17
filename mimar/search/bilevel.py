"""Bilevel search: min_a L2(w*(a), a) subject to w*(a) = argmin_w L1(w, a), by weight steps and alpha steps in turn.

    repeat   weight step:  w ← w − η ∇_w L1(w, a)              on a batch of the training half
             alpha step:   a ← update(a, hypergradient(L2, L1))  on a batch of the validation half, when the schedule says
    then     architecture = derivation(gates(a)); retrain it; train random ones of the same space beside it

L1 is the training loss plus the inner terms, L2 the validation loss plus the outer ones. Everything random comes from
streams of (seed, name, counters), so that the counters in the state are enough to resume exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from torch import Tensor, nn

from mimar.core.describe import LATER, NEUTRAL
from mimar.core.errors import SpaceError, UsageError
from mimar.core.events import Event
from mimar.core.optimisers import Sgd
from mimar.core.ranges import Range, Whole, validate
from mimar.core.state import State
from mimar.core.streams import stream
from mimar.evaluators import Retrain
from mimar.gradient import regularise, relax, schedule
from mimar.gradient.derive import Derivation
from mimar.gradient.hypergradient import Hypergradient, Relaxed
from mimar.gradient.mix import Mixer, Sum
from mimar.gradient.regularise import Term
from mimar.gradient.relax import Relaxation, relaxed
from mimar.gradient.schedule import Schedule
from mimar.gradient.update import OuterUpdate
from mimar.nets.remodel import Remodel, Same
from mimar.search import finish
from mimar.search.lab import Lab, checked_device
from mimar.search.loop import Loop
from mimar.search.result import Result
from mimar.search.run import Progress, run
from mimar.search.twin import Twin
from mimar.search.weights import SharedWeights
from mimar.supernet import Engine, Fused
from mimar.tasks import Task


def later(default: Any) -> Any:
    """Return a field that older records do not know: at its default it is no part of a search's identity."""
    return field(default=default, metadata={LATER: True})


@dataclass(frozen=True)
class Bilevel:
    """A differentiable search as an expression of its parts; see the module's text for the algorithm.

    `mixer`: from gates to coefficients. `remodel`: what is changed in the net before the search. `twin`: a second copy of
    the weights, trained on the validation half. `split`: what the weights train on, "train" (half of the data) or "fit"
    (all of a single-level search). `cutout`: side of the square erased from training images at the end of the search,
    in proportion to progress before.
    """

    name: str
    relaxation: Relaxation
    hypergradient: Hypergradient
    inner: Sgd
    outer: OuterUpdate
    terms: tuple[Term, ...]
    schedule: Schedule
    derivation: Derivation
    retrain: Retrain
    batch: Annotated[int, Range(2)] = 64
    net: nn.Module | str | None = None
    task: Task | str | None = None
    seed: int = 0
    device: str = "cpu"
    baseline: Whole | None = None
    engine: Engine = field(default=Fused(), metadata={NEUTRAL: True})
    mixer: Mixer = later(Sum())
    remodel: Remodel = later(Same())
    twin: Twin | None = later(None)
    split: Literal["train", "fit"] = later("train")
    cutout: Whole = later(0)

    def __post_init__(self) -> None:
        validate(self)
        if self.inner.decay:
            raise UsageError(
                "Bilevel.inner has a decay, which Hessians would not see; use the term WeightDecay instead"
            )
        joint = bool(getattr(self.hypergradient, "joint", False))
        if self.split == "fit" and not joint:
            raise UsageError(
                "Bilevel.split is 'fit', but the alphas are judged on part of it; only a single level trains on all"
            )
        if self.twin is not None and not isinstance(self.hypergradient, Relaxed):
            raise UsageError("Bilevel.twin has no effect without a hypergradient that reads it; use Relaxed")

    def start(self) -> State:
        """Return the state before the first step."""
        checked_device(self.device)
        lab = self.lab()
        if not relaxed(lab.space):
            raise SpaceError("the model has nothing to relax: a differentiable search needs at least one mimar.OneOf")
        lab.ready(self.retrain)
        state = State({"phase": "search", "epoch": 0, "step": 0, "loss_sum": 0.0, "hyper": {}, "entropy": []})
        state.json |= {"macs": 0.0, "history": [], "settings": {}}
        shared = SharedWeights(lab, state, self.inner, self.batch, self.split)  # puts the fresh weights into the state
        alphas = self.relaxation.init(lab.space, stream(self.seed, "alphas"))
        alphas = {name: a.to(self.device) for name, a in alphas.items()}
        state.put("alphas", alphas.keys(), alphas.values())
        values = tuple(alphas.values())
        parts = [relax.keeps(self.relaxation, lab.space), schedule.keeps(self.schedule), self.outer.keeps(values)]
        parts += [regularise.keeps(term, shared.weights, values) for term in self.terms]
        parts += [] if self.twin is None else [self.twin.keeps(shared.weights, shared.buffers)]
        held: dict[str, Tensor] = {}
        for own in parts:
            if twice := held.keys() & own.keys():
                raise UsageError(
                    f"two parts of {self.name} would share what they hold ({min(twice)!r}); use one of the kind"
                )
            held |= own
        state.put("held", held.keys(), (t.to(self.device) if t.dim() else t for t in held.values()))
        return state

    def lab(self) -> Lab:
        """Return what the search works on."""
        return Lab(self.net, self.task, self.seed, self.device, self.retrain.net, self.engine, self.remodel)

    def events(self, state: State) -> Iterator[Event]:
        """Advance `state` to the end; it is consistent whenever a Step is yielded."""
        lab = self.lab()
        if state.json["phase"] == "search":
            yield from Loop(self, lab, state).events()
        yield from finish.events(self, lab, state)

    def run(self, out: Any = None, *, resume: bool = False, progress: Progress | None = None, **more: Any) -> Result:
        """Run to the end, into the folder `out` if given, and return the result; `mimar.search.run` says how."""
        return run(self, out, resume=resume, progress=progress, **more)
