"""The laws of evaluators."""

from __future__ import annotations

import copy
import math
import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from mimar.core.errors import MimarError, UsageError
from mimar.core.streams import Draws
from mimar.space import Architecture, Measurement, Proposal
from mimar.space.trial import STATUSES
from mimar.testing.expect import expect, untouched

FOREIGN = Architecture({"no choice of this space": "nothing"})
FOLLOW = """
import pickle, sys
print(pickle.load(sys.stdin.buffer).digest())
"""


def check_evaluator(
    evaluator: Any,
    *,
    architectures: Sequence[Architecture] = (),
    samples: int = 8,
    seed: int = 0,
    elsewhere: bool = True,
) -> None:
    """Raise AssertionError where an evaluator breaks a law.

    Measures have different names and directions "max" or "min"; fidelities increase, and the last one is full. A
    measurement is a function of proposal, fidelity and stream, draws from nothing global and changes nothing it is given;
    its status is one of four, its cost finite and not negative, and where it is ok it has every measure, as finite
    numbers. An architecture of another space is no exception but a status, without figures; an
    unknown fidelity is a UsageError. Known costs are told without a query, the same as with one, and are measures to be
    looked at before. A higher fidelity costs as much or more; a curve ends with the primary figure. `prepare` costs the
    same when it is called again. The verdict repeats no measure, and is the same twice. The digest is the same in another
    process (an evaluator can be pickled); `elsewhere=False` leaves that out, which takes seconds. `architectures`: those
    to try, by default `samples` of the space.
    """
    tried = list(architectures) or [evaluator.space.sample(Draws(seed, "evaluator", i)) for i in range(samples)]
    with untouched(f"{type(evaluator).__name__}", {}):
        _told(evaluator)
        expect(evaluator.prepare(seed) == evaluator.prepare(seed), "prepare costs something else the second time")
        for architecture in tried:
            _one(evaluator, architecture, seed)
            _verdict(evaluator, architecture)
            _fidelities(evaluator, architecture, seed)
        _foreign(evaluator, seed)
    if elsewhere:
        _elsewhere(evaluator)


def _told(evaluator: Any) -> None:
    names = [measure.name for measure in evaluator.measures]
    expect(bool(names), "an evaluator has a measure at least")
    expect(len(set(names)) == len(names), f"two measures have the same name: {names}")
    for measure in evaluator.measures:
        expect(measure.direction in ("max", "min"), f"the direction of {measure.name!r} is {measure.direction!r}")
    levels = list(evaluator.fidelities)
    expect(levels == sorted(set(levels)), f"the fidelities {levels} do not increase")
    expect(isinstance(evaluator.unit, str) and bool(evaluator.unit), "the unit of costs has no name")


def _measured(evaluator: Any, architecture: Architecture, fidelity: float | None, seed: int) -> Measurement:
    """Return a measurement, the same twice under the same stream."""
    proposal = Proposal(architecture, fidelity)
    kept = copy.deepcopy(proposal)
    first, again = (evaluator.evaluate(proposal, rng=Draws(seed, "measure")) for _ in range(2))
    given = evaluator.evaluate(Proposal(architecture), fidelity, Draws(seed, "measure"))
    expect(proposal == kept, "evaluate changed the proposal")
    for other, how in ((again, "measured again"), (given, "measured with the fidelity beside the proposal")):
        expect(
            _plain(other) == _plain(first), f"the same architecture, {how} under the same stream, gave other figures"
        )
    found: Measurement = first
    return found


def _plain(result: Measurement) -> tuple[Any, ...]:
    return dict(result.metrics), result.cost, result.status, list(result.curve)


def _one(evaluator: Any, architecture: Architecture, seed: int) -> None:
    result = _measured(evaluator, architecture, None, seed)
    expect(result.status in STATUSES, f"the status {result.status!r} is none of {', '.join(STATUSES)}")
    fine = isinstance(result.cost, float | int) and math.isfinite(result.cost) and result.cost >= 0
    expect(fine, f"a measurement costs {result.cost!r}; it must be finite and not negative")
    costs = evaluator.costs(architecture)
    for name, value in costs.items():
        expect(math.isfinite(value), f"the known cost {name!r} is {value}")
    if result.status != "ok":
        return
    for measure in evaluator.measures:
        value = result.metrics.get(measure.name)
        expect(value is not None, f"the measurement has no {measure.name!r}, which is among the measures")
        expect(
            math.isfinite(float(value or 0.0)), f"{measure.name!r} is {value}; it must be finite where the status is ok"
        )
    for name in costs:
        expect(result.metrics.get(name) == costs[name], f"the known cost {name!r} is another number in the measurement")
    if result.curve:
        primary = result.metrics[evaluator.measures[0].name]
        expect(result.curve[-1] == primary, f"the curve ends with {result.curve[-1]}, and the figure is {primary}")


def _verdict(evaluator: Any, architecture: Architecture) -> None:
    verdict, again = evaluator.verdict(architecture), evaluator.verdict(architecture)
    expect(dict(verdict) == dict(again), "the verdict is another one the second time")
    told = [name for name in verdict if name in {measure.name for measure in evaluator.measures}]
    expect(not told, f"the verdict repeats {told}: what a search is told cannot judge it")


def _fidelities(evaluator: Any, architecture: Architecture, seed: int) -> None:
    before = 0.0
    for level in evaluator.fidelities:
        result = _measured(evaluator, architecture, level, seed)
        if result.status != "ok":
            continue
        expect(result.cost >= before, f"the fidelity {level:g} costs {result.cost:g}, less than a lower one")
        before = result.cost
    unknown = max(evaluator.fidelities, default=0.0) + 0.5
    try:
        evaluator.evaluate(Proposal(architecture), unknown)
    except UsageError:
        return
    raise AssertionError(f"the unknown fidelity {unknown:g} is no UsageError")


def _foreign(evaluator: Any, seed: int) -> None:
    try:
        result = evaluator.evaluate(Proposal(FOREIGN), rng=Draws(seed, "foreign"))
    except Exception as error:
        raise AssertionError(
            f"an architecture of another space is a status, not {type(error).__name__}: {error}"
        ) from error
    expect(result.status != "ok" and not result.metrics, "an architecture of another space was measured")
    expect(dict(evaluator.costs(FOREIGN)) == {}, "costs are known of an architecture of another space")
    try:
        expect(dict(evaluator.verdict(FOREIGN)) == {}, "there is a verdict on an architecture of another space")
    except MimarError:
        return


def _elsewhere(evaluator: Any) -> None:
    here = evaluator.digest()
    expect(here == copy.copy(evaluator).digest(), "the digest is another one the second time")
    env = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", FOLLOW], input=pickle.dumps(evaluator), capture_output=True, env=env, check=False
    )
    expect(done.returncode == 0, f"the evaluator does not run in another process: {done.stderr.decode()[-500:]}")
    there = done.stdout.decode().strip()
    expect(there == here, f"the digest is {here} here and {there} in another process")
