"""Run folders as searches write them, made from plausible figures in milliseconds."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import torch

from mimar import runs, space
from mimar.space import Architecture, Space

VERSIONS = {"mimar": "0.1.0", "torch": "2.13.0", "python": "3.11.2", "threads": 2, "device": "Some CPU"}


def plain(architecture: Architecture) -> dict[str, Any]:
    return {n: list(v) if isinstance(v, tuple) else v for n, v in architecture.items()}


def draw(of: Space, seed: int) -> Architecture:
    return of.sample(torch.Generator().manual_seed(seed))


def gates(of: Space, t: float) -> dict[str, list[float]]:
    found = {}
    for k, choice in enumerate(of.choices):
        n = len(choice.options)
        weights = [math.exp(t * math.sin(3.0 * k + 2.0 * i)) for i in range(n)]
        found[choice.name] = [1.0] * n if choice.kind == "some" else [w / sum(weights) for w in weights]
    return found


def epoch(of: Space, i: int, epochs: int) -> dict[str, Any]:
    return {
        "event": "epoch",
        "phase": "search",
        "epoch": i,
        "epochs": epochs,
        "train_loss": 2.3 / i,
        "valid_loss": 2.5 / i,
        "valid_accuracy": 1 - 0.9 / i,
        "entropy": 1 - 0.05 * i,
        "skips": i % 3,
        "gates": gates(of, 2.0 * i / epochs),
        "hyper": {"norm": 0.5 / i**3, "direct": 0.4, "implicit": 0.1, "share": 0.2 + 0.01 * i, "growth": 0.9},
        "lr": 0.025,
    }


def retraining(network: str, epochs: int = 4) -> list[dict[str, Any]]:
    head = {"event": "epoch", "phase": "retrain", "network": network, "epochs": epochs}
    return [{**head, "epoch": i, "train_loss": 2.0 / i} for i in range(1, epochs + 1)]


def trained(network: str, architecture: Architecture, accuracy: float) -> dict[str, Any]:
    metrics = {"test_accuracy": accuracy, "test_loss": 0.3, "valid_accuracy": accuracy + 0.01, "valid_loss": 0.2}
    metrics |= {"params": 123_456, "macs": 7_890_000}
    return {
        "event": "trained",
        "network": network,
        "architecture": plain(architecture),
        "metrics": metrics,
        "budget": 4.5e9,
    }


def header(of: Space, **changes: Any) -> dict[str, Any]:
    found = {"recipe": "idarts", "task": "digits", "data": "da1ada1a", "seed": 3, "device": "cpu", "tree": {}}
    found["command"] = "mimar search idarts --seed 3 --task digits"
    return {**found, "hash": "cafe0123", "space": of.to_json(), "layout": of.layout, "versions": VERSIONS, **changes}


def events(
    of: Space, *, accuracy: float = 0.91, random: tuple[float, ...] = (0.88, 0.9, 0.86), after: float = 0.6
) -> list[dict[str, Any]]:
    """Return the log of a finished run; the entropy of the gates falls from 1 to `after`."""
    found = [epoch(of, i, 6) for i in range(1, 7)]
    architecture = draw(of, 0)
    told = {"event": "derived", "architecture": plain(architecture), "entropy_before": 1.0, "entropy_after": after}
    found.append({**told, "moved": after <= 0.9, "strength": {}, "gates": gates(of, 2.0)})
    networks = [("derived", architecture, accuracy)]
    networks += [(f"random-{i}", draw(of, i + 1), value) for i, value in enumerate(random)]
    for network, chosen, value in networks:
        found += [*retraining(network), trained(network, chosen, value)]
    summary = {"n": len(random), "best": None, "mean": None, "std": None}
    if random:
        spread = statistics.stdev(random) if len(random) > 1 else 0.0
        summary |= {"best": max(random), "mean": statistics.fmean(random), "std": spread}
    result = {
        "recipe": "idarts",
        "task": "digits",
        "seed": 3,
        "architecture": plain(architecture),
        "metrics": trained("derived", architecture, accuracy)["metrics"],
        "baseline": {"random": summary},
        "evaluations": len(networks),
        "supernet": {"valid_accuracy": 0.84, "derived_accuracy": 0.77},
        "budget": {"search": 1.25e10, "retrain": 4.5e9, "baseline": 4.5e9 * len(random)},
    }
    return [*found, {"event": "finished", "result": result}]


def make(folder: Path, log: list[dict[str, Any]], head: dict[str, Any], *, seconds: float | None = 754.0) -> Path:
    """Write a run folder and return it."""
    with runs.create(folder, head) as store:
        for event in log:
            store.append(event)
        if seconds is not None:
            store.write("result.json", f'{{"seconds": {seconds}}}')
    return folder


def finished(folder: Path, of: Space | None = None, **options: Any) -> Path:
    """Write the folder of a finished run; NAS-Bench-201 unless told otherwise."""
    chosen = of or space.nasbench201()
    return make(folder, events(chosen, **options), header(chosen))
