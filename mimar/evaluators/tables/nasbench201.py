"""NAS-Bench-201: all 15,625 cells of six edges and five operations on three data sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from mimar.core.errors import UsageError, nearest
from mimar.core.ranges import validate
from mimar.evaluators.columns import Array, significant
from mimar.evaluators.table import Table
from mimar.evaluators.table_file import arrays
from mimar.space import nasbench201
from mimar.tasks import locate

SETS = ("cifar10", "cifar100", "imagenet16-120")
CLASSES = (10, 100, 120)
SIDES = (32, 32, 16)
SHORT, LONG = 12.0, 200.0  # epochs
CELLS, CHANNELS = 5, 16  # a stage has so many cells; the first of three so many channels


@dataclass(frozen=True)
class NasBench201:
    """The table of one data set; accuracies are fractions, costs the seconds of the original trainings on one GPU.

    A query is the validation accuracy after `epochs` (cifar10: of networks trained on half of the training set); the
    verdict is the mean test accuracy after 200. `seeds`: "mean" of two or three trainings, or "one" of them drawn by
    query (200 epochs alone have several). `hardware`: "all" or the beginning of names of measured costs, as in "pixel3":
    HW-NAS-Bench (ms, mJ), for cifar10 also the latencies of HELP (ms).
    The budget of a search that names none: 12,000 s at 12 epochs, 150 queries at 200. The seconds of 12 epochs are 12/200
    of those of 200, as in the original. Parameters and MACs are exact. Dong and Yang, "NAS-Bench-201", ICLR 2020; Li et
    al., "HW-NAS-Bench", ICLR 2021; Lee et al., "HELP", NeurIPS 2021.
    """

    data: Literal["cifar10", "cifar100", "imagenet16-120"] = "cifar10"
    epochs: Literal[12, 200] = 12
    seeds: Literal["mean", "one"] = "mean"
    hardware: str = ""
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def table(self) -> Table:
        """Read the table. Raises DataAbsentError, saying where to get it, when it is not on this machine."""
        names = ("cell", "val12", "val200", "test200", "train_time200", "latency", "params")
        held, k = arrays(locate.find("nasbench201"), *names), SETS.index(self.data)
        valid = np.full((3, 2, len(held["cell"])), np.nan)  # (S, F, R)
        valid[0, 0] = significant(held["val12"][k])  # one figure after 12 epochs
        valid[:, 1] = significant(held["val200"][k])
        seconds = np.outer([SHORT / LONG, 1.0], significant(held["train_time200"][k]))
        costs = {"params": held["params"][k], "macs": macs(held["cell"], k), "gpu_latency": held["latency"][k]}
        measured = self._hardware(k)
        return Table.from_arrays(
            nasbench201(),
            {"valid_accuracy": np.round(valid / 100, 8)},
            codes=held["cell"],
            final={"test_accuracy": np.round(significant(held["test200"][k]) / 100, 8)},
            known=costs | measured,
            maximise=[name for name in measured if name.endswith("intensity")],
            units={"gpu_latency": "s", **{name: unit(name) for name in measured}},
            seconds=seconds,
            fidelities=(SHORT, LONG),
            default=float(self.epochs),
            name="nasbench201",
            single=self.seeds == "one",
            budget=12_000.0 if self.epochs == 12 else 150 * float(seconds[1].mean()),
        )

    def _hardware(self, k: int) -> dict[str, Array]:
        if not self.hardware:
            return {}
        held = arrays(locate.find("nasbench201-hardware"), "hw", "hw_metrics", "help", "help_devices")
        found = dict(zip(held["hw_metrics"].tolist(), held["hw"][k], strict=True))
        if k == 0:
            names = [f"{name}_latency" for name in held["help_devices"].tolist()]
            found |= dict(zip(names, held["help"], strict=True))
        word = "" if self.hardware == "all" else self.hardware
        wanted = {name: values for name, values in found.items() if name.startswith(word)}
        if not wanted:
            raise UsageError(nearest(self.hardware, [*found, "all"], kind="hardware cost of nasbench201"))
        return wanted


def unit(name: str) -> str:
    """Return the unit of a measured hardware cost: ms of a latency, mJ of an energy, operations a byte of an intensity."""
    return "mJ" if name.endswith("energy") else "ms" if name.endswith("latency") else "ops/byte"


def macs(cells: Array, k: int) -> Array:
    """Return the multiply–accumulates of the networks of cells (R, 6) on data set k: exact, linear in the options.

    Stem, 15 cells, two residual blocks of stride 2 and the classifier; pooling and batch norm are not counted. A stage of
    half the side has twice the channels, so that an operation costs the same in all three. Six 3×3 convolutions on
    CIFAR-10: 220,119,680, the published 220.12 M.
    """
    area, c = SIDES[k] ** 2, CHANNELS
    edge = area * c * c  # a 1×1 convolution
    options = np.array([0, 0, edge, 9 * edge, 0], dtype=np.int64) * 3 * CELLS
    stem, head = area * 3 * c * 9, 4 * c * CLASSES[k]
    block = area // 4 * (c * 2 * c * 9 + 2 * c * 2 * c * 9 + c * 2 * c)  # two 3×3 convolutions and the 1×1 shortcut
    total: Array = options[cells].sum(1) + stem + 2 * block + head
    return total
