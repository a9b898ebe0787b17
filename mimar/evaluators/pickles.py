"""Data that others wrote as pickles, opened without executing anything of theirs."""

from __future__ import annotations

import pickle
import warnings
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mimar.core.errors import DataError

# Where containers and NumPy's own functions were found by the versions that wrote such files.
_NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
_CONTAINERS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): defaultdict,
    **{
        (module, kind.__name__): kind
        for module in ("builtins", "__builtin__")
        for kind in (dict, list, tuple, set, frozenset, int, float, bool, str, bytes, complex)
    },
}


class Readable(Protocol):
    """What pickles are read from."""

    def read(self, size: int, /) -> bytes: ...

    def readline(self) -> bytes: ...


def restricted(file: Readable, name: str) -> Any:
    """Return what a pickle holds if that is plain: containers, numbers, texts, NumPy scalars and arrays.

    Raises DataError, naming what else it asks for, before anything of it is called.
    """
    try:
        return _Unpickler(file).load()
    except DataError as error:
        raise DataError(f"{name} {error}") from None
    except (
        pickle.UnpicklingError,
        EOFError,
        AttributeError,
        ImportError,
        IndexError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:
        raise DataError(f"{name} is not a pickle that can be read: {' '.join(str(error).split())[:160]}") from None


def torch_file(path: Path) -> Any:
    """Return what a file of torch holds, by `torch.load(weights_only=True)` with NumPy's scalars and arrays allowed.

    Raises DataError where it holds anything else or is damaged.
    """
    import torch

    kinds = [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "?")]
    plain = [np.ndarray, np.dtype, np._core.multiarray.scalar, np._core.multiarray._reconstruct, *kinds]  # type: ignore[attr-defined]
    named = [(f, f"{module}.{f.__name__}") for f in plain[2:4] for module in _NUMPY]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([*plain, *named]):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
    ) as error:
        text = " ".join(str(error).split())
        refused = "Weights only load failed" in text or "Unsupported" in text
        said = "it holds more than numbers and containers, or is damaged" if refused else text[:160]
        raise DataError(f"{path} cannot be read as a file of torch: {said}") from None


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _CONTAINERS:
            return _CONTAINERS[module, name]
        if module in _NUMPY and name in ("scalar", "_reconstruct"):
            return getattr(np._core.multiarray, name)  # type: ignore[attr-defined]
        if (module, name) in ((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")):
            return np._core.numeric._frombuffer  # type: ignore[attr-defined]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return _latin1
        raise DataError(f"asks for {module}.{name}: only plain containers, numbers and arrays are opened")

    def persistent_load(self, pid: Any) -> Any:
        raise DataError("refers to objects outside of itself: only plain containers, numbers and arrays are opened")


def _latin1(text: str, encoding: str) -> bytes:
    """Return the bytes that protocol 2 writes as a text; another encoding is none that it uses."""
    if encoding != "latin1":
        raise DataError(f"asks for the encoding {encoding}: only plain containers, numbers and arrays are opened")
    return text.encode("latin1")
