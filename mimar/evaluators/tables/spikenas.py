"""SpikeNAS-Bench: learning curves of 15,625 spiking cells on CIFAR-10."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mimar.core.ranges import validate
from mimar.evaluators.table import Table
from mimar.evaluators.table_file import arrays
from mimar.space import Choice, Space
from mimar.tasks import locate

EDGES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))  # by source, unlike NAS-Bench-201's
OPERATIONS = ("none", "skip_connect", "spike_conv_low", "spike_conv_middle", "spike_conv_high")  # 3×3, by threshold
FULL = 100  # epochs


@dataclass(frozen=True)
class SpikeNas:
    """The table of spiking cells: validation accuracy after 18 numbers of epochs from 1 to 100, one training each.

    Going on from fewer epochs costs the difference alone. Costs are epochs, since no seconds are published: the budget of
    a search that names none is 100 whole trainings. There is no test figure, hence no verdict. Edges and operations of
    the cells are in the benchmark's own order.
    """

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def table(self) -> Table:
        """Read the table. Raises DataAbsentError, saying where to get it, when it is not on this machine."""
        held = arrays(locate.find("spikenas"), "val", "epochs", "params")
        epochs = held["epochs"].astype(np.float64)  # (F,)
        count = len(OPERATIONS)
        codes = np.arange(count ** len(EDGES))[:, None] // count ** np.arange(len(EDGES)) % count  # (R, C)
        return Table.from_arrays(
            Space([Choice(f"cell/{i}-{j}", OPERATIONS) for i, j in EDGES]),
            {"valid_accuracy": held["val"].T.astype(np.float64) / 10_000},
            codes=codes,
            known={"params": held["params"]},
            seconds=np.repeat(epochs[:, None], len(codes), axis=1),
            unit="epochs",
            fidelities=epochs.tolist(),
            resumes=True,
            name="spikenas",
            budget=100.0 * FULL,
        )
