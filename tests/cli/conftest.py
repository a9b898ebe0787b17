"""What the tests of the command line share: one thread and a way to call it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from typer.testing import CliRunner, Result

from mimar.cli.app import app

Mimar = Callable[..., Result]


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Set torch to one thread for as long as the tests of this room may need it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def mimar(one_thread: None) -> Mimar:
    """Return a function that runs the command line in this process."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], prog_name="mimar")
