"""The compiled library: found or not, described, and when it serves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mimar.kernels import native, programs

built = pytest.mark.skipif(native.compiled() is None, reason="the compiled kernels were not built")


@built
def test_the_library_is_of_this_version_and_described() -> None:
    found = native.compiled()
    assert found is not None and found.mimar_interface() == native.INTERFACE
    assert native.described() == native.SETS[native.instruction_set()]


@built
def test_a_library_of_another_version_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "INTERFACE", native.INTERFACE + 1)
    assert native.compiled.__wrapped__() is None


def test_without_a_library_the_twins_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "__file__", str(tmp_path / "native.py"))
    absent = native.compiled.__wrapped__
    assert absent() is None
    (tmp_path / "_native.so").write_bytes(b"not a library")
    assert absent() is None
    monkeypatch.setattr(native, "compiled", absent)
    monkeypatch.setattr(native, "instruction_set", native.instruction_set.__wrapped__)
    assert native.instruction_set() == -1 and native.described() == "torch"
    assert not native.serves(torch.ones(2))


@built
def test_it_serves_float32_and_float64_of_one_type_in_main_memory() -> None:
    single, double = torch.ones(2), torch.ones(2).double()
    assert native.serves(single, single) and native.serves(double)
    assert not native.serves(single, double)
    for other in (single.half(), single.bfloat16(), single.long(), torch.ones(2, device="meta")):
        assert not native.serves(other, other)
        assert not native.serves(single, other)


def test_threads_follow_torch_where_they_pay() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert programs.threads((8, 16, 16, 16)) == 2
        assert programs.threads((2, 4, 4, 4)) == 1
    finally:
        torch.set_num_threads(before)


@built
def test_one_openmp_serves_both() -> None:
    """Two of them in one process would fight for the cores."""
    code = (
        "import torch\nfrom mimar.kernels import native\nassert native.compiled()\n"
        "maps = open('/proc/self/maps').read().split()\n"
        "print(len({path for path in maps if 'libgomp' in path or 'libomp' in path or 'libiomp' in path}))"
    )
    if not Path("/proc/self/maps").exists():
        pytest.skip("no list of loaded libraries on this system")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == 1
