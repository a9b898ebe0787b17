"""The laws of ask/tell strategies."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from mimar.space import Architecture, Choice, Space
from mimar.strategies import Measurement, Proposal, Trial
from mimar.testing.expect import expect, untouched

ROUNDS = 12
FOLLOW = """
import pickle, sys
from mimar.testing.strategy import sequence
parts, *rest = pickle.load(sys.stdin.buffer)
for part in parts:
    print(sequence(part, *rest))
"""


def small_space() -> Space:
    """Return a space with every discrete kind of choice and a condition."""
    return Space(
        [
            Choice("op", ("conv", "pool", "skip")),
            Choice("width", (8, 16, 32, 64), "size"),
            Choice("inputs", ("0", "1", "2"), "some", 2),
            Choice("kernel", ("3", "5"), when=(("op", "conv"),)),
        ]
    )


def check_strategy(part: Any, *, space: Space | None = None, seed: int = 0) -> None:
    """Raise AssertionError where a strategy breaks a law of ask and tell.

    `ask(n)` gives n proposals with valid architectures; the sequence is a function of seed and of what was told, in
    another process too (the part must be picklable); `state_dict` is JSON, and a searcher that loads it asks what the
    first would have asked; trials may come in any order, failed ones and ones never asked for included; neither `ask`
    nor `tell` changes what it is given, and nothing is drawn from global generators.
    """
    check_strategies([part], space=space, seed=seed)


def check_strategies(parts: Sequence[Any], *, space: Space | None = None, seed: int = 0) -> None:
    """Raise AssertionError where one of several strategies breaks a law of `check_strategy`; one other process for all."""
    space = space or small_space()
    here = []
    for part in parts:
        with untouched(f"{part}", {}):
            _asks(part, space, seed)
            here.append(sequence(part, space, seed))
            again = sequence(part, space, seed)
            expect(again == here[-1], f"{part} asked differently the second time under the same seed")
            _state(part, space, seed)
            _any_order(part, space, seed)
    _elsewhere(parts, space, seed, here)


def told(proposal: Proposal) -> Trial:
    """Return a trial whose figures follow from the architecture alone; some of them failed."""
    number = int(proposal.architecture.digest[:6], 16)
    status = "failed" if number % 7 == 0 else "ok"
    metrics = {} if status == "failed" else {"valid_accuracy": (number % 1000) / 1000, "test_accuracy": 0.5}
    return Trial(proposal, Measurement(metrics, float(number % 10), status))  # type: ignore[arg-type]


def sequence(part: Any, space: Space, seed: int) -> str:
    """Return the digests of what a strategy asks, one by one and told each time."""
    searcher, found = part.start(space, seed), []
    for _ in range(ROUNDS):
        (proposal,) = searcher.ask(1)
        found.append(proposal.architecture.digest)
        searcher.tell([told(proposal)])
    return " ".join(found)


def _asks(part: Any, space: Space, seed: int) -> None:
    searcher = part.start(space, seed)
    pending: list[Proposal] = []
    for n in (1, 3, 0, 2):
        before = copy.deepcopy(pending)
        proposals = searcher.ask(n, pending=pending)
        expect(pending == before, f"{part}.ask changed the list of pending proposals")
        expect(len(proposals) == n, f"{part}.ask({n}) gave {len(proposals)} proposals")
        for proposal in proposals:
            arch = proposal.architecture
            valid = isinstance(arch, Architecture) and space.valid(arch)
            expect(valid, f"{part}.ask proposed {arch!r}, which is not an architecture of the space")
        trials = [told(p) for p in proposals]
        kept = pickle.dumps(trials)
        searcher.tell(trials)
        expect(pickle.dumps(trials) == kept, f"{part}.tell changed the trials that it was told")
        pending = proposals


def _state(part: Any, space: Space, seed: int) -> None:
    first = part.start(space, seed)
    for _ in range(ROUNDS):
        state = first.state_dict()
        text = json.dumps(state)
        second = part.start(space, seed)
        second.load_state_dict(json.loads(text))
        expect(json.dumps(first.state_dict()) == text, f"{part}: loading its state elsewhere changed the searcher")
        (one,), (two,) = first.ask(1), second.ask(1)
        expect(one == two, f"{part} asks something else after its state went through JSON")
        first.tell([told(one)])


def _any_order(part: Any, space: Space, seed: int) -> None:
    def after(order: Sequence[int]) -> list[Proposal]:
        searcher = part.start(space, seed)
        trials = [told(p) for p in searcher.ask(len(order))]
        for i in order:
            searcher.tell([trials[i]])
        searcher.tell([])
        foreign = part.start(space, seed + 1).ask(1)
        searcher.tell([told(p) for p in foreign])
        found: list[Proposal] = searcher.ask(2)
        return found

    for order in ((0, 1, 2, 3), (3, 1, 0, 2)):
        for proposal in after(order):
            expect(space.valid(proposal.architecture), f"{part} proposed an invalid architecture after {order}")


def _elsewhere(parts: Sequence[Any], space: Space, seed: int, here: Sequence[str]) -> None:
    env = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", FOLLOW],
        input=pickle.dumps((list(parts), space, seed)),
        capture_output=True,
        env=env,
        check=False,
    )
    there = done.stdout.decode().splitlines()
    if done.returncode != 0:
        failed = parts[min(len(there), len(parts) - 1)]
        expect(False, f"{failed} does not run in another process: {done.stderr.decode()[-500:]}")
    for part, ours, theirs in zip(parts, here, there, strict=True):
        expect(theirs == ours, f"{part} asks another sequence in another process; it must not depend on hashing")
