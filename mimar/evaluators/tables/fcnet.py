"""FCNet: 62,208 settings of a fully connected network with two layers, on two regressions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar, Literal

from mimar.core.errors import DataError
from mimar.core.ranges import validate
from mimar.evaluators.table import Table
from mimar.evaluators.table_file import arrays
from mimar.space import Choice, Space
from mimar.tasks import locate

NAMES = {"protein": "protein_structure", "slice": "slice_localization"}


@dataclass(frozen=True)
class FcNet:
    """The table of one data set: final validation error, to be minimised, and seconds of the original trainings.

    A query is `valid_mse`, the mean of four trainings, and `valid_mse_std`, their standard deviation. The seconds of a
    training are its cost; the budget of a search that names none is that of 100 trainings. There is no test figure, hence
    no verdict. Numbers are choices of the kind "size" where they are whole, else of the kind "one". Klein and Hutter,
    "Tabular benchmarks for joint architecture and hyperparameter optimization", 2019.
    """

    data: Literal["protein", "slice"] = "protein"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def table(self) -> Table:
        """Read the table. Raises DataAbsentError, saying where to get it, when it is not on this machine."""
        path = locate.find("fcnet")
        loss, std, time = (f"{NAMES[self.data]}_{what}" for what in ("loss", "std", "time"))
        held = arrays(path, "meta", loss, std, time)
        try:
            listed = [(name, tuple(options)) for name, options in json.loads(str(held["meta"]))["space"]]
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{path} does not describe its space") from None
        kinds = {True: "size", False: "one"}
        space = Space([Choice(name, o, kinds[all(type(v) is int for v in o)]) for name, o in listed])
        return Table.from_arrays(
            space,
            {"valid_mse": held[loss], "valid_mse_std": held[std]},
            seconds=held[time],
            minimise=("valid_mse", "valid_mse_std"),
            units={"valid_mse": "1", "valid_mse_std": "1"},
            name="fcnet",
            budget=100.0 * float(held[time].mean()),
        )
