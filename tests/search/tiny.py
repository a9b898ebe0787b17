"""The smallest search that has everything: two choices, one nested, batch norm, dropout; seconds on one core."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

import mimar
from mimar.core.events import Event, Step
from mimar.core.streams import isolated
from mimar.evaluators import Retrain

EVERY = 6  # steps between snapshots, so that a run of forty steps has several


def block(k: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 4, k, padding=k // 2, bias=False), nn.BatchNorm2d(4), nn.ReLU())


def model() -> nn.Module:
    """Return the model, with the same weights every time."""
    with isolated(0):
        return _model()


def _model() -> nn.Module:
    inner = mimar.OneOf({"dropout": nn.Dropout(0.2), "identity": nn.Identity()}, name="after")
    body = mimar.OneOf({"conv3": nn.Sequential(block(3), inner), "skip": nn.Identity(), "conv1": block(1)}, name="body")
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), body, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 10))


def options(**more: Any) -> dict[str, Any]:
    return {
        "net": "nasbench201:cells=1,channels=2",
        "task": "digits:limit=200",
        "epochs": 2,
        "batch": 20,
        "retrain": Retrain(epochs=2, batch=40),
        "baseline": 2,
        **more,
    }


def main(folder: str, journal: str, recipe: str) -> None:
    """Run or resume a search, writing one line a step into `journal`: what the killing test counts."""
    torch.set_num_threads(1)
    running = importlib.import_module("mimar.search.run")
    running.EVERY = EVERY  # type: ignore[attr-defined]
    search = importlib.import_module(f"mimar.recipes.{recipe}").recipe(**options())
    with Path(journal).open("a") as log:
        log.write("begin\n")
        log.flush()

        def note(event: Event) -> None:
            if isinstance(event, Step) and not event.boundary:
                log.write(json.dumps([event.phase, event.label, event.done]) + "\n")
                log.flush()

        search.run(folder, resume=(Path(folder) / "run.json").exists(), progress=note)


if __name__ == "__main__":
    main(*sys.argv[1:])
