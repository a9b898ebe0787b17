"""NAS-Bench-101 from its original file: 423,624 cells on CIFAR-10, for those who have it."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal, NamedTuple

import numpy as np

from mimar.core.errors import DataAbsentError, DataError, UsageError
from mimar.core.ranges import validate
from mimar.evaluators.table import Table
from mimar.space import Space
from mimar.space.dag import Dag, dag

OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
VERTICES, EDGES = 7, 9
REPEATS = 3
VARINT, DOUBLE, BYTES, SINGLE = 0, 1, 2, 5  # wire types
MASK = 0xA282EAD8


@dataclass(frozen=True)
class NasBench101:
    """The table of the file `file` (nasbench_only108.tfrecord or nasbench_full.tfrecord); reading it takes minutes.

    A query is the validation accuracy after `epochs` (the file says which there are: 108, in the full one also 4, 12 and
    36), the "mean" of three trainings or "one" of them drawn by query; the verdict is the mean test accuracy after the
    most epochs. Costs are the seconds of training; the budget of a search that names none is 5,000,000 s. Save the table
    (`Table.save`) and use table:PATH to read it in seconds.
    The layout is that of github google-research/nasbench (`nasbench/api.py`, `lib/model_metrics.proto`), read there; the
    file itself was not at hand: a TFRecord file whose records are JSON lists [module hash, epochs, adjacency as 0s and 1s
    row by row, operations joined by commas, a base64 protocol buffer ModelMetrics], one for each of three trainings of a
    cell. Evaluation 0 is before, 1 half-way and 2 after the training. Ying et al., "NAS-Bench-101", ICML 2019.
    """

    file: str
    epochs: Literal[4, 12, 36, 108] = 108
    seeds: Literal["mean", "one"] = "mean"
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        validate(self)

    def table(self) -> Table:
        """Read the file. Raises DataAbsentError where it is not there, DataError, naming the record, where it is damaged."""
        path = Path(self.file).expanduser()
        space = dag(VERTICES, OPERATIONS, EDGES)
        found: dict[str, Cell] = {}
        for number, record in enumerate(records(path)):
            try:
                name, epochs, adjacency, operations, raw = json.loads(record)
                metrics = model_metrics(base64.b64decode(raw, validate=True))
                if name not in found:
                    found[name] = _cell(space, adjacency, operations.split(","), metrics["params"])
                found[name].runs.setdefault(float(epochs), []).append(metrics["evaluations"][2])
            except (ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error, binascii.Error) as error:
                raise DataError(f"record {number} of {path} is not one of NAS-Bench-101: {error}") from None
        if not found:
            raise DataError(f"{path} has no records")
        return self._table(path, space, found)

    def _table(self, path: Path, space: Space, found: dict[str, Cell]) -> Table:
        levels = sorted(next(iter(found.values())).runs)
        if self.epochs not in levels:
            raise UsageError(
                f"{path} has trainings of {', '.join(f'{e:g}' for e in levels)} epochs, not of {self.epochs}"
            )
        figures = np.full((3, REPEATS, len(levels), len(found)), np.nan)  # (time, valid, test; S; F; R)
        for row, (name, cell) in enumerate(found.items()):
            for f, level in enumerate(levels):
                runs = cell.runs.get(level, [])
                if not 1 <= len(runs) <= REPEATS:
                    raise DataError(f"{path} has {len(runs)} trainings of {level:g} epochs of the cell {name}")
                figures[:, : len(runs), f, row] = np.array(runs).T
        time, valid, test = figures
        return Table.from_arrays(
            space,
            {"valid_accuracy": valid},
            codes=np.array([cell.code for cell in found.values()]),
            final={"test_accuracy": np.nanmean(test[:, -1], axis=0)},
            known={"params": [cell.params for cell in found.values()]},
            seconds=np.nanmean(time, axis=0),
            fidelities=levels,
            default=float(self.epochs),
            name="nasbench101",
            single=self.seeds == "one",
            partial=True,  # of graphs that are the same network one has the row
            budget=5e6,
        )


class Cell(NamedTuple):
    """A cell: its code in the space, its parameters, and (seconds, valid, test) of its trainings by epochs."""

    code: list[int]
    params: int
    runs: dict[float, list[tuple[float, float, float]]]


def _cell(space: Space, adjacency: str, operations: Sequence[str], params: int) -> Cell:
    n = len(operations)
    if len(adjacency) != n * n or set(adjacency) - {"0", "1"} or operations[0] != "input" or operations[-1] != "output":
        raise ValueError(f"the matrix {adjacency} does not fit the operations {', '.join(operations)}")
    edges = [(i, j) for i in range(n) for j in range(n) if adjacency[i * n + j] == "1"]
    if n > VERTICES or any(i >= j for i, j in edges) or any(o not in OPERATIONS for o in operations[1:-1]):
        raise ValueError("a cell has at most 7 vertices, edges to later ones, and three operations")
    return Cell(code(space, operations[1:-1], edges), params, {})


def code(space: Space, operations: Sequence[str], edges: Sequence[tuple[int, int]]) -> list[int]:
    """Return the code, in a free-form space, of the canonical form of a cell with these inner operations and edges."""
    structure: Any = space.structure
    assert isinstance(structure, Dag)
    last, own = structure.nodes - 1, len(operations) + 1
    labels = ["input", *operations, *[structure.operations[0]] * (last - own), "output"]
    placed = [(i, last if j == own else j) for i, j in edges]
    made = space.canonical(structure.architecture(labels, placed))
    return [choice.outcomes.index(made[choice.name]) for choice in space.ordered]


# -- TFRecord ------------------------------------------------------------------------------------------------------------


def records(path: Path) -> Iterator[bytes]:
    """Yield the records of a TFRecord file: length (8 bytes), its checksum (4), so many bytes, their checksum (4).

    Little-endian. The checksums of lengths are verified, not those of contents. Raises DataAbsentError, or DataError
    where the file breaks off or is something else.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while head := file.read(12):
                yield _record(file, head, f"record {number} of {path}")
                number += 1
    except FileNotFoundError:
        raise DataAbsentError(
            f"there is no file {path}; github google-research/nasbench says where to get it"
        ) from None


