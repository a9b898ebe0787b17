"""Readers of the original files, on tiny ones written here in the published layouts, the real files not being at hand."""

from __future__ import annotations

import base64
import bz2
import collections
import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mimar.core.errors import DataAbsentError, DataError, UsageError
from mimar.core.streams import Draws
from mimar.evaluators import benchmarks
from mimar.evaluators.pickles import restricted, torch_file
from mimar.evaluators.table import Table
from mimar.evaluators.tables.nasbench101 import OPERATIONS, fields, masked, model_metrics, records
from mimar.space import Architecture, Proposal
from mimar.space.dag import dag

TEXTS = [
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
    "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|",
]
SPLITS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("x-valid", "x-test", "ori-test"),
    "ImageNet16-120": ("x-valid", "x-test", "ori-test"),
}


def figure(index: int, epochs: int, data: str, split: str, seed: int) -> float:
    """An accuracy (%) that tells all of its origins apart."""
    return 10 * index + epochs / 100 + list(SPLITS).index(data) + len(split) / 10 + seed / 1000


def trial(index: int, epochs: int, data: str, seed: int) -> dict[str, Any]:
    """What `ResultsCount.state_dict()` holds of one training."""
    accuracies = {
        f"{s}@{e}": np.float64(figure(index, epochs, data, s, seed) if e == epochs - 1 else 1.0)
        for s in SPLITS[data]
        for e in range(epochs)
    }
    return {
        "name": "infer.tiny",
        "net_state_dict": None,
        "train_acc1es": {e: 50.0 for e in range(epochs)},
        "train_acc5es": {e: 90.0 for e in range(epochs)},
        "train_losses": {e: 1.0 for e in range(epochs)},
        "train_times": collections.OrderedDict((e, 2.0 + index) for e in range(epochs)),
        "arch_config": {"channel": 16, "num_cells": 5, "arch_str": TEXTS[index], "class_num": 10},
        "params": 0.129306 + index,
        "flop": 15.64737 + index,
        "seed": seed,
        "epochs": epochs,
        "latency": [0.01, 0.03],
        "eval_names": list(SPLITS[data]),
        "eval_acc1es": accuracies,
        "eval_times": {key: 0.5 for key in accuracies},
        "eval_losses": dict.fromkeys(accuracies, 1.0),
    }


