"""NAS-Bench-201 and the topologies of NATS-Bench from their original files, for those who have them.

The layouts are those of github D-X-Y/NATS-Bench (`nats_bench/api_utils.py`, `api_topology.py`) and D-X-Y/NAS-Bench-201
(`nas_201_api/api_201.py`), read there; the files themselves were not at hand. What both have of an architecture, by
schedule: {"arch_index", "arch_str", "dataset_seed": {data set: [seed, …]}, "all_results": {(data set, seed): trial}}; a
trial is {"epochs", "params" and "flop" in millions, "latency": [s, …] or None, "train_times": {epoch: s} or None,
"eval_acc1es" and "eval_times": {"SET@EPOCH": % or s}, …}. Epochs count from 0.
"""

from __future__ import annotations

import bz2
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from mimar.core.errors import DataAbsentError, DataError, SpaceError
from mimar.core.ranges import validate
from mimar.evaluators.pickles import restricted, torch_file
from mimar.evaluators.table import Table
from mimar.space import Architecture, nasbench201

# Our names of data sets: (those of trainings for the query, its set; of trainings for the verdict, its set).
SETS = {
    "cifar10": ("cifar10-valid", "x-valid", "cifar10", "ori-test"),
    "cifar100": ("cifar100", "x-valid", "cifar100", "x-test"),
    "imagenet16-120": ("ImageNet16-120", "x-valid", "ImageNet16-120", "x-test"),
}
SHORT, LONG = 12.0, 200.0
SEEDS = 3
EXTENSION = ".pickle.pbz2"


@dataclass(frozen=True)
class NatsBench:
    """The table of the folder NATS-tss-v1_0-3ffb9-simple: meta.pickle.pbz2 and one file 000000.pickle.pbz2 an architecture.

    Each is a bz2 file with a pickle, of which plain containers, numbers, texts and NumPy arrays alone are opened: {"12":
    results, "200": results}. Options and figures as in the task nasbench201; costs are the seconds of training and of one
    validation, as the original counts them. Reading all takes minutes: save the table (`Table.save`) and use table:PATH.
    Dong et al., "NATS-Bench", TPAMI 2021.
    """

    folder: str
    data: Literal["cifar10", "cifar100", "imagenet16-120"] = "cifar10"
    epochs: Literal[12, 200] = 12
    seeds: Literal["mean", "one"] = "mean"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def table(self) -> Table:
        """Read the folder. Raises DataAbsentError where it is not there, DataError for files of another layout."""
        folder = Path(self.folder).expanduser()
        meta = _pickle(folder / f"meta{EXTENSION}")
        try:
            texts = list(meta["meta_archs"])
        except (KeyError, TypeError):
            raise DataError(f"{folder}/meta{EXTENSION} does not list architectures") from None
        infos = (_pickle(folder / f"{i:06d}{EXTENSION}") for i in range(len(texts)))
        return _table(self, str(folder), texts, infos, ("12", "200"))


@dataclass(frozen=True)
class NasBench201File:
    """The table of NAS-Bench-201-v1_1-096897.pth: a file of torch with {"meta_archs", "arch2infos": {index: {"less":
    results of 12 epochs, "full": of 200}}, "evaluated_indexes"}.

    Opened by `torch.load(weights_only=True)`, which executes nothing, with NumPy's scalars allowed. It takes minutes and
    more memory than the file has bytes: save the table (`Table.save`) and use table:PATH. Options and figures as in the
    task nasbench201. Dong and Yang, "NAS-Bench-201", ICLR 2020.
    """

    file: str
    data: Literal["cifar10", "cifar100", "imagenet16-120"] = "cifar10"
    epochs: Literal[12, 200] = 12
    seeds: Literal["mean", "one"] = "mean"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def table(self) -> Table:
        """Read the file. Raises DataAbsentError where it is not there, DataError for one of another layout."""
        path = Path(self.file).expanduser()
        if not path.is_file():
            raise DataAbsentError(f"there is no file {path}; github D-X-Y/NAS-Bench-201 says where to get it")
        held = torch_file(path)
        try:
            texts, infos = list(held["meta_archs"]), held["arch2infos"]
            each = (infos[i] for i in range(len(texts)))
            return _table(self, str(path), texts, each, ("less", "full"))
        except (KeyError, TypeError) as error:
            raise DataError(f"{path} is not laid out as NAS-Bench-201: it has no {error}") from None


