"""What a step of a supernet will hold in memory, estimated before it is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mimar.supernet.supernet import Gates, Supernet


def saved_bytes(supernet: Supernet, gates: Gates, x: Any) -> int:
    """Return the bytes that one forward pass in training mode keeps for its backward pass, each storage once.

    Parameters and buffers are not counted. Grows linearly with the batch, so that a small `x` can stand for a large one.
    """
    known = {w.untyped_storage().data_ptr() for w in (*supernet.weights, *supernet.buffers)}
    found: dict[int, tuple[int, Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            found[storage.data_ptr()] = (storage.nbytes(), tensor)  # held, so that no address is used twice
        return tensor

    weights = tuple(w.detach().requires_grad_(w.is_floating_point()) for w in supernet.weights)
    held = {name: g.detach().requires_grad_() for name, g in gates.items()}
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        supernet.call(weights, held, x, training=True)
    return sum(size for size, _ in found.values())


def step_bytes(supernet: Supernet, gates: Gates, x: Tensor, batch: int) -> int:
    """Estimate the bytes of one weight step on `batch` samples from a few samples `x`: activations, and four copies of
    the weights (value, gradient, momentum, and the running copy of the buffers' size)."""
    weights = sum(w.numel() * w.element_size() for w in supernet.weights)
    return 4 * weights + saved_bytes(supernet, gates, x) * batch // len(x)


def free_bytes(device: str) -> int | None:
    """Return the memory that is free on a device, None where the system does not tell."""
    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), None)
