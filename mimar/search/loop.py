"""The search phase of a bilevel search: steps, epochs, what is measured at their ends, and going back or stopping."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mimar.core.errors import UsageError
from mimar.core.events import Event, Record, Step
from mimar.core.state import State
from mimar.core.streams import stream
from mimar.core.trees import norm
from mimar.gradient import regularise, relax
from mimar.gradient.derive import process
from mimar.gradient.hypergradient import Explanation
from mimar.gradient.hypergradient.parts import explained
from mimar.gradient.probe import ITERATIONS, dominant_eigenvalue
from mimar.gradient.regularise import Moment
from mimar.gradient.relax import Context, Gates, entropy
from mimar.gradient.schedule import Phase, Rollback, Stop, after_epoch, past, phase, probing
from mimar.search import finish
from mimar.search.bench import Trained
from mimar.search.lab import Lab
from mimar.search.losses import BatchLoss, Scope, decide
from mimar.search.weights import SharedWeights, Taken
from mimar.tasks import Augment

if TYPE_CHECKING:
    from mimar.search.bilevel import Bilevel

WHOLE = ("weights", "buffers", "sgd", "alphas", "held")  # the groups of tensors that a search goes back to


class Loop:
    """The search phase: shared weights, alphas and what parts hold, tied to the tensors of the state."""

    def __init__(self, search: Bilevel, lab: Lab, state: State) -> None:
        self.search, self.lab, self.state = search, lab, state
        self.shared = SharedWeights(lab, state, search.inner, search.batch, search.split)
        self.joint = bool(getattr(search.hypergradient, "joint", False))
        self.outer_steps = search.schedule.outer_steps(self.shared.per_epoch)
        self.decided: Mapping[str, Any] = {}
        self.settings: Mapping[str, float] = {}
        self._load()

    def events(self) -> Iterator[Event]:
        """Advance to the end of the search phase, derivation included."""
        counters, per_epoch, epochs = self.state.json, self.shared.per_epoch, self.search.schedule.epochs
        total = epochs * per_epoch
        if not counters["entropy"]:
            counters["entropy"] = [self.entropy()] * 2
            yield from finish.forecast(self.lab, self.search.batch)
        while counters["epoch"] < epochs and "bench" not in counters:
            epoch = counters["epoch"]
            lr, plan = self.search.schedule.rate(epoch, self.search.inner.lr), self.planned(epoch)
            batches = self.shared.batches(epoch, counters["step"], self.augment(epoch))
            for step, batch in enumerate(batches, counters["step"]):
                yield from self.pair(batch, epoch * per_epoch + step, lr, plan)
                counters["step"] = step + 1
                yield Step("search", "search", epoch * per_epoch + step + 1, total, self.monitors())
            yield self.measured(epoch, lr)
            counters.update(epoch=epoch + 1, step=0, loss_sum=0.0)
            yield from self._decided_by_history()
            yield Step("search", "search", counters["epoch"] * per_epoch, total, boundary=True)
        bench = Trained(self)
        derived = yield from process(self.search.derivation, bench)
        if fixed := bench.held.get("fixed"):  # the weights were tuned with these decided
            counters["entropy"] = [counters["entropy"][0], self.entropy()]
        gates = decide(self.gates(), self.lab.space, fixed or {})
        yield from finish.derive(self.search, self.lab, self.state, derived, gates, self.cost())

    def pair(self, batch: Any, at: int, lr: float, plan: Phase | None = None) -> Iterator[Event]:
        """Take the weight step number `at`, and the alpha step after it if one is due."""
        counters, schedule = self.state.json, self.search.schedule
        loss = self.loss(batch, "inner", at)
        taken = self.shared.step(loss, tuple(self.alphas), lr, at, joint=self.joint, phase=plan)
        counters["loss_sum"] += taken.loss
        counters["macs"] += (3.0 + loss.meter[0]) * self.search.batch * self.lab.pass_macs(taken.gates)
        self._settled("inner", at, taken.gates)
        if self.outer_steps and schedule.outer_due(at, self.shared.per_epoch, taken.norm, self.held):
            counters["hyper"] = yield from self.alpha_step(lr, at, taken, loss, plan)
        self._keep()

    def alpha_step(
        self, lr: float, at: int, taken: Taken, first: BatchLoss, plan: Phase | None
    ) -> Generator[Event, None, dict[str, Any]]:
        """Take one step along the hypergradient at the present weights; return its monitors."""
        if self.joint:
            zeros = tuple(s * 0.0 for s in taken.slopes)
            found, outer = explained(type(self.search.hypergradient).__name__, taken.slopes, zeros), first
        else:
            found, outer = self._looked_ahead(lr, at, plan)
        found = replace(found, names=tuple(self.names))
        before = {n: a.detach().clone() for n, a in zip(self.names, self.alphas, strict=True)}
        self.search.outer.step(self.alphas, found, self.held, self.outer_steps)
        present = {n: a.detach() for n, a in zip(self.names, self.alphas, strict=True)}  # the same memory
        relax.settle(self.search.relaxation, present, before, outer.context())
        self._settled("outer", at, Gates())
        if found.warning and not self.state.json.get("warned"):
            self.state.json["warned"] = True
            yield Record({"event": "warned", "name": "series", "text": found.warning})
        total, direct, implicit = norm(found.gradients), norm(found.direct), norm(found.implicit)
        shares = {"norm": total, "direct": direct, "implicit": implicit, "share": found.share}
        return {**shares, "growth": found.growth, "step": found.step}

    def _looked_ahead(self, lr: float, at: int, plan: Phase | None) -> tuple[Explanation, BatchLoss]:
        """Return the hypergradient on fresh batches of both halves, and the outer loss."""
        batch = self.sample("train", at)
        inner = self.loss(batch, "inner", at, draw=lambda j: self.sample("train", at, j))
        inner = replace(inner, moving=self.shared.moving(plan))
        outer = replace(self.loss(self.sample("valid", at), "outer", at), partner=lambda: batch)
        outer = self._beside(outer, lr)
        found = self.search.hypergradient.explain(outer, inner, self.shared.weights, self.alphas, lr=lr)
        passes = self.search.hypergradient.passes + outer.meter[0] + inner.meter[0]
        self.state.json["macs"] += passes * self.search.batch * self._macs(found, outer)
        return found, outer

    def loss(self, batch: Any, scope: Scope, at: int, draw: Callable[[int], Any] | None = None) -> BatchLoss:
        """Return the inner or outer loss on a batch, under the noise of step `at`."""
        return BatchLoss(
            supernet=self.lab.supernet,
            relaxation=self.search.relaxation,
            names=self.names,
            data=self.lab.data,
            batch=batch,
            buffers=self.shared.buffers,
            noise=(self.search.seed, scope, at),
            terms=tuple(t for t in self.search.terms if self.joint or t.scope == scope),
            progress=min(at / max(self.search.schedule.epochs * self.shared.per_epoch, 1), 1.0),
            scope=scope,
            draw=draw,
            mixer=self.search.mixer,
            held=self.held,
            settings=self.settings,
            decided=self.decided,
            costs=self.lab.costs,
            owners=self.lab.owners,
        )

    def sample(self, split: str, at: int, j: int = -1) -> Any:
        """Return the batch of an outer step (j = −1), or the j-th further one; with replacement between steps."""
        rng, data = stream(self.search.seed, "outer", split, at, j), self.lab.data
        augment = self.augment(at // self.shared.per_epoch) or data.task.augment
        augment = augment if split == "train" else None  # L1 is the loss that the weights minimise
        return data.sample(split, rng, size=self.search.batch, augment=augment, device=self.search.device)

    def gates(self) -> Gates:
        """Return the present gates, as for evaluation."""
        rng = stream(self.search.seed, "gates")
        counters, per_epoch = self.state.json, self.shared.per_epoch
        progress = (counters["epoch"] * per_epoch + counters["step"]) / (self.search.schedule.epochs * per_epoch)
        ctx = Context(self.lab.space, min(progress, 1.0), rng, training=False, scope="outer", held=self.held)
        found = self.search.relaxation.gates(self._values(), ctx)
        return Gates({name: gate.detach() for name, gate in found.items()}, getattr(found, "active", None))

    def entropy(self) -> float:
        """Return the entropy by which the search is judged to have moved: of the gates, or as the relaxation says."""
        found = relax.judged(self.search.relaxation, self._values(), self.lab.space)
        return entropy(self.gates() if found is None else found, self.lab.space)

    def mixed(self, gates: Mapping[str, Tensor]) -> Gates:
        """Return the coefficients under which these gates run the network."""
        return self.search.mixer(Gates(gates, getattr(gates, "active", None)), self.lab.space)

    def monitors(self) -> dict[str, float]:
        """Return the figures of the progress line."""
        counters = self.state.json
        figures = {"loss": counters["loss_sum"] / counters["step"], "entropy": counters["entropy"][-1]}
        return figures | ({"implicit": counters["hyper"]["share"]} if counters["hyper"] else {})

    def measured(self, epoch: int, lr: float) -> Record:
        """Return the record of an epoch: losses, supernet accuracy, entropy, skips, gates; add it to the history."""
        gates, counters = self.gates(), self.state.json
        counters["entropy"] = [counters["entropy"][0], self.entropy()]
        derived = self.search.derivation(self.lab.space, gates)
        valid = self.shared.evaluate(self.mixed(gates))
        counters["macs"] += self.lab.supernet_macs * self.lab.data.size("valid")
        bend = self.eigenvalue(epoch) if "eigenvalue" in probing(self.search.schedule, epoch + 1) else None
        counters["history"].append(
            {"epoch": epoch + 1, "skips": finish.skips(derived), "skips_by": finish.skips_by(derived)}
            | {"ranks": finish.ranks(self.lab.space, gates), "entropy": counters["entropy"][1]}
            | {"eigenvalue": bend, "settings": dict(counters["settings"])}
        )
        return Record(
            {"event": "epoch", "phase": "search", "epoch": epoch + 1, "epochs": self.search.schedule.epochs, "lr": lr}
            | {"train_loss": counters["loss_sum"] / self.shared.per_epoch}
            | {f"valid_{name}": value for name, value in valid.items()}
            | {"entropy": counters["entropy"][1], "skips": finish.skips(derived), "hyper": counters["hyper"]}
            | {"gates": {name: gate.tolist() for name, gate in gates.items()}}
            | ({} if bend is None else {"eigenvalue": bend})
        )

    def eigenvalue(self, epoch: int) -> float:
        """Return the dominant eigenvalue of ∂²L2/∂a² on a batch of the validation half."""
        at = (epoch + 1) * self.shared.per_epoch - 1
        loss, weights = self.loss(self.sample("valid", at), "outer", at), tuple(w.detach() for w in self.shared.weights)
        loss = replace(loss, partner=lambda: self.sample("train", at))
        passes = 3.0 + 4.0 * ITERATIONS  # a gradient with its graph, and the products
        self.state.json["macs"] += passes * self.search.batch * self.lab.supernet_macs
        return dominant_eigenvalue(lambda a: loss(weights, a), self.alphas)[0]

    def cost(self) -> float:
        """Return the analytic cost of the search so far, in MACs: steps as taken, options as executed, and evaluations."""
        return float(self.state.json["macs"])

    def _macs(self, found: Explanation, outer: BatchLoss) -> float:
        """Return the MACs of one sample through the supernet under the gates of an alpha step."""
        if getattr(self.search.hypergradient, "dense", False):  # it runs options that its gates leave out
            return float(self.lab.supernet_macs)
        return self.lab.pass_macs(found.samples[0][0] if found.samples else outer.gates(self.alphas))

    def _beside(self, outer: BatchLoss, lr: float) -> BatchLoss:
        """Train the second copy of the weights, where there is one, and let the outer loss know it."""
        twin, n = self.search.twin, len(self.shared.weights)
        if twin is None:
            return outer
        outer = replace(outer, buffers=twin.buffers(self.held, len(self.shared.buffers)))
        twin.step(outer, [w.detach() for w in self.shared.weights], tuple(self.alphas), self.search.inner, lr)
        self.state.json["macs"] += 3.0 * self.search.batch * self.lab.supernet_macs
        return replace(outer, twin=twin.weights(self.held, n))

    def _values(self) -> dict[str, Tensor]:
        return {n: a.detach() for n, a in zip(self.names, self.alphas, strict=True)}

    def _settled(self, kind: Scope, at: int, gates: Gates) -> None:
        """Let the terms of one scope follow up a step."""
        terms = [t for t in self.search.terms if t.scope == kind and hasattr(t, "settle")]
        if not terms:
            return
        if kind == "outer":
            gates = self.gates()
        progress = at / max(self.search.schedule.epochs * self.shared.per_epoch, 1)
        weights, alphas = (tuple(t.detach() for t in ts) for ts in (self.shared.weights, self.alphas))
        moment = Moment(weights, self.shared.buffers, alphas, self.names, at, progress, kind, gates, self.lab.space)
        for term in terms:
            regularise.settle(term, self.held, moment)

    def planned(self, epoch: int, *, begin: bool = True) -> Phase | None:
        """Return what trains in an epoch, after doing what the beginning of its phase asks for, if `begin`."""
        plan = phase(self.search.schedule, epoch)
        if plan == Phase():
            self.settings = dict(self.state.json["settings"])
            return None
        before = phase(self.search.schedule, epoch - 1) if epoch else None
        if begin and plan.begin is not None and plan != before and self.state.json["step"] == 0:
            plan.begin(dict(zip(self.lab.supernet.weight_names, self.shared.weights, strict=True)))
        self.settings = {**self.state.json["settings"], **plan.settings}
        for name, buffer in zip(self.lab.supernet.buffer_names, self.shared.buffers, strict=True):
            if (last := name.rpartition(".")[2]) in plan.settings:
                buffer.fill_(plan.settings[last])
        return plan

    def augment(self, epoch: int) -> Augment | None:
        """Return the augmentation of an epoch where the search erases squares that grow; None for the task's own."""
        if not self.search.cutout:
            return None
        side = round(
            self.search.cutout * min((epoch + 1) / self.search.schedule.epochs, 1.0)
        )  # a tuning goes on at the end
        return replace(self.lab.data.task.augment or Augment(), cutout=side)

    def _decided_by_history(self) -> Iterator[Event]:
        """Keep what the schedule may go back to, and do what it asks for at the end of an epoch."""
        state, counters, schedule = self.state, self.state.json, self.search.schedule
        epoch, back = counters["epoch"], past(schedule)
        state.put(f"past {epoch}", (f"alphas/{n}" for n in self.names), (a.detach().clone() for a in self.alphas))
        if back:
            whole = {n: t.clone() for n, t in state.tensors.items() if n.partition("/")[0] in WHOLE}
            state.put(f"past {epoch}", whole.keys(), whole.values())
            gone = [n for n in state.group(f"past {epoch - back - 1}") if not n.startswith("alphas/")]  # alphas stay
            for name in gone:
                del state.tensors[f"past {epoch - back - 1}/{name}"]
        asked = after_epoch(schedule, counters["history"])
        if asked is None:
            return
        yield Record({"event": "schedule", "epoch": epoch, "asked": type(asked).__name__.lower(), "to": asked.epoch})
        held = state.group(f"past {asked.epoch}")
        wanted = "weights/" if isinstance(asked, Rollback) else "alphas/"
        if not any(name.startswith(wanted) for name in held):
            raise UsageError(
                f"the schedule asks for epoch {asked.epoch} after epoch {epoch}, which is not kept; epochs count from 1, and "
                f"a schedule that goes back says by `past` how far (now {back})"
            )
        if isinstance(asked, Rollback):
            state.drop(*WHOLE)
            state.tensors.update({n: t.clone() for n, t in held.items()})
            counters["settings"] = {**counters["settings"], **asked.settings}
            counters.update(epoch=asked.epoch, step=0, loss_sum=0.0, history=counters["history"][: asked.epoch])
            self.shared.load()
            self._load()
        elif isinstance(asked, Stop):
            for name, alpha in zip(self.names, self.alphas, strict=True):
                alpha.data.copy_(held[f"alphas/{name}"])
            counters["entropy"] = [counters["entropy"][0], self.entropy()]
            counters["bench"] = {}

    def _load(self) -> None:
        """Take alphas and what parts hold from the state."""
        self.names = list(self.state.group("alphas"))
        own = self.state.group("alphas").values()
        self.alphas = [a.to(self.search.device).clone().requires_grad_() for a in own]
        held = self.state.group("held").items()  # a snapshot comes back on the CPU; step counts stay there
        self.held = {n: (t.to(self.search.device) if t.dim() else t).clone() for n, t in held}
        self.settings = dict(self.state.json["settings"])
        self._keep()

    def _keep(self) -> None:
        """Let the state alias the alphas and what parts hold."""
        self.state.put("alphas", self.names, self.alphas)
        if set(self.state.group("held")) - set(self.held):
            self.state.drop("held")
        self.state.put("held", self.held.keys(), self.held.values())
