"""What every search ends with: derive, retrain from scratch, train random architectures alike, report.

Phases of the state after "search": "retrain" → "baseline" → "done". Each network is trained by the same process
(`mimar.evaluators.train`), so that the derived one and the random ones differ in nothing but the architecture.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from torch import Tensor

from mimar.core.events import Event, Record, Step
from mimar.core.state import State
from mimar.core.streams import stream
from mimar.evaluators import Retrain, training
from mimar.evaluators.train import Job
from mimar.gradient.derive import Strongest, strengths
from mimar.search.budget import baseline_size
from mimar.search.lab import Lab
from mimar.space import Architecture
from mimar.supernet import recalibrated

MOVED = 0.1  # a relative fall of the gates' entropy below this means that the search has found nothing


class Finishing(Protocol):
    """What the last phases need to know of a search."""

    name: str
    seed: int
    device: str
    baseline: int | None
    retrain: Retrain
    derivation: Strongest
    batch: int


def skips(architecture: Architecture) -> int:
    """Return how many choices took an operation without parameters that merely passes its input on."""
    return sum(1 for option in architecture.values() if option in ("skip", "skip_connect", "identity"))


def derive(search: Finishing, lab: Lab, state: State, gates: Mapping[str, Tensor], cost: float) -> Iterator[Event]:
    """Derive the architecture, measure it with the shared weights, and pass on to retraining."""
    architecture = search.derivation(lab.space, gates)
    before, after = state.json["entropy"]
    moved = before > 0 and (before - after) / before >= MOVED
    yield Record(
        {"event": "derived", "architecture": _json(architecture), "entropy_before": before, "entropy_after": after}
        | {"moved": moved, "strength": strengths(lab.space, gates), "gates": {n: g.tolist() for n, g in gates.items()}}
    )
    if not moved:
        text = (
            f"the entropy of the gates fell from {before:.3f} to {after:.3f}, by less than 10 %: this search has found "
            "nothing; give it more outer steps or a higher rate of the alphas"
        )
        yield Record({"event": "warned", "name": "gates did not move", "text": text})
    supernet = {"valid_accuracy": shared_accuracy(lab, gates, search.batch)}
    supernet["derived_accuracy"] = shared_accuracy(lab, lab.supernet.gates(architecture), search.batch)
    supernet |= {"entropy_before": before, "entropy_after": after, "skips": skips(architecture)}
    supernet["growth"] = state.json["hyper"].get("growth", 0.0) if state.json.get("hyper") else 0.0
    to_retraining(search, lab, state, architecture, cost)
    state.json["supernet"] = supernet | {"moved": moved}


def to_retraining(search: Finishing, lab: Lab, state: State, architecture: Architecture, cost: float) -> None:
    """Turn `state` into that of the retraining phase: one training per entry of "queue"."""
    retraining = 3.0 * lab.network_macs(architecture) * search.retrain.steps(lab.data) * search.retrain.batch
    n = baseline_size(cost, retraining) if search.baseline is None else search.baseline
    queue = [["derived", _json(architecture)]]
    queue += [[f"random-{i}", _json(random_architecture(lab, search.seed, i))] for i in range(n)]
    state.tensors.clear()
    state.json = {"phase": "retrain", "queue": queue, "trained": [], "search_cost": cost, "training": {}}


def random_architecture(lab: Lab, seed: int, index: int) -> Architecture:
    """Return the baseline's architecture number `index`: the same for every recipe under one seed."""
    return lab.space.sample(stream(seed, "random", index))


def shared_accuracy(lab: Lab, gates: Mapping[str, Tensor], batch: int) -> float:
    """Return the validation accuracy with the shared weights, batch-norm statistics recalibrated for these gates."""
    batches = lab.data.batches("train", None, size=batch, device=lab.device)
    inputs = [b[0] for _, b in zip(range(8), batches, strict=False)]
    net = lab.supernet
    buffers = recalibrated(net, net.weights, gates, inputs)
    found = lab.data.evaluate(
        lambda x: net.call(net.weights, gates, x, buffers=buffers, training=False), "valid", device=lab.device
    )
    return found["accuracy"]


def events(search: Finishing, lab: Lab, state: State) -> Iterator[Event]:
    """Train every network of the queue, keep the derived one's tensors, and put the result together."""
    queue = state.json["queue"]
    while len(state.json["trained"]) < len(queue):
        label, chosen = queue[len(state.json["trained"])]
        phase, caption = ("retrain", "retrain") if label == "derived" else ("baseline", _caption(label, len(queue)))
        architecture = Architecture(_tuples(chosen))
        job = Job(label, phase, caption, lab.final, architecture, lab.data, search.seed, search.device)
        inner = State(state.json["training"], state.tensors)  # the same objects: what the training changes is saved
        for event in training(search.retrain, job, inner):
            if isinstance(event, Record) and event.data["event"] == "trained":
                _keep(state, event.data)
            yield event
        yield Step(phase, caption, 1, 1, boundary=True)
    if state.json["phase"] != "done":
        yield Record({"event": "finished", "result": result(search, lab, state)})
        state.json["phase"] = "done"
        yield Step("done", "done", 1, 1, boundary=True)


def _keep(state: State, trained: dict[str, Any]) -> None:
    """Close one training: note its figures, keep the derived network under "final/", clear the rest."""
    state.json["trained"].append({k: trained[k] for k in ("network", "architecture", "metrics", "budget")})
    state.json["training"] = {}
    if trained["network"] == "derived":
        net = state.group("net")
        state.put("final", net.keys(), (t.clone() for t in net.values()))
    state.drop("net")


def result(search: Finishing, lab: Lab, state: State) -> dict[str, Any]:
    """Return the result as JSON; a function of recipe, seed and machine, without times and paths."""
    trained = state.json["trained"]
    derived = trained[0]
    spent = {"search": state.json["search_cost"], "retrain": derived["budget"]}
    spent["baseline"] = sum(t["budget"] for t in trained[1:])
    return {
        "recipe": search.name,
        "task": lab.data.task.name,
        "seed": search.seed,
        "architecture": derived["architecture"],
        "metrics": derived["metrics"],
        "baseline": {"random": summary(trained[1:])},
        "evaluations": len(trained),
        "supernet": state.json.get("supernet", {}),
        "budget": spent,
    }


def summary(trained: list[dict[str, Any]]) -> dict[str, Any]:
    """Return {n, best, mean, std, networks} of test accuracies; `best` is that of the best on the holdout."""
    if not trained:
        return {"n": 0, "best": None, "mean": None, "std": None}
    tests = [t["metrics"]["test_accuracy"] for t in trained]
    best = max(trained, key=lambda t: t["metrics"]["valid_accuracy"])
    spread = statistics.stdev(tests) if len(tests) > 1 else 0.0
    return {
        "n": len(tests),
        "best": best["metrics"]["test_accuracy"],
        "mean": math.fsum(tests) / len(tests),
        "std": spread,
    }


def _caption(label: str, networks: int) -> str:
    return f"random {int(label.split('-')[1]) + 1} of {networks - 1}"


def _json(architecture: Architecture) -> dict[str, Any]:
    return {n: list(v) if isinstance(v, tuple) else v for n, v in architecture.items()}


def _tuples(architecture: Mapping[str, Any]) -> dict[str, Any]:
    return {n: tuple(v) if isinstance(v, list) else v for n, v in architecture.items()}
