"""Run folders of black-box searches, made from trials by hand in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from report_folders import header, make

from mimar import space
from mimar.space import Architecture, Space

SPACE = Space(
    [
        space.Choice("body", ("conv3", "conv5", "skip")),
        space.Choice("width", (8, 16, 32), "size"),
        space.Choice("rate", (0.0, 1.0), "value"),
        space.Choice("inputs", ("a", "b", "c"), "some", k=2),
    ]
)
TREE = {"part": "mimar.search.asktell.AskTell", "strategy": {"part": "mimar.strategies.evolution.Evolution"}}


def architecture(body: str = "conv3", width: int = 8, rate: float = 0.5, inputs: str = "ab") -> dict[str, Any]:
    return {"body": body, "width": width, "rate": rate, "inputs": list(inputs)}


def digest(chosen: dict[str, Any]) -> str:
    return Architecture(chosen).digest


def trial(number: int, chosen: dict[str, Any], value: float | None, **more: Any) -> dict[str, Any]:
    """Return the event of a trial that costs 10 and has ended; without a value it has failed."""
    head = {"event": "trial", "number": number, "architecture": chosen, "cost": 10.0}
    times = {"begun": 10.0 * number, "ended": 10.0 * number + 10.0}
    if value is None:
        return {**head, "metrics": {}, "status": "failed", "values": [], **times, **more}
    return {**head, "metrics": {"valid_accuracy": value}, "status": "ok", "values": [value], **times, **more}


def trials() -> list[dict[str, Any]]:
    """Return seven trials: two roots, a child and a grandchild, a failure, a timeout, and the best measured again."""
    a, b = architecture(), architecture("conv5", 16)
    child = architecture("conv5", 32, 0.25)
    grandchild = architecture("skip", 32, 0.25, "bc")
    return [
        trial(0, a, 0.5),
        trial(1, b, 0.7),
        trial(2, child, 0.75, parent=digest(b)),
        trial(3, architecture("skip"), None),
        trial(4, grandchild, 0.9, parent=digest(child)),
        trial(5, architecture("skip", 16), None, status="timeout", cost=4.0),
        trial(6, grandchild, 0.9, parent=digest(child), repeated=True),
    ]


def result(log: Sequence[dict[str, Any]], **more: Any) -> dict[str, Any]:
    best = max((t for t in log if t["values"]), key=lambda t: t["values"])
    spent = sum(t["cost"] for t in log)
    ledger = {"queries": len(log) + 1, "cost": spent + 3.0, "prepared": 0.0, "clock": spent + 3.0, "lost": 1}
    ledger |= {"failed": 2, "infeasible": 5, "repeated": 1}
    return {
        "recipe": "regularized-evolution",
        "architecture": best["architecture"],
        "metrics": {**best["metrics"], "test_accuracy": 0.93, "params": 1234.0, "macs": 5678.0},
        "baseline": {"random": {"n": 8, "best": 0.91, "mean": 0.8, "std": 0.05}},
        "evaluations": len(log),
        "budget": {"search": spent, "retrain": 0.0, "baseline": 0.0},
        "ledger": ledger,
        "unit": "s",
        "measures": [["valid_accuracy", "max", "fraction"], ["params", "min", "1"]],
        **more,
    }


def head(of: Space = SPACE, **more: Any) -> dict[str, Any]:
    found = {"recipe": "regularized-evolution", "task": "table:x", "tree": TREE}
    found["command"] = "mimar search regularized-evolution --task table:x"
    return header(of, **{**found, **more})


def finished(folder: Path, log: Sequence[dict[str, Any]] | None = None, of: Space = SPACE, **more: Any) -> Path:
    """Write the folder of a finished search on a table."""
    log = trials() if log is None else log
    return make(folder, [*log, {"event": "finished", "result": result(log, **more)}], head(of))
