"""The state of a run as one safetensors file whose name carries the digest of its content.

    snapshots/000012-<first 16 hex digits of the file's SHA-256>.safetensors

Tensors stand under their own names. The metadata has one key, `state`: JSON with the caller's part, the order of the
names, memory layouts and types that safetensors lacks, and `start`, `offset`: the log between these two bytes is
repeated in the file (tensor `events.jsonl`), so that a damaged log can be mended. Reading never executes code.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from mimar.core.errors import RunError, UsageError
from mimar.runs import codec, files, journal

FORMAT = 1
FOLDER = "snapshots"
KEY = "state"
KEEP = 2
HEADER_LIMIT = 100_000_000  # bytes; safetensors writes larger headers but refuses to read them
PATTERN = re.compile(r"(\d{6,})-([0-9a-f]{16})\.safetensors")
DTYPES = {str(d): d for d in vars(torch).values() if isinstance(d, torch.dtype)}
NATIVE = {
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64),
}


@dataclass(frozen=True)
class Snapshot:
    """A state and the stretch of the log, from byte `start` to byte `offset`, that led to it."""

    index: int
    json: dict[str, Any]
    tensors: dict[str, Tensor]
    start: int
    offset: int
    log: bytes


class Damaged(Exception):
    """A snapshot file that is not what its name says; the text says why."""


def encode(found: Snapshot) -> bytes:
    """Return the file's bytes: equal states give equal bytes. Raises UsageError for what cannot be stored."""
    stored: dict[str, Tensor] = {}
    layouts: dict[str, dict[str, Any]] = {}
    storages: set[int] = set()
    for name, value in found.tensors.items():
        if not isinstance(name, str) or name in (journal.NAME, "__metadata__"):
            raise UsageError(f"a tensor of a snapshot cannot be called {name!r}")
        flat, layout = _store(name, value)
        pointer = flat.untyped_storage().data_ptr()
        stored[name] = flat.clone() if pointer in storages else flat  # safetensors refuses shared memory
        storages.add(pointer)
        if layout:
            layouts[name] = layout
    stored[journal.NAME] = torch.frombuffer(bytearray(found.log), dtype=torch.uint8) if found.log else _nothing()
    head = {"format": FORMAT, "index": found.index, "start": found.start, "offset": found.offset}
    text = codec.dumps(
        {**head, "names": list(found.tensors), "layouts": layouts, "json": found.json}, kind="state of the run"
    )
    data = safetensors.torch.save(stored, {KEY: text})  # one key: safetensors keeps no order among several
    if int.from_bytes(data[:8], "little") > HEADER_LIMIT:
        raise UsageError("the JSON part of the state is larger than 100 MB: keep large things in tensors")
    return data


def decode(data: bytes) -> Snapshot:
    """Return the snapshot in a file's bytes, tensors on the CPU; raises Damaged."""
    try:
        length = int.from_bytes(data[:8], "little")
        meta = codec.loads(codec.loads(data[8 : 8 + length])["__metadata__"][KEY])
        if meta["format"] != FORMAT:
            raise Damaged(f"format {meta['format']} is not {FORMAT}")
        tensors = safetensors.torch.load(data)
        log = tensors.pop(journal.NAME).numpy().tobytes()
        named = {name: _restore(tensors[name], meta["layouts"].get(name)) for name in meta["names"]}
        return Snapshot(int(meta["index"]), dict(meta["json"]), named, int(meta["start"]), int(meta["offset"]), log)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, OverflowError) as error:
        raise Damaged("its content cannot be read") from error


def load(path: Path) -> Snapshot:
    """Read and verify one file; raises Damaged, or FileNotFoundError when its writer has just replaced it."""
    match = PATTERN.fullmatch(path.name)
    try:
        data = files.read_bytes(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise Damaged((error.strerror or str(error)).lower()) from error
    if match is None or hashlib.sha256(data).hexdigest()[:16] != match[2]:
        raise Damaged("its content does not match the digest in its name")
    return decode(data)


def save(folder: Path, found: Snapshot) -> Path:
    """Write one file into `folder`, whole or not at all, and return its path; raises RunError."""
    data = encode(found)
    path = folder / f"{found.index:06d}-{hashlib.sha256(data).hexdigest()[:16]}.safetensors"
    try:
        if not folder.is_dir():
            os.mkdir(folder)
            files.sync_folder(folder.parent)
    except OSError as error:
        raise files.failed("write", path, error) from error
    files.write_atomic(path, data)
    return path


def listed(folder: Path) -> list[Path]:
    """Return the snapshot files, newest first; raises RunError when the folder cannot be read."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise files.failed("read", folder, error) from error
    matches = [m for m in map(PATTERN.fullmatch, names) if m]
    return [folder / m[0] for m in sorted(matches, key=lambda m: (int(m[1]), m[0]), reverse=True)]


def index_of(path: Path) -> int:
    """Return the number in a snapshot's file name."""
    match = PATTERN.fullmatch(path.name)
    if match is None:
        raise RunError(f"{path} is not a snapshot")
    return int(match[1])


def prune(folder: Path, keep: set[Path]) -> None:
    """Remove all snapshot files but those in `keep`; one that cannot be removed stays."""
    for path in listed(folder):
        if path not in keep:
            with suppress(OSError):
                os.unlink(path)


def _nothing() -> Tensor:
    return torch.empty(0, dtype=torch.uint8)


def _store(name: str, value: Tensor) -> tuple[Tensor, dict[str, Any]]:
    """Return a contiguous CPU tensor that safetensors takes, and what it takes to undo that."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized or value.is_meta:
        raise UsageError(f"the state holds {name!r}, which is not a dense tensor with values")
    plain = value.detach().resolve_conj().resolve_neg()
    layout: dict[str, Any] = {}
    if not plain.is_contiguous() and _dense(plain) or plain.is_contiguous() and plain.stride() != _strides(plain):
        layout["strides"] = list(plain.stride())  # channels-last weights come back channels-last: kernels differ by it
    flat = plain.cpu().contiguous()
    if flat.dtype not in NATIVE:
        layout |= {"dtype": str(flat.dtype), "shape": list(flat.shape)}
        flat = flat.reshape(-1).view(torch.uint8) if flat.numel() else _nothing()
    return flat, layout


def _restore(flat: Tensor, layout: dict[str, Any] | None) -> Tensor:
    if not layout:
        return flat
    if "dtype" in layout:
        flat = flat.view(DTYPES[layout["dtype"]]).reshape(layout["shape"])
    if "strides" in layout:
        memory = torch.empty(flat.numel(), dtype=flat.dtype)
        flat = memory.as_strided(flat.shape, layout["strides"]).copy_(flat)
    return flat


def _strides(value: Tensor) -> tuple[int, ...]:
    return torch.empty(value.shape, device="meta").stride()


def _dense(value: Tensor) -> bool:
    """Tell whether the elements fill their memory without gap or overlap, in whatever order of dimensions."""
    expected = 1
    for stride, size in sorted(zip(value.stride(), value.shape, strict=True)):
        if size > 1:
            if stride != expected:
                return False
            expected *= size
    return value.numel() > 0