def _pickle(path: Path) -> Any:
    try:
        with bz2.open(path, "rb") as file:
            return restricted(file, str(path))
    except FileNotFoundError:
        raise DataAbsentError(f"there is no file {path}; github D-X-Y/NATS-Bench says where to get it") from None
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from None


def _table(
    part: NatsBench | NasBench201File,
    where: str,
    texts: Sequence[str],
    infos: Iterator[Any],
    schedules: tuple[str, str],
) -> Table:
    """Return the table of architectures' texts and results."""
    valid = np.full((SEEDS, 2, len(texts)), np.nan)  # (S, F, R)
    seconds = np.full((2, len(texts)), np.nan)
    other = {name: np.full(len(texts), np.nan) for name in ("test", "params", "flops", "latency")}
    listed = []
    for row, (text, info) in enumerate(zip(texts, infos, strict=True)):
        try:
            listed.append(Architecture.from_nasbench201(text))
            for f, schedule in enumerate(schedules):
                figures, seconds[f, row] = _queries(info[schedule], SETS[part.data][0], SETS[part.data][1])
                valid[: len(figures), f, row] = figures
            found = _finals(info[schedules[1]], *SETS[part.data][2:])
            for name, value in found.items():
                other[name][row] = value
        except (KeyError, TypeError, ValueError, IndexError, SpaceError) as error:
            raise DataError(f"architecture {row} of {where} is not laid out as expected: {error!r}") from None
    timed = bool(np.isfinite(seconds).all())
    budget = 12_000.0 if part.epochs == 12 else 150 * float(seconds[1].mean())
    latency = {"gpu_latency": other["latency"]} if np.isfinite(other["latency"]).all() else {}
    return Table.from_arrays(
        nasbench201(),
        {"valid_accuracy": valid / 100},
        architectures=listed,
        final={"test_accuracy": other["test"] / 100},
        known={"params": other["params"] * 1e6, "flops": other["flops"] * 1e6} | latency,
        units={"gpu_latency": "s"},
        seconds=seconds if timed else None,
        fidelities=(SHORT, LONG),
        default=float(part.epochs),
        name="nasbench201",
        single=part.seeds == "one",
        partial=len(listed) < 15_625,
        budget=budget if timed else 100.0,
    )


def _queries(results: Mapping[str, Any], data: str, split: str) -> tuple[list[float], float]:
    """Return the last accuracies (%) of all trials, and the mean seconds of training and one validation, or NaN."""
    trials = _trials(results, data)
    times = [_seconds(trial, split) for trial in trials]
    return [_last(trial, "eval_acc1es", split) for trial in trials[:SEEDS]], float(np.mean(times))


def _finals(results: Mapping[str, Any], data: str, split: str) -> dict[str, float]:
    trials = _trials(results, data)
    latencies = [float(np.mean(trial["latency"])) for trial in trials if trial.get("latency")]
    latencies = [value for value in latencies if value > 0]
    return {
        "test": float(np.mean([_last(trial, "eval_acc1es", split) for trial in trials])),
        "params": float(np.mean([trial["params"] for trial in trials])),
        "flops": float(np.mean([trial["flop"] for trial in trials])),
        "latency": float(np.mean(latencies)) if latencies else float("nan"),
    }


def _trials(results: Mapping[str, Any], data: str) -> list[Mapping[str, Any]]:
    return [results["all_results"][(data, seed)] for seed in results["dataset_seed"][data]]


def _last(trial: Mapping[str, Any], what: str, split: str) -> float:
    return float(trial[what][f"{split}@{trial['epochs'] - 1}"])


def _seconds(trial: Mapping[str, Any], split: str) -> float:
    training, validation = trial.get("train_times"), trial.get("eval_times")
    if not training or not validation:
        return float("nan")
    per_epoch = [float(validation[f"{split}@{epoch}"]) for epoch in range(trial["epochs"])]
    return float(sum(training.values())) + sum(per_epoch) / len(per_epoch)
