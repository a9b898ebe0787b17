"""The conditions of a number: which software, how many threads, which device."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

import torch


def versions(device: torch.device | str = "cpu") -> dict[str, str | int]:
    """Return versions of mimar, torch and Python, the platform, the thread count, and the name of `device`.

    `instructions` is the CPU's vector instruction set: results repeat bit for bit only where it and `threads` agree.
    """
    return {
        "mimar": _own(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "threads": torch.get_num_threads(),
        "device": _name(torch.device(device)),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def _own() -> str:
    try:
        return metadata.version("mimar")
    except metadata.PackageNotFoundError:
        return "not installed"


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [text.partition(":")[2].strip() for text in lines if text.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