def results(index: int, epochs: int) -> dict[str, Any]:
    """What `ArchResults.state_dict()` holds of one architecture and schedule."""
    seeds = {data: [777] if epochs == 12 else [777, 888, 999][: 2 + index] for data in SPLITS}
    every = {(data, seed): trial(index, epochs, data, seed) for data in SPLITS for seed in seeds[data]}
    return {
        "arch_index": index,
        "arch_str": TEXTS[index],
        "all_results": every,
        "dataset_seed": seeds,
        "clear_net_done": True,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "NATS-tss-v1_0-3ffb9-simple"
    found.mkdir()
    meta = {"meta_archs": TEXTS, "total_archs": 2, "arch2infos": {}, "evaluated_indexes": set()}
    (found / "meta.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(meta, protocol=4)))
    for i in range(2):
        content = collections.OrderedDict((hp, results(i, int(hp))) for hp in ("12", "200"))
        (found / f"{i:06d}.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(content, protocol=4)))
    return found


@pytest.fixture
def torch_path(tmp_path: Path) -> Path:
    path = tmp_path / "NAS-Bench-201-v1_1-096897.pth"
    infos = {i: {"less": results(i, 12), "full": results(i, 200)} for i in range(2)}
    torch.save({"meta_archs": TEXTS, "arch2infos": infos, "evaluated_indexes": [0, 1], "total_archs": 2}, path)
    return path


def check_cells(table: Table, data: str, sets: tuple[str, str, str]) -> None:
    """Compare with what was written: sets are of the query, of the verdict, and its split."""
    query, verdict, split = sets
    for index, text in enumerate(TEXTS):
        arch = Architecture.from_nasbench201(text)
        for epochs, seeds in ((12, [777]), (200, [777, 888, 999][: 2 + index])):
            result = table.evaluate(Proposal(arch, float(epochs)))
            mean = np.mean([figure(index, epochs, query, "x-valid", s) for s in seeds]) / 100
            assert result.metrics["valid_accuracy"] == pytest.approx(mean, abs=1e-9)
            assert result.cost == pytest.approx(epochs * (2.0 + index) + 0.5)  # all of training, one validation
        test = np.mean([figure(index, 200, verdict, split, s) for s in seeds]) / 100
        assert table.verdict(arch)["test_accuracy"] == pytest.approx(test, abs=1e-9)
        costs = table.costs(arch)
        assert costs["params"] == pytest.approx(1e6 * (0.129306 + index)) and costs["gpu_latency"] == pytest.approx(
            0.02
        )
        assert costs["flops"] == pytest.approx(1e6 * (15.64737 + index))
    other = Architecture.from_nasbench201(TEXTS[0].replace("avg_pool_3x3", "none"))
    assert table.evaluate(Proposal(other)).status == "infeasible"


WHERE = [
    ("cifar10", ("cifar10-valid", "cifar10", "ori-test")),
    ("cifar100", ("cifar100", "cifar100", "x-test")),
    ("imagenet16-120", ("ImageNet16-120", "ImageNet16-120", "x-test")),
]


@pytest.mark.parametrize(("data", "sets"), WHERE, ids=[w[0] for w in WHERE])
def test_nats_bench_is_read(data: str, sets: tuple[str, str, str], folder: Path) -> None:
    check_cells(benchmarks.named(f"nats-bench:folder={folder},data={data}"), data, sets)


@pytest.mark.parametrize(("data", "sets"), WHERE, ids=[w[0] for w in WHERE])
def test_nasbench201_is_read(data: str, sets: tuple[str, str, str], torch_path: Path) -> None:
    check_cells(benchmarks.named(f"nasbench201-pth:file={torch_path},data={data}"), data, sets)


def test_single_trainings_are_told_apart(folder: Path) -> None:
    table = benchmarks.named(f"nats-bench:folder={folder},epochs=200,seeds=one")
    drawn = {
        table.evaluate(Proposal(Architecture.from_nasbench201(TEXTS[1])), rng=Draws(0, i)).metrics["valid_accuracy"]
        for i in range(40)
    }
    wanted = [figure(1, 200, "cifar10-valid", "x-valid", seed) / 100 for seed in (777, 888, 999)]
    assert sorted(drawn) == pytest.approx(wanted) and table.budget == pytest.approx(150 * (400.5 + 600.5) / 2)
    assert benchmarks.named(f"nats-bench:folder={folder}").budget == 12_000


def test_trainings_without_times_cost_a_query(folder: Path) -> None:
    content = {hp: results(0, int(hp)) for hp in ("12", "200")}
    for part in content.values():
        for one in part["all_results"].values():
            one.update(train_times=None, latency=None)
    (folder / "000000.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(content)))
    table = benchmarks.named(f"nats-bench:folder={folder}")
    assert table.unit == "queries" and table.seconds is None and table.budget == 100
    assert [c.measure.name for c in table.known] == ["params", "flops"]


def test_original_files_that_are_absent_or_different_are_told(folder: Path, torch_path: Path, tmp_path: Path) -> None:
    with pytest.raises(DataAbsentError, match="meta.pickle.pbz2; github D-X-Y/NATS-Bench says where"):
        benchmarks.named(f"nats-bench:folder={tmp_path}")
    with pytest.raises(DataAbsentError, match="there is no file .*gone.pth; github"):
        benchmarks.named(f"nasbench201-pth:file={tmp_path}/gone.pth")
    content = {hp: results(1, int(hp)) for hp in ("12", "200")}
    del content["200"]["all_results"]["cifar10", 888]
    (folder / "000001.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps(content)))
    with pytest.raises(
        DataError, match=r"architecture 1 of .* not laid out as expected: KeyError\(\('cifar10', 888\)\)"
    ):
        benchmarks.named(f"nats-bench:folder={folder},epochs=12")
    (folder / "000001.pickle.pbz2").write_bytes(b"BZh91AY nothing")
    with pytest.raises(DataError, match="000001.pickle.pbz2 cannot be read"):
        benchmarks.named(f"nats-bench:folder={folder},epochs=200")
    (folder / "000001.pickle.pbz2").unlink()
    with pytest.raises(DataAbsentError, match="there is no file .*000001"):
        benchmarks.named(f"nats-bench:folder={folder},seeds=one")
    (folder / "meta.pickle.pbz2").write_bytes(bz2.compress(pickle.dumps([1])))
    with pytest.raises(DataError, match="does not list architectures"):
        benchmarks.named(f"nats-bench:folder={folder},data=cifar100")
    torch.save({"meta_archs": TEXTS}, torch_path)
    with pytest.raises(DataError, match="is not laid out as NAS-Bench-201: it has no 'arch2infos'"):
        benchmarks.named(f"nasbench201-pth:file={torch_path}")


# --- pickles --------------------------------------------------------------------------------------------------------------


class Boom:
    def __init__(self, call: Any, *given: Any) -> None:
        self.call, self.given = call, given

    def __reduce__(self) -> Any:
        return self.call, self.given


def unpickled(value: Any, tmp_path: Path, protocol: int = 4) -> Any:
    path = tmp_path / "x.pickle"
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    with path.open("rb") as file:
        return restricted(file, "x.pickle")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles_are_opened(protocol: int, tmp_path: Path) -> None:
    value = {
        ("a", 1): collections.OrderedDict(x=[1, 2.5, None, True, b"bytes", "text"]),
        "set": {1, 2},
        "frozen": frozenset((3,)),
        "default": collections.defaultdict(list, {"k": [1]}),
        "scalar": np.float64(0.1),
        "small": np.int32(7),
        "array": np.arange(6.0).reshape(2, 3),
        "texts": np.array(["a", "bc"]),
        "complex": 1 + 2j,
    }
    found = unpickled(value, tmp_path, protocol)
    assert found.keys() == value.keys() and isinstance(found["scalar"], np.float64)
    for key, one in value.items():
        assert np.array_equal(found[key], one) if isinstance(one, np.ndarray) else found[key] == one


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (Boom(os.system, "touch boom"), "(posix|nt).system"),
        (Boom(exec, "open('boom', 'w')"), "builtins.exec"),
        (Boom(getattr, "", "join"), "builtins.getattr"),
        (Boom(Path.touch, Path("boom")), "(builtins.getattr|pathlib)"),
        (Boom(np.load, "boom"), "numpy.load"),
        (torch.zeros(2), "torch._utils._rebuild_tensor_v2"),
    ],
    ids=["system", "exec", "getattr", "path", "numpy", "tensor"],
)
def test_other_pickles_are_refused_before_anything_happens(
    value: Any, names: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"x.pickle asks for {names}.*: only plain containers, numbers and arrays"):
        unpickled(value, tmp_path)
    torch.save({"a": value} if not isinstance(value, torch.Tensor) else {"a": Boom(os.system, "touch boom")}, "x.pth")
    with pytest.raises(DataError, match="x.pth cannot be read as a file of torch: it holds more than numbers"):
        torch_file(Path("x.pth"))
    assert not Path("boom").exists()


def test_other_encodings_references_and_rubbish_are_refused(tmp_path: Path) -> None:
    import _codecs

    with pytest.raises(DataError, match="asks for the encoding rot13"):
        unpickled(Boom(_codecs.encode, "abc", "rot13"), tmp_path)
    path = tmp_path / "x"
    for content, says in (
        (b"", "not a pickle"),
        (b"\x80\x04K\x01", "not a pickle"),
        (b"\x80\x04K\x01Q.", "objects outside of"),
    ):
        path.write_bytes(content)
        with path.open("rb") as file, pytest.raises(DataError, match=says):
            restricted(file, "x")
    path.write_bytes(b"no torch file")
    with pytest.raises(DataError, match="cannot be read as a file of torch"):
        torch_file(path)


def test_numpy_in_a_file_of_torch_is_opened(tmp_path: Path) -> None:
    value = {
        "a": np.float64(0.5),
        "b": np.arange(3, dtype=np.int64),
        "c": collections.OrderedDict(x=1),
        "d": np.bool_(True),
    }
    torch.save(value, tmp_path / "new.pth")
    torch.save(value, tmp_path / "old.pth", _use_new_zipfile_serialization=False)  # as torch wrote in 2020
    for name in ("new.pth", "old.pth"):
        found = torch_file(tmp_path / name)
        assert found["a"] == 0.5 and found["b"].tolist() == [0, 1, 2] and found["c"] == {"x": 1}


# --- NAS-Bench-101 --------------------------------------------------------------------------------------------------------


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum bit by bit, an oracle for the table-driven one."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 * (crc & 1))
    return crc ^ 0xFFFFFFFF


def mask(crc: int) -> int:
    return (((crc >> 15) | (crc << 17 & 0xFFFFFFFF)) + 0xA282EAD8) & 0xFFFFFFFF


def varint(value: int) -> bytes:
    found = b""
    while value > 0x7F:
        found, value = found + bytes([value & 0x7F | 0x80]), value >> 7
    return found + bytes([value])


def message(params: int, evaluations: list[tuple[float, ...]]) -> bytes:
    """A ModelMetrics protocol buffer: evaluations of (epoch, seconds, train, valid, test), parameters, total time."""
    found = b""
    for values in evaluations:
        inner = b"".join(bytes([n << 3 | 1]) + struct.pack("<d", v) for n, v in enumerate(values, start=1))
        inner += b"\x32\x04path"  # field 6, a text
        found += b"\x0a" + varint(len(inner)) + inner
    return found + b"\x10" + varint(params) + b"\x19" + struct.pack("<d", 1234.5)


def framed(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return length + struct.pack("<I", mask(crc32c(length))) + record + struct.pack("<I", mask(crc32c(record)))


CHAIN = ("0100001000010000", ["input", OPERATIONS[0], OPERATIONS[2], "output"], 300_000)
SHORT = ("0100", ["input", "output"], 200_000)


def line(cell: tuple[str, list[str], int], epochs: int, repeat: int) -> bytes:
    matrix, operations, params = cell
    score = len(operations) / 10 + epochs / 1000 + repeat / 10_000
    evaluations = [(e, 2.0 * e, 0.99, score if e == epochs else 0.1, score - 0.05 if e == epochs else 0.1)
                   for e in (0.0, epochs / 2, float(epochs))]  # fmt: skip
    raw = base64.b64encode(message(params, evaluations)).decode()
    return json.dumps([f"hash of {matrix}", epochs, matrix, ",".join(operations), raw]).encode()


def tfrecord(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"".join(map(framed, lines)))
    return path


@pytest.fixture
def original(tmp_path: Path) -> Path:
    lines = [line(cell, epochs, r) for cell in (CHAIN, SHORT) for epochs in (4, 108) for r in range(3)]
    return tfrecord(tmp_path / "nasbench.tfrecord", *lines)


def test_checksums_are_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the published check value
    for data in (b"", b"a", struct.pack("<Q", 917)):
        assert masked(data) == mask(crc32c(data))


def test_messages_are_read_by_number() -> None:
    found = model_metrics(message(8_118_666, [(0.0, 0.0, 0.1, 0.2, 0.3), (108.0, 1769.1, 1.0, 0.9, 0.8)]))
    assert found == {"params": 8_118_666, "evaluations": [(0.0, 0.2, 0.3), (1769.1, 0.9, 0.8)]}
    assert list(fields(b"\x08\x96\x01\x15\x01\x02\x03\x04")) == [(1, 150), (2, b"\x01\x02\x03\x04")]
    with pytest.raises(ValueError, match="breaks off"):
        list(fields(b"\x0a\x05abc"))
    with pytest.raises(ValueError, match="unknown wire type 3"):
        list(fields(b"\x0b"))


def test_nasbench101_is_read(original: Path) -> None:
    table = benchmarks.named(f"nasbench101:file={original}")
    space = dag(7, OPERATIONS, 9)
    assert len(table) == 2 and table.fidelities == (4.0, 108.0) and table.default == 108.0 and table.budget == 5e6
    for cell, n in ((CHAIN, 4), (SHORT, 2)):
        labels = [*cell[1][:-1], *["none"] * (7 - n), "output"]
        edges = [(i, i + 1 if i + 2 < n else 6) for i in range(n - 1)]
        arch = space.structure.architecture(labels, edges)
        for epochs in (4, 108):
            result = table.evaluate(Proposal(arch, float(epochs)))
            assert result.metrics["valid_accuracy"] == pytest.approx(n / 10 + epochs / 1000 + 1e-4)
            assert (result.cost, result.metrics["params"]) == (2.0 * epochs, cell[2])
        assert table.verdict(arch)["test_accuracy"] == pytest.approx(n / 10 + 0.108 + 1e-4 - 0.05)
    dead = space.structure.architecture(["input", *[OPERATIONS[1]] * 5, "output"], [(0, 6), (0, 1), (2, 3)])
    assert table.row(dead) == 1  # what is dead makes no difference
    unknown = space.structure.architecture(["input", *[OPERATIONS[1]] * 5, "output"], [(0, 1), (1, 6)])
    assert table.evaluate(Proposal(unknown)).status == "infeasible"
    one = benchmarks.named(f"nasbench101:file={original},seeds=one,epochs=4")
    drawn = {one.evaluate(Proposal(dead), rng=Draws(0, i)).metrics["valid_accuracy"] for i in range(40)}
    assert sorted(drawn) == pytest.approx([0.2 + 0.004 + r / 10_000 for r in range(3)])


def test_a_table_from_an_original_file_is_saved_small(original: Path, tmp_path: Path) -> None:
    table = benchmarks.named(f"nasbench101:file={original}")
    table.save(tmp_path / "t.npz")
    other = Table.load(tmp_path / "t.npz")
    assert other.digest() == table.digest() and other.space.layout == "dag"
    dead = dag(7, OPERATIONS, 9).structure.architecture(["input", *[OPERATIONS[1]] * 5, "output"], [(0, 6), (0, 1)])
    assert other.row(dead) == table.row(dead) == 1 and other.space.valid(dead)


def test_what_is_wrong_with_a_tfrecord_is_told(original: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.tfrecord"
    whole = original.read_bytes()

    def told(content: bytes, says: str, error: type[Exception] = DataError) -> None:
        path.write_bytes(content)
        with pytest.raises(error, match=says) as found:
            benchmarks.named(f"nasbench101:file={path},epochs=108")
        assert "\n" not in str(found.value)

    told(whole[:-9], "record 11 of .* breaks off")
    told(
        whole[: len(framed(line(CHAIN, 4, 0))) + 5],
        "record 1 of .* has a damaged length: it is no TFRecord file, or was cut",
    )
    told(b"no records at all", "record 0 of .* has a damaged length")
    told(b"", "x.tfrecord has no records")
    told(framed(b"[1, 2"), "record 0 of .* is not one of NAS-Bench-101")
    told(framed(b'{"a": 1}'), "record 0 of .* is not one of NAS-Bench-101")
    told(
        framed(line(("01", ["input", "output"], 1), 108, 0)), "the matrix 01 does not fit the operations input, output"
    )
    told(framed(line(("00100000", ["input", "output"], 1), 108, 0)), "does not fit")
    told(framed(line(("010001000", ["input", "conv9x9", "output"], 1), 108, 0)), "and three operations")
    told(framed(line(SHORT, 4, 0)), "has trainings of 4 epochs, not of 108", UsageError)
    told(b"".join(framed(line(SHORT, 108, r)) for r in range(4)), "has 4 trainings of 108 epochs of the cell")
    told(
        framed(line(SHORT, 4, 0)) + framed(line(SHORT, 108, 0)) + framed(line(CHAIN, 108, 0)),
        "has 0 trainings of 4 epochs",
    )
    with pytest.raises(DataAbsentError, match="there is no file .*gone; github google-research/nasbench says where"):
        list(records(tmp_path / "gone"))
