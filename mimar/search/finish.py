"""What every search ends with: derive, retrain from scratch, train random architectures alike, report.

Phases of the state after "search": "retrain" → "baseline" → "done". Each network is trained by the same process
(`mimar.evaluators.train`), so that the derived one and the random ones differ in nothing but the architecture.
"""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from torch import Tensor

from mimar.core.events import Event, Record, Step
from mimar.core.state import State
from mimar.core.streams import stream
from mimar.core.units import count
from mimar.evaluators import Retrain, training
from mimar.evaluators.train import Begin, Job
from mimar.gradient.derive import strengths
from mimar.gradient.mix import Mixer
from mimar.gradient.relax import Gates, relaxed
from mimar.search.budget import baseline_size
from mimar.search.lab import Lab
from mimar.space import Architecture, Space
from mimar.supernet import free_bytes, output_scales, recalibrated, step_bytes
from mimar.tasks import Measure
from mimar.tasks.protocol import Batch as Samples

ACCURACY = Measure("accuracy", "max", "fraction")
CALIBRATION = 8  # batches from which batch-norm statistics are gathered for one set of gates
SKIPS = ("skip", "skip_connect", "identity")
MOVED = 0.1  # a relative fall of the gates' entropy below this means that the search has found nothing


class Finishing(Protocol):
    """What the last phases need to know of a search."""

    @property
    def name(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def baseline(self) -> int | None: ...
    @property
    def retrain(self) -> Retrain: ...


class Relaxing(Finishing, Protocol):
    """What the end of a search with gates needs to know beside that."""

    @property
    def mixer(self) -> Mixer: ...
    @property
    def batch(self) -> int: ...


def skips(chosen: Architecture) -> int:
    """Return how many choices took an operation without parameters that merely passes its input on."""
    return sum(1 for option in chosen.values() if option in SKIPS)


def skips_by(chosen: Architecture) -> dict[str, int]:
    """Return `skips` by the part of the choices' names before the slash: "normal" and "reduce" in the DARTS space."""
    found: dict[str, int] = {}
    for name, option in chosen.items():
        prefix = name.partition("/")[0]
        found[prefix] = found.get(prefix, 0) + (option in SKIPS)
    return found


def ranks(space: Space, gates: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Return {choice: its options, strongest first}; ties keep the order of the options."""
    found = {}
    for choice in relaxed(space):
        order = gates[choice.name].argsort(descending=True, stable=True).tolist()
        found[choice.name] = [str(choice.options[i]) for i in order]
    return found


def forecast(lab: Lab, batch: int) -> Iterator[Event]:
    """Tell what a step will need, and warn of what can be seen beforehand: too little memory, too loud options."""
    x, few = lab.examples(batch), lab.examples(4)
    needed, free = step_bytes(lab.supernet, lab.uniform(), few, batch), free_bytes(lab.device)
    yield Record(
        {"event": "forecast", "step_bytes": needed, "macs": lab.supernet_macs, "choices": len(lab.space.choices)}
    )
    if free is not None and needed > free:
        text = (
            f"a weight step needs about {count(needed)}B of memory and {count(free)}B are free: make the batch "
            f"(now {batch}), the channels or the cells smaller"
        )
        yield Record({"event": "warned", "name": "memory", "text": text}, logged=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        output_scales(lab.supernet, x)
    for warning in caught:
        yield Record({"event": "warned", "name": "output scale", "text": str(warning.message)})


def derive(
    search: Relaxing, lab: Lab, state: State, derived: Architecture, gates: Mapping[str, Tensor], cost: float
) -> Iterator[Event]:
    """Record the derived architecture, measure it with the shared weights, and pass on to retraining."""
    before, after = state.json["entropy"]
    moved = before > 0 and (before - after) / before >= MOVED
    yield Record(
        {"event": "derived", "architecture": plain(derived), "entropy_before": before, "entropy_after": after}
        | {"moved": moved, "strength": strengths(lab.space, gates), "gates": {n: g.tolist() for n, g in gates.items()}}
    )
    if not moved:
        text = (
            "no alpha step was taken: the search has fewer weight steps than inner_steps, or warmup took them all"
            if not state.json.get("hyper")
            else f"the entropy of the gates fell from {before:.3f} to {after:.3f}, by less than 10 %: this search has found "
            "nothing; give it more outer steps or a higher rate of the alphas"
        )
        yield Record({"event": "warned", "name": "gates did not move", "text": text})
    supernet = {
        f"valid_{lab.primary.name}": shared_score(
            lab, search.mixer(Gates(gates, getattr(gates, "active", None)), lab.space), search.batch
        )
    }
    supernet[f"derived_{lab.primary.name}"] = shared_score(lab, lab.supernet.gates(derived), search.batch)
    supernet |= {"entropy_before": before, "entropy_after": after, "skips": skips(derived)}
    supernet["growth"] = state.json["hyper"].get("growth", 0.0) if state.json.get("hyper") else 0.0
    to_retraining(search, lab, state, derived, cost)
    state.json["supernet"] = supernet | {"moved": moved}


def to_retraining(search: Finishing, lab: Lab, state: State, derived: Architecture, cost: float) -> None:
    """Turn `state` into that of the retraining phase: one training per entry of "queue"."""
    part = search.retrain.settled(derived)
    retraining = 3.0 * lab.network_macs(derived) * part.steps(lab.data) * part.batch
    n = baseline_size(cost, retraining) if search.baseline is None else search.baseline
    queue = [["derived", plain(derived)]]
    queue += [[f"random-{i}", plain(random_architecture(lab, search.seed, i))] for i in range(n)]
    state.tensors.clear()
    state.json = {"phase": "retrain", "queue": queue, "trained": [], "search_cost": cost, "training": {}}


def random_architecture(lab: Lab, seed: int, index: int) -> Architecture:
    """Return the baseline's architecture number `index`: the same for every recipe under one seed."""
    return lab.space.sample(stream(seed, "random", index))


def shared_score(lab: Lab, gates: Mapping[str, Tensor], batch: int, among: Iterable[Samples] | None = None) -> float:
    """Return the primary measure on the validation half with the shared weights, batch norm recalibrated for the gates.

    With `among`, batches of one size, its mean over these.
    """
    batches = lab.data.batches("train", None, size=batch, device=lab.device, drop_last=True)
    inputs = [lab.data.inputs(b) for _, b in zip(range(CALIBRATION), batches, strict=False)]
    net = lab.supernet
    buffers = recalibrated(net, net.weights, gates, inputs)

    def forward(x: Tensor) -> Tensor:
        return net.call(net.weights, gates, x, buffers=buffers, training=False)

    if among is None:
        return lab.data.evaluate(forward, "valid", device=lab.device)[lab.primary.name]
    return statistics.fmean(lab.data.measured(forward, b)[lab.primary.name] for b in among)


def events(search: Finishing, lab: Lab, state: State) -> Iterator[Event]:
    """Train every network of the queue, keep the derived one's tensors, and put the result together."""
    queue, trained = state.json["queue"], state.json["trained"]
    while len(trained) < len(queue):
        label, chosen = queue[len(trained)]
        yield from train(
            search, lab, state, label, architecture(chosen), networks=len(queue) - 1, keep=label == "derived"
        )
    if state.json["phase"] != "done":
        budget = {"search": state.json["search_cost"], "retrain": trained[0]["budget"]}
        budget["baseline"] = sum(t["budget"] for t in trained[1:])
        yield from close(search, lab, state, trained[0], trained[1:], budget, state.json.get("search"))


Keep = Callable[[Mapping[str, Any]], bool]


def train(
    search: Finishing,
    lab: Lab,
    state: State,
    label: str,
    chosen: Architecture,
    *,
    networks: int,
    keep: bool | Keep,
    begin: Begin | None = None,
) -> Iterator[Event]:
    """Train one network of the state's list "trained", where it was left.

    `keep`: its tensors are kept under "final/" if its score on the holdout is the best of those that ask for it; or a
    function of its record that decides. `begin`: what it begins from, where not from fresh weights.
    """
    ours = label.startswith("derived")
    caption = "retrain" if ours else f"random {int(label.split('-')[1]) + 1} of {networks}"
    phase = "retrain" if ours else "baseline"
    job = Job(label, phase, caption, lab.final, chosen, lab.data, search.seed, search.device, begin)
    inner = State(state.json["training"], state.tensors)  # the same objects: what the training changes is saved
    for event in training(search.retrain, job, inner):
        if isinstance(event, Record) and event.data["event"] == "trained":
            _note(lab, state, event.data, keep)
        yield event
    yield Step(phase, caption, 1, 1, boundary=True)


def _note(lab: Lab, state: State, found: dict[str, Any], keep: bool | Keep) -> None:
    """Close one training: note its figures, keep the tensors where they count, clear the rest."""
    if keep(found) if callable(keep) else keep and _best_yet(lab, state, found):
        net = state.group("net")
        state.drop("final")
        state.put("final", net.keys(), (t.clone() for t in net.values()))
    state.json["trained"].append({k: found[k] for k in ("network", "architecture", "metrics", "budget")})
    drop(state)


def _best_yet(lab: Lab, state: State, found: dict[str, Any]) -> bool:
    value = score(lab, found)
    if value <= state.json.get("kept", -math.inf):
        return False
    state.json["kept"] = value
    return True


def drop(state: State) -> None:
    """Clear what a training left: the next one begins anew."""
    state.json["training"] = {}
    state.drop("net", "weights", "buffers", "momentum")


def close(
    search: Finishing,
    lab: Lab,
    state: State,
    winner: dict[str, Any],
    randoms: list[dict[str, Any]],
    budget: dict[str, float],
    more: Mapping[str, Any] | None = None,
) -> Iterator[Event]:
    """Yield the result as JSON: a function of recipe, seed and machine, without times and paths. `more` joins it."""
    found = {
        "recipe": search.name,
        "task": lab.caption,
        "seed": search.seed,
        "architecture": winner["architecture"],
        "metrics": winner["metrics"],
        "baseline": {"random": summary(randoms, lab.primary)},
        "evaluations": len(state.json["trained"]),
        "inputs": lab.data.statistics() if hasattr(lab.data, "statistics") else None,
        "supernet": state.json.get("supernet", {}),
        "budget": budget,
        **(more or {}),
    }
    yield Record({"event": "finished", "result": found})
    state.json.update(phase="done", result=found)
    yield Step("done", "done", 1, 1, boundary=True)


def score(lab: Lab, trained: Mapping[str, Any]) -> float:
    """Return how good a trained network is on the holdout, larger being better."""
    return lab.better(float(trained["metrics"][f"valid_{lab.primary.name}"]))


def summary(trained: list[dict[str, Any]], measure: Measure = ACCURACY) -> dict[str, Any]:
    """Return {n, best, mean, std} of the primary measure on the test set; `best` is that of the best on the holdout."""
    if not trained:
        return {"n": 0, "best": None, "mean": None, "std": None}
    tests = [t["metrics"][f"test_{measure.name}"] for t in trained]
    sign = 1.0 if measure.direction == "max" else -1.0
    best = max(trained, key=lambda t: sign * t["metrics"][f"valid_{measure.name}"])
    spread = statistics.stdev(tests) if len(tests) > 1 else None
    return {
        "n": len(tests),
        "best": best["metrics"][f"test_{measure.name}"],
        "mean": math.fsum(tests) / len(tests),
        "std": spread,
    }


def plain(chosen: Architecture) -> dict[str, Any]:
    """Return an architecture as a JSON dict."""
    return {n: list(v) if isinstance(v, tuple) else v for n, v in chosen.items()}


def architecture(values: Mapping[str, Any]) -> Architecture:
    """Return the architecture of a JSON dict."""
    return Architecture({n: tuple(v) if isinstance(v, list) else v for n, v in values.items()})
