"""Every tensor comes back bitwise, and equal states make equal files."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest
import torch

from mimar import runs
from mimar.core.errors import RunError, UsageError
from mimar.core.streams import stream
from mimar.runs import snapshot

INTEGERS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.uint64)
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128)
SMALL = (torch.bool, torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu)


def bits(value: torch.Tensor) -> bytes:
    return value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and bits(a) == bits(b)


def roundtrip(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return snapshot.decode(snapshot.encode(snapshot.Snapshot(1, {}, tensors, 0, 0, b""))).tensors


@pytest.mark.parametrize("dtype", INTEGERS + FLOATS + SMALL, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (5,), (2, 3, 4)], ids=str)
def test_every_type_and_shape_comes_back_bitwise(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    size = math.prod(shape) * dtype.itemsize  # bytes
    high = 2 if dtype == torch.bool else 256  # any bits, not-a-numbers included
    raw = torch.randint(high, (size,), dtype=torch.uint8, generator=stream(0, str(dtype), *shape))
    value = (raw.view(dtype) if size else torch.empty(0, dtype=dtype)).reshape(shape)
    assert same(roundtrip({"a": value})["a"], value)


def test_shared_sliced_and_expanded_memory_comes_back() -> None:
    base = torch.arange(12.0)
    tensors = {
        "whole": base,
        "again": base,
        "view": base.view(3, 4),
        "part": base[2:5],
        "transposed": base.view(3, 4).t(),
        "expanded": torch.ones(()).expand(2, 3),
        "step": base[::3],
        "empty": torch.empty(0),
        "empty too": torch.empty(0),
        "conjugate": torch.tensor([1 + 2j]).conj(),
        "parameter": torch.nn.Parameter(base.clone()),
        "": torch.tensor(True),
    }
    found = roundtrip(tensors)
    assert list(found) == list(tensors)  # the order too
    assert all(same(found[k], v.detach().resolve_conj()) for k, v in tensors.items())
    found["whole"].add_(1)
    assert torch.equal(found["again"], base) and not any(v.requires_grad for v in found.values())


def test_memory_order_comes_back() -> None:
    image = torch.randn(2, 3, 4, 5, generator=stream(0, "image"))
    tensors = {
        "last": image.to(memory_format=torch.channels_last),
        "depthwise": image.view(6, 1, 4, 5).to(memory_format=torch.channels_last),
        "plain": image,
        "permuted": image.permute(3, 1, 0, 2),
        "complex": image.to(torch.complex128).to(memory_format=torch.channels_last),
    }
    found = roundtrip(tensors)
    for name, value in tensors.items():
        assert same(found[name], value) and found[name].stride() == value.stride(), name


def test_equal_states_make_equal_files_and_names(tmp_path: Path) -> None:
    def write(name: str) -> list[tuple[str, bytes]]:
        with runs.create(tmp_path / name, {}) as store:
            for i in range(4):
                store.append({"event": "step", "i": i})
                tensors = {f"t{j}": torch.full((j,), float(i)) for j in range(20)}
                store.snapshot({"i": i, "b": 1, "a": [None, True, "x"]}, tensors | {"n": torch.tensor(i)})
        return [(p.name, p.read_bytes()) for p in sorted((tmp_path / name / "snapshots").iterdir())]

    first = write("one")
    assert first == write("two")
    assert [name[:7] for name, _ in first] == ["000003-", "000004-"]
    assert all(name[7:] == hashlib.sha256(data).hexdigest()[:16] + ".safetensors" for name, data in first)


def test_other_programs_can_read_a_snapshot(tmp_path: Path) -> None:
    from safetensors import safe_open

    with runs.create(tmp_path / "r", {}) as store:
        store.snapshot({"epoch": 1}, {"alpha": torch.ones(2, 3)})
    (path,) = (tmp_path / "r" / "snapshots").iterdir()
    with safe_open(path, "pt") as file:
        assert torch.equal(file.get_tensor("alpha"), torch.ones(2, 3))
        assert '"epoch":1' in file.metadata()["state"]


@pytest.mark.parametrize(
    "tensors",
    [
        {"a": 1.0},
        {"__metadata__": torch.ones(1)},
        {"events.jsonl": torch.ones(1)},
        {1: torch.ones(1)},
        {"a": torch.eye(2).to_sparse()},
        {"a": torch.empty(2, device="meta")},
    ],
    ids=["number", "reserved", "log", "key", "sparse", "meta"],
)
def test_what_cannot_be_stored_is_refused_and_loses_nothing(tmp_path: Path, tensors: dict) -> None:
    with runs.create(tmp_path / "r", {}) as store:
        store.snapshot({"i": 1}, {})
        with pytest.raises(UsageError):
            store.snapshot({"i": 2}, tensors)
        with pytest.raises(UsageError, match="key 1"):
            store.snapshot({"i": {1: 2}}, {})
        assert store.latest() == ({"i": 1}, {})


def test_a_state_whose_json_could_not_be_read_again_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "HEADER_LIMIT", 1000)
    with pytest.raises(UsageError, match="tensors"):
        snapshot.encode(snapshot.Snapshot(1, {"text": "x" * 1000}, {}, 0, 0, b""))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('\\"strides\\":[1,2]', '\\"strides\\":[9,2]'),
        ('\\"strides\\":[1,2]', '\\"strides\\":[-1,]'),
        ('\\"strides\\":[1,2]', '\\"strides\\":"xyz"'),
        ('\\"names\\":[\\"a\\"]', '\\"names\\":[\\"b\\"]'),
        ('\\"format\\":1', '\\"format\\":2'),
        ('\\"index\\":1', '\\"index\\":x'),
        ("__metadata__", "__metabata__"),
    ],
)
def test_a_crafted_file_with_a_right_digest_is_damaged_not_an_accident(before: str, after: str) -> None:
    data = snapshot.encode(snapshot.Snapshot(1, {}, {"a": torch.arange(6.0).view(3, 2).t()}, 0, 0, b""))
    assert before.encode() in data
    with pytest.raises(snapshot.Damaged):
        snapshot.decode(data.replace(before.encode(), after.encode()))


def test_a_file_that_is_no_snapshot_is_named() -> None:
    with pytest.raises(RunError):
        snapshot.index_of(Path("x.safetensors"))