def _record(file: BinaryIO, head: bytes, what: str) -> bytes:
    if len(head) < 12 or masked(head[:8]) != struct.unpack("<I", head[8:])[0]:
        raise DataError(f"{what} has a damaged length: it is no TFRecord file, or was cut off")
    (length,) = struct.unpack("<Q", head[:8])
    content = file.read(length + 4)
    if len(content) < length + 4:
        raise DataError(f"{what} breaks off")
    return content[:-4]


def masked(data: bytes) -> int:
    """Return the masked CRC-32C of data, as TFRecord files hold it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + MASK) & 0xFFFFFFFF


def _crc(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
    return byte


TABLE = [_crc(byte) for byte in range(256)]


# -- protocol buffers ----------------------------------------------------------------------------------------------------


def model_metrics(data: bytes) -> dict[str, Any]:
    """Return {params, evaluations: [(training seconds, validation accuracy, test accuracy)]} of a ModelMetrics message.

    Its field 1, repeated, holds messages whose doubles 2, 4 and 5 these are; field 2 is the number of parameters.
    """
    found: dict[str, Any] = {"params": 0, "evaluations": []}
    for number, value in fields(data):
        if number == 1:
            inner = dict(fields(value))
            found["evaluations"].append(tuple(struct.unpack("<d", inner[n])[0] for n in (2, 4, 5)))
        elif number == 2:
            found["params"] = value
    return found


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield (number, value) of the fields of a message: whole numbers of varints, bytes of all others."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == VARINT:
            value: Any
            value, at = _varint(data, at)
        elif kind in (DOUBLE, SINGLE, BYTES):
            size, at = _varint(data, at) if kind == BYTES else (8 if kind == DOUBLE else 4, at)
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"a field of the unknown wire type {kind}")
        if at > len(data):
            raise ValueError("a message that breaks off")
        yield key >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
