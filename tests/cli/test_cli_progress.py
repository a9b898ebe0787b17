"""The display: what it says of events, when, and how long it believes the rest takes."""

from __future__ import annotations

import io
import warnings

import pytest
from rich.console import Console

from mimar.cli.progress import Clock, Display
from mimar.core.events import Event, Record, Step


class Watch:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


def noted(clock: Clock, watch: Watch, phase: str, label: str, steps: int, total: int, each: float) -> None:
    for done in range(1, steps + 1):
        watch.time += each
        clock.note(Step(phase, label, done, total))


def test_time_left_of_a_search_with_unknown_baseline() -> None:
    watch = Watch()
    clock = Clock(None, watch)
    noted(clock, watch, "search", "search", 10, 40, 1.0)
    assert clock.left() == "at least 1 min 10 s left (random networks: number not known yet)"
    noted(clock, watch, "search", "search", 40, 40, 0.0)
    noted(clock, watch, "retrain", "retrain", 5, 10, 1.0)
    assert clock.whole["retrain"] == 10.0
    assert clock.left().startswith("about") and clock.left().endswith("(random networks: number not known yet)")


def test_time_left_counts_all_networks_once_they_are_known() -> None:
    watch = Watch()
    clock = Clock(None, watch)
    noted(clock, watch, "baseline", "random 2 of 4", 5, 10, 2.0)
    assert clock.left() == "50 s left"  # half of one network, and two more of 20 s


def test_time_left_with_a_given_baseline() -> None:
    watch = Watch()
    clock = Clock(2, watch)
    noted(clock, watch, "search", "search", 10, 40, 1.0)
    assert clock.left() == "30 s of search left, then 3 networks to train"
    noted(clock, watch, "retrain", "retrain", 5, 10, 2.0)
    assert clock.left() == "50 s left"


def test_resumed_run_is_not_credited_with_steps_of_another_sitting() -> None:
    watch = Watch()
    clock = Clock(0, watch)
    watch.time += 2.0
    clock.note(Step("retrain", "retrain", 51, 100))
    assert clock.whole["retrain"] == 200.0
    assert clock.left() == "1 min 38 s left"


def events() -> list[Event]:
    epoch = {"event": "epoch", "phase": "search", "epochs": 3, "train_loss": 1.25, "entropy": 0.875, "skips": 2}
    return [
        Step("search", "search", 1, 30, {"loss": 1.5, "implicit": 0.125}),
        Record({**epoch, "epoch": 1, "hyper": {"share": 0.25}}),
        Record({"event": "warned", "name": "series", "text": "the series grows"}),
        Record({"event": "warned", "name": "series", "text": "the series grows"}),
        Record({**epoch, "epoch": 2, "hyper": {}}),
    ]


def test_without_a_terminal_one_line_an_epoch_at_most_every_five_seconds() -> None:
    out, watch = io.StringIO(), Watch()
    with Display(0, Console(file=out, width=400)) as display:
        display.clock = Clock(0, watch)
        for event in events():
            display(event)
        watch.time += 5.1
        for event in events():
            display(event)
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(
        "search: epoch 1 of 3, loss 1.25, implicit share 25.00 %, entropy 0.875, skips 2, 0.0 s of search left"
    )
    assert lines[1] == "warning: the series grows"
    assert lines[2].startswith("search: epoch 1 of 3")


def test_on_a_terminal_a_bar_with_figures_below_it() -> None:
    out = io.StringIO()
    with Display(None, Console(file=out, width=120, force_terminal=True, color_system=None)) as display:
        for event in events():
            display(event)
        assert display.live is not None
        display.live.refresh()
    text = out.getvalue()
    assert "search" in text and "3 %" in text and "left (random networks: number not known yet)" in text
    assert "implicit share 25.00 %, entropy 0.875, skips 2" in text
    assert text.count("the series grows") == 1


def test_warnings_of_python_are_shown_once_and_the_hook_is_given_back() -> None:
    out, before = io.StringIO(), warnings.showwarning
    with Display(0, Console(file=out, width=200)):
        warnings.simplefilter("always")
        for _ in range(2):
            warnings.warn("something is odd", UserWarning, stacklevel=1)
    assert out.getvalue() == "warning: something is odd\n"
    assert warnings.showwarning is before


def test_display_ends_with_the_error_that_ended_the_search() -> None:
    with pytest.raises(RuntimeError, match="boom"), Display(0, Console(file=io.StringIO())):
        raise RuntimeError("boom")
