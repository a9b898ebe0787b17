"""The display of a running search on stderr: a live line on a terminal, else a line per epoch at most every 5 s."""

from __future__ import annotations

import math
import re
import time
import warnings
from collections.abc import Callable
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mimar.core.events import Event, Step
from mimar.core.units import count, percent, seconds

QUIET = 5.0  # seconds between two lines where there is no terminal
SAID = {"implicit": "implicit share", "s": "simulated seconds"}  # what a step calls it: what a person reads
SHARES = ("implicit share", "accuracy", "valid accuracy")
FEWEST = 3  # random networks that a search trains at least, unless told otherwise


class Clock:
    """Estimates the time left for all phases from the seconds that a step of each takes."""

    def __init__(self, baseline: int | None, now: Callable[[], float] = time.monotonic) -> None:
        self.baseline, self.now = baseline, now
        self.stage = ("", "")
        self.done = self.total = self.first = 0
        self.asks = False  # the steps are queries
        self.begun = self.last = now()
        self.whole: dict[str, float] = {}  # phase: seconds of all of its steps, or of one network

    def note(self, step: Step) -> None:
        """Take a step into account."""
        asks, now = "queries" in step.figures, self.now()
        if (step.phase, step.label, asks) != (*self.stage, self.asks):
            self.stage, self.asks = (step.phase, step.label), asks
            # a step of queries may be many at once: from its end on they can be timed
            self.first, self.begun = (step.done, now) if asks else (step.done - 1, self.last)
            self.whole.pop(step.phase, None)
        self.done, self.total, self.last = step.done, step.total, now
        if step.done > self.first and step.total > 1:
            self.whole[step.phase] = step.total * (self.last - self.begun) / (step.done - self.first)

    def left(self) -> str:
        """Say how long it will still take, and what is not known yet."""
        phase, whole = self.stage[0], self.whole.get(self.stage[0], 0.0)
        rest = whole * (1 - self.done / max(self.total, 1))
        if self.asks:
            return f"{seconds(rest)} of search left" if whole else "time left: not known yet"
        if phase == "search" and self.baseline is None:  # the random networks cost as much as search and retraining
            return f"at least {seconds(rest + self.whole['search'])} left (random networks: number not known yet)"
        if phase == "search":
            n = 1 + (self.baseline or 0)
            return f"{seconds(rest)} of search left, then {n} network{'s' * (n > 1)} to train"
        if phase == "retrain" and self.baseline is None:
            n = max(FEWEST, math.ceil((self.whole.get("search", 0.0) + whole) / whole)) if whole else FEWEST
            return f"about {seconds(rest + n * whole)} left (random networks: number not known yet)"
        if phase == "retrain":
            return f"{seconds(rest + (self.baseline or 0) * whole)} left"
        place = re.search(r"(\d+) of (\d+)", self.stage[1])
        more = int(place[2]) - int(place[1]) if place else 0
        return f"{seconds(rest + more * whole)} left"


class Display:
    """A consumer of events: phase, bar, time left, loss, entropy, skips, share of the implicit term; warnings once."""

    def __init__(self, baseline: int | None, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.clock = Clock(baseline)
        self.figures: dict[str, str] = {}
        self.warned: set[str] = set()
        self.caption, self.said = "", -math.inf
        self.live: Live | None = None
        if self.console.is_terminal:
            self.live = Live(console=self.console, get_renderable=self._drawn, refresh_per_second=4, transient=True)

    def __enter__(self) -> Self:
        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.showwarning = lambda message, *_, **__: self.warn(str(message))
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()
        self._caught.__exit__(None, None, None)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Step):
            if event.label != self.caption:
                self.caption, self.figures = event.label, {}
            self.clock.note(event)
            told = {SAID.get(name, name): value for name, value in event.figures.items()}
            self.figures |= {name: _figure(name, value) for name, value in told.items()}
            if "queries" in event.figures and event.done < event.total:
                self._line_of(f"{self.caption}:")
        elif event.data["event"] == "forecast":
            said = f"{event.data['choices']} choices; a weight step needs about {count(event.data['step_bytes'])}B"
            self.console.print(said, markup=False, highlight=False, soft_wrap=True)
        elif event.data["event"] == "warned":
            self.warn(event.data["text"])
        elif event.data["event"] == "epoch":
            self._epoch(event.data)

    def warn(self, text: str) -> None:
        """Show a warning, once."""
        if text not in self.warned:
            self.warned.add(text)
            self.console.print(f"warning: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)

    def _epoch(self, told: dict[str, Any]) -> None:
        hyper = told.get("hyper") or {}
        known = {"loss": told.get("train_loss"), "valid accuracy": told.get("valid_accuracy")}
        known |= {"entropy": told.get("entropy"), "skips": told.get("skips"), "implicit share": hyper.get("share")}
        self.figures |= {name: _figure(name, value) for name, value in known.items() if value is not None}
        self._line_of(f"{self.caption}: epoch {told['epoch']} of {told['epochs']},")

    def _line_of(self, head: str) -> None:
        """Print a line where there is no terminal and none was printed for a while."""
        if self.live is None and self.clock.now() - self.said >= QUIET:
            self.said = self.clock.now()
            self.console.print(f"{head} {self._line()}, {self.clock.left()}", markup=False, highlight=False, soft_wrap=True)  # fmt: skip

    def _line(self) -> str:
        return ", ".join(f"{name} {text}" for name, text in self.figures.items())

    def _drawn(self) -> Group | Text:
        """Return what a terminal shows: the bar, the time left, the figures."""
        clock = self.clock
        if not clock.total:
            return Text("preparing …")
        row = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=clock.total, completed=clock.done, width=24)
        row.add_row(self.caption, bar, f"{100 * clock.done // clock.total} %")
        return Group(row, Text(clock.left()), Text(self._line(), style="dim"))


def _figure(name: str, value: float) -> str:
    if name in SHARES or name.endswith(" accuracy"):
        return percent(value)
    if abs(value) >= 1e4:
        return count(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
