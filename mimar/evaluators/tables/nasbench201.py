"""NAS-Bench-201: all 15,625 cells of six edges and five operations on three data sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from mimar.core.errors import UsageError, nearest
from mimar.core.ranges import validate
from mimar.evaluators.table import Array, Table
from mimar.space import nasbench201
from mimar.tasks import locate

SETS = ("cifar10", "cifar100", "imagenet16-120")
CLASSES = (10, 100, 120)
SIDES = (32, 32, 16)
SHORT, LONG = 12.0, 200.0  # epochs


@dataclass(frozen=True)
class NasBench201:
    """The table of one data set; accuracies are fractions, costs the seconds of the original trainings on one GPU.

    A query is the validation accuracy after `epochs` (cifar10: of networks trained on half of the training set); the
    verdict is the mean test accuracy after 200. `seeds`: "mean" of two or three trainings, or "one" of them drawn by
    query (200 epochs alone have several). `hardware`: "all" or the beginning of names of measured costs, as in "pixel3".
    The budget of a search that names none: 12,000 s at 12 epochs, 150 queries at 200. Dong and Yang, 2020.
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
        with np.load(locate.find("nas/nasbench201.npz"), allow_pickle=False) as held:
            k = SETS.index(self.data)
            valid = np.stack([np.broadcast_to(held["val12"][k], (3, 15625)), held["val200"][k]], axis=1)  # (S, F, R)
            valid = valid.astype(np.float64)
            valid[1:, 0] = np.nan  # one figure after 12 epochs
            seconds = np.outer([SHORT / LONG, 1.0], held["train_time200"][k])
            test, latency, params, cells = (held[n] for n in ("test200", "latency", "params", "cell"))
        space = nasbench201()
        return Table.from_arrays(
            space,
            {"valid_accuracy": np.round(valid / 100, 8)},
            codes=cells,
            final={"test_accuracy": np.round(test[k].astype(np.float64) / 100, 8)},
            known={"params": params[k], "macs": macs(cells, k), "gpu_latency": latency[k], **self._hardware(k)},
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
        with np.load(locate.find("nas/nasbench201_hw.npz"), allow_pickle=False) as held:
            names = held["hw_metrics"].tolist()
            found = dict(zip(names, held["hw"][k], strict=True))
            if k == 0:
                found |= {
                    f"{name}_latency": v for name, v in zip(held["help_devices"].tolist(), held["help"], strict=True)
                }
        word = "" if self.hardware == "all" else self.hardware
        wanted = {name: values for name, values in found.items() if name.startswith(word)}
        if not wanted:
            raise UsageError(nearest(self.hardware, [*found, "all"], kind="hardware cost of nasbench201"))
        return wanted


def macs(cells: Array, k: int) -> Array:
    """Return the multiply–accumulates of the 16-channel networks of five cells a stage on data set k: exact, linear in the options.

    Convolutions and the classifier; 220,119,680 for six 3×3 convolutions on CIFAR-10, the published 220.12 M.
    """
    area = SIDES[k] ** 2
    edge = area * 16 * 16  # a 1×1 convolution, the same in all three stages
    per = np.array([0, 0, edge, 9 * edge, 0], dtype=np.int64) * 15
    block = sum(
        area // 4**s * (16 * 2**s) ** 2 * (9 + 9 // 2 * 0) for s in (1, 2)
    )  # second 3×3 convolution of a reduction
    block += sum(area // 4**s * (16 * 2**s) * (8 * 2**s) * (9 + 1) for s in (1, 2))  # the first, and the 1×1 shortcut
    fixed = area * 3 * 16 * 9 + block + 64 * CLASSES[k]
    total: Array = per[cells].sum(1) + fixed
    return total
