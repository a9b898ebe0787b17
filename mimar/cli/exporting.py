"""A run's trained network as a file that needs no mimar: a torch.export program, or ONNX."""

from __future__ import annotations

import logging
import shlex
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mimar import runs
from mimar.cli.work import rebuilt, refuse_table
from mimar.core.errors import MimarError, RunError, UsageError, nearest
from mimar.core.state import State
from mimar.evaluators.train import network
from mimar.search import finish

ENDINGS = {"torch": "model.pt2", "onnx": "model.onnx"}


class Standardise(nn.Module):
    """(raw − mean) / std by channel, as the task does it before a network sees its images."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std

    def back(self, x: Tensor) -> Tensor:
        """Return the raw values of standardised ones."""
        return x * self.std + self.mean


def write(folder: Path, form: str, out: Path | None = None) -> Path:
    """Write the network of a finished run, by default into its folder, for batches of any size; return the file.

    The program takes raw values, as the task's source has them (digits: 0 to 16), and standardises them itself.
    torch: a program for `torch.export.load(file).module()`, weights included, which nothing of mimar is needed to run.
    """
    if form not in ENDINGS:
        raise UsageError(nearest(form, ENDINGS, kind="format"))
    if form == "onnx" and not all(map(find_spec, ("onnx", "onnxscript"))):
        raise MimarError("exporting to ONNX needs more packages: pip install 'mimar[export]'")
    model, example = trained(folder)
    path = out or folder / ENDINGS[form]
    program = torch.export.export(model, (example,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    try:
        _save(program, form, path)
    except OSError as error:
        raise MimarError(f"cannot write {path}: {error.strerror}") from error
    return path


def _save(program: torch.export.ExportedProgram, form: str, path: Path) -> None:
    if form == "torch":
        with path.open("wb") as file:
            torch.export.save(program, file)
        return
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it names packages that are absent and not needed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the exporter's own use of torch
        names: Any = {"input_names": ["x"], "output_names": ["y"]}
        torch.onnx.export(program, f=str(path), dynamo=True, external_data=False, verbose=False, **names)


def trained(folder: Path) -> tuple[nn.Module, Tensor]:
    """Return the trained network of a finished run and a batch of two inputs."""
    refuse_table(folder, "export")
    search = rebuilt(folder)
    with runs.open_run(folder) as store:
        held = store.latest()
        found = [e["result"] for e in store.events() if e["event"] == "finished"]
    if held is None or not found:
        raise RunError(f"{folder} is not finished; go on with: mimar resume {shlex.quote(str(folder))}")
    lab, result = search.lab(), found[-1]
    model: nn.Module = network(lab.final, finish.architecture(result["architecture"]), State(*held).group("final"))
    example = lab.examples(2).cpu()
    if held_inputs := result.get("inputs"):  # the program takes raw values, as they come from a camera or a file
        front = Standardise(held_inputs["mean"], held_inputs["std"])
        model, example = nn.Sequential(front, model).eval(), front.back(example)
    return model, example
