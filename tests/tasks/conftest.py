"""Fixtures of the tasks' tests: empty places, and small files in the published formats."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from mimar.tasks import locate


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """Point $MIMAR_DATA and the cache to empty folders."""
    monkeypatch.setenv("MIMAR_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def cifar_images():
    """Six batches of 30 random images with labels 0 … 9 in turn."""
    rng = np.random.default_rng(0)
    return [(rng.integers(0, 256, (30, 3072), dtype=np.uint8), [i % 10 for i in range(30)]) for _ in range(6)]


@pytest.fixture
def cifar_binary(tmp_path, cifar_images):
    folder = tmp_path / "binary"
    folder.mkdir()
    for name, (x, y) in zip(locate.CIFAR_BINARY, cifar_images, strict=True):
        rows = np.concatenate([np.array(y, dtype=np.uint8)[:, None], x], axis=1)
        (folder / name).write_bytes(rows.tobytes())
    return folder


@pytest.fixture
def cifar_python(tmp_path, cifar_images):
    folder = tmp_path / "python"
    folder.mkdir()
    for i, (name, (x, y)) in enumerate(zip(locate.CIFAR_PYTHON, cifar_images, strict=True)):
        protocol = (2, 3, 4, 5, 2, 4)[i]
        (folder / name).write_bytes(pickle.dumps({b"data": x, b"labels": y, b"batch_label": b"x"}, protocol=protocol))
    return folder


@pytest.fixture
def pictures(tmp_path):
    """A folder with two classes of six images each, in several modes and sizes; beside them what is no image."""
    from PIL import Image

    rng = np.random.default_rng(1)
    folder = tmp_path / "pictures"
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for i in range(6):
            level = 40 + 150 * label
            pixels = rng.integers(level, level + 30, (20 + i, 30, 3), dtype=np.uint8)
            mode = ("RGB", "L", "P", "RGBA", "RGB", "1" if label else "L")[i]
            Image.fromarray(pixels).convert(mode).save(folder / name / f"{i}.png")
    (folder / "dog" / "notes.txt").write_text("not an image")
    (folder / ".hidden").mkdir()
    return folder


@pytest.fixture
def written(tmp_path):
    def write(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    return write
