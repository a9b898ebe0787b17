"""What every test shares: one thread a worker, repeatable Hypothesis, and data sets whose absence is loud.

A test that needs a data set asks for it by the fixture: `path = needs_data("nas/nasbench201.npz")`, a file under the
folder $MIMAR_DATA, or `needs_data("fashion-mnist")`, a name that `mimar.tasks.locate` knows. When it is absent the test
is skipped and the data set is listed after the results. With MIMAR_STRICT_DATA=1 a skip for data that is there fails.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

ABSENT = "data absent: "

hypothesis.settings.register_profile("mimar", derandomize=True, deadline=None, database=None)
hypothesis.settings.load_profile("mimar")


def pytest_configure(config: pytest.Config) -> None:
    """Give each of several workers one thread: they share the machine, and sums must not depend on their number."""
    if hasattr(config, "workerinput"):
        import torch

        torch.set_num_threads(1)


def data_folder() -> Path | None:
    """Return the folder $MIMAR_DATA, or None when it is not set or not there."""
    folder = Path(os.environ.get("MIMAR_DATA", ""))
    return folder if os.environ.get("MIMAR_DATA") and folder.is_dir() else None


def find_data(name: str) -> Path | None:
    """Return where the file (under $MIMAR_DATA) or the data set called `name` lies, or None."""
    folder = data_folder()
    if folder is not None and (folder / name).exists():
        return folder / name
    if Path(name).suffix:  # a file, not the name of a data set
        return None
    from mimar.core.errors import DataAbsentError
    from mimar.tasks import locate

    try:
        return Path(locate.find(name))
    except DataAbsentError:
        return None


@pytest.fixture(scope="session")
def needs_data() -> Callable[[str], Path]:
    """Return a function from the name of a data set to its path; it skips the test, loudly, when it is absent."""

    def require(name: str) -> Path:
        path = find_data(name)
        if path is None:
            pytest.skip(ABSENT + name)
        return path

    return require


def _present(reason: str) -> str | None:
    """Return the data that a skip's reason names although it is there."""
    if reason.startswith(ABSENT):
        name = reason.removeprefix(ABSENT)
        return name if find_data(name) is not None else None
    folder = data_folder()
    words = set(re.findall(r"[\w.-]+", reason))
    files = sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder else []
    return next((name for name in files if name in words), None)


def _audit(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip for data that is there into a failure."""
    if os.environ.get("MIMAR_STRICT_DATA") != "1" or not report.skipped or not isinstance(report.longrepr, tuple):
        return
    name = _present(report.longrepr[2].removeprefix("Skipped: "))
    if name is not None:
        report.outcome = "failed"
        report.longrepr = f"skipped for data that is there: {name}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, pytest.TestReport]:
    """Audit the skip of a test."""
    report = yield
    _audit(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, pytest.CollectReport]:
    """Audit the skip of a whole file."""
    report = yield
    _audit(report)
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """List the data sets for which tests were skipped."""
    reasons = [r.longrepr[2] for r in terminalreporter.stats.get("skipped", []) if isinstance(r.longrepr, tuple)]
    absent = Counter(text.partition(ABSENT)[2] for text in reasons if ABSENT in text)
    if absent:
        terminalreporter.section("data that is not on this machine", yellow=True)
        for name, times in sorted(absent.items()):
            terminalreporter.line(f"{name}: {times} test{'s' if times > 1 else ''} skipped", yellow=True)
