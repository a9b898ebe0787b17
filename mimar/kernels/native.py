"""The compiled library: found, loaded and described. Without it every kernel has a pure-torch twin that serves instead."""

from __future__ import annotations

import ctypes
from array import array
from enum import IntEnum
from functools import cache
from pathlib import Path

import torch

INTERFACE = 3  # of the layout of programs; `mimar_interface` of the library must agree
SETS = ("generic", "avx2", "avx512")
CAPABILITY = {"AVX2": 1, "AVX512": 2}  # torch's words for the sets above the generic one


class Pass(IntEnum):
    """What a program is run for."""

    FORWARD = 0
    BACKWARD = 1
    TANGENT = 2
    TANGENT_BACKWARD = 3
    POOL = 4


@cache
def compiled() -> ctypes.CDLL | None:
    """Return the compiled library, or None where it was not built or belongs to another version."""
    path = Path(__file__).with_name("_native.so")
    try:
        found = ctypes.CDLL(str(path))  # torch is loaded already, so that both share one OpenMP
    except OSError:
        return None
    found.mimar_interface.restype = found.mimar_best.restype = ctypes.c_int64
    if found.mimar_interface() != INTERFACE:
        return None
    found.mimar_execute.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]
    found.mimar_depthwise.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    found.mimar_execute.restype = found.mimar_depthwise.restype = None
    return found


@cache
def instruction_set() -> int:
    """Return the number in `SETS` of the best instruction set that torch uses here too; −1 where nothing was built."""
    found = compiled()
    used = CAPABILITY.get(torch.backends.cpu.get_cpu_capability(), 0)
    return -1 if found is None else min(int(found.mimar_best()), used)


def described() -> str:
    """Return which kernels are in use, in a word: the instruction set, or `torch` for the twins."""
    best = instruction_set()
    return SETS[best] if best >= 0 else "torch"


def execute(words: array[int], what: Pass) -> None:
    """Run a program; its addresses must stay alive meanwhile. Threads follow torch's setting."""
    found = compiled()
    assert found is not None
    found.mimar_execute(words.buffer_info()[0], int(what), instruction_set())


def depthwise(words: array[int]) -> None:
    """Run one call of csrc/single.h; its addresses must stay alive meanwhile."""
    found = compiled()
    assert found is not None
    found.mimar_depthwise(words.buffer_info()[0], instruction_set())


def serves(*tensors: torch.Tensor) -> bool:
    """Tell whether the compiled kernels can work on these tensors: float32 or float64, one type, in main memory."""
    kind = tensors[0].dtype
    return (
        compiled() is not None
        and kind in (torch.float32, torch.float64)
        and all(t.dtype == kind and t.device.type == "cpu" for t in tensors)
    )
