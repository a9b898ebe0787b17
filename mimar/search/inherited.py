"""Trainings that go on from the network of their proposal's parent, where it is kept and the new one contains it.

Kept are the incumbent's network ("final/" of the state) and that of the parent last used ("parent/", its architecture in
the state's JSON): a search that makes children of one architecture after another needs no more, and a state that holds
them is continued bit for bit.
"""

from __future__ import annotations

from typing import Any

from mimar.core.errors import UsageError
from mimar.core.state import State
from mimar.core.streams import stream
from mimar.evaluators.train import Begin
from mimar.search import finish
from mimar.search.ground import TableLab
from mimar.search.lab import Lab
from mimar.search.session import Session, best
from mimar.search.trials import Trials
from mimar.space import Architecture, Proposal
from mimar.space.beside import network as bare
from mimar.supernet import Extracted, chosen

EXAMPLES = 64  # samples whose statistics inserted norms begin with


def check(lab: Lab | TableLab, trials: Trials) -> None:
    """Raise UsageError where weights cannot be inherited: nothing is trained, by several at once, or nets do not grow."""
    said, instead = "trials.weights=inherited continues trainings", "take trials.weights=fresh"
    if isinstance(lab, TableLab):
        raise UsageError(f"{said}, and on the benchmark table {lab.table.name} there are none: {instead}")
    if trials.evaluator:
        raise UsageError(f"{said}, and the evaluator {trials.evaluator!r} does none: {instead}")
    if trials.workers > 1:
        raise UsageError(f"{said} one after the other, not by {trials.workers} workers: take trials.workers=1")
    if _inheritance(lab) is None:
        raise UsageError(f"{said}, and the networks of this net cannot grow out of one another: take net=convnet")


def begin(lab: Lab, session: Session, state: State, proposal: Proposal) -> None:
    """Decide what a training begins from; "begun" of the state's JSON is "inherited" or "fresh"."""
    json, digest = state.json, proposal.parent
    top = best(session.trials)
    if digest is not None and _kept(state) != digest and top is not None and top.architecture.digest == digest:
        net = state.group("final")
        state.drop("parent")
        state.put("parent", net.keys(), (t.clone() for t in net.values()))
        json["parent"] = finish.plain(top.architecture)
    there = digest is not None and _kept(state) == digest
    grown = there and _inheritance(lab).contains(bare(proposal.architecture), bare(_parent(state)))
    json["begun"] = "inherited" if grown else "fresh"


def weights(lab: Lab, state: State, label: str) -> Begin | None:
    """Return what fills a network from the parent that `begin` has found; None where it begins fresh."""
    if state.json.get("begun") != "inherited":
        return None

    def fill(made: Extracted) -> None:
        parent = chosen(lab.final, _parent(state))
        parent.net.load_state_dict(state.group("parent"))
        batch = next(iter(lab.data.batches("fit", None, size=EXAMPLES)))
        _inheritance(lab)(parent, made, stream(lab.seed, "inherited", label), lab.data.inputs(batch))

    return fill


def forget(state: State) -> None:
    """Drop what no training needs any more."""
    state.drop("parent")
    state.json.pop("parent", None)
    state.json.pop("begun", None)


def _inheritance(lab: Lab) -> Any:
    return getattr(lab.final, "inheritance", None)


def _kept(state: State) -> str | None:
    return _parent(state).digest if "parent" in state.json else None


def _parent(state: State) -> Architecture:
    return finish.architecture(state.json["parent"])
