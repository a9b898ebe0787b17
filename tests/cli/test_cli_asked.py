"""Black-box searches on the command line: what is told of a table, going on where one stopped, what makes no sense there."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from mimar import runs
from mimar.cli import seeds, work
from mimar.cli.progress import Clock, Display
from mimar.core.events import Event, Step
from mimar.core.units import cost
from mimar.evaluators.table import Table
from mimar.recipes import random, regularized_evolution
from mimar.search import Result, Trials
from mimar.space import Architecture, Choice, Space

SPACE = Space([Choice("a", ("0", "1", "2", "3")), Choice("b", ("0", "1", "2", "3")), Choice("c", ("0", "1", "2", "3"))])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of a table that counts seconds and whose verdict is an error."""
    errors = [(i * 29 % 64 + 1) / 64 for i in range(64)]
    known = {"params": [float(1000 * (i % 8 + 1)) for i in range(64)]}
    path = tmp_path_factory.mktemp("table") / "own.npz"
    Table.from_arrays(
        SPACE,
        {"valid_mse": errors},
        minimise=["valid_mse", "test_mse"],
        final={"test_mse": errors[::-1]},
        known=known,
        seconds=[100.0 + i for i in range(64)],
    ).save(path)
    return path


def rows(stdout: str) -> dict[str, str]:
    return {line[:15].strip(): line[15:] for line in stdout.splitlines()}


def test_a_search_on_a_table_is_told_in_its_own_words(mimar, table: Path, tmp_path: Path) -> None:
    words = ("search", "regularized-evolution", "queries=30", "population=5", "sample=2", "--task", f"table:{table}")
    done = mimar(*words, "--out", tmp_path / "r")
    assert done.exit_code == 0, done.stderr
    found, told = json.loads((tmp_path / "r" / "result.json").read_text()), rows(done.stdout)
    assert told["test mse"] == f"{found['metrics']['test_mse']:.4g}" and "test accuracy" not in told
    assert told["random"].startswith("best 0.") and told["random"].endswith("(n = 30)") and "%" not in told["random"]
    assert told["search"] == f"30 queries, {found['ledger']['cost']:,.0f} s simulated"
    assert "MACs" not in told and told["parameters"].endswith("k")
    assert (
        told["report"] == str(tmp_path / "r" / "report.html")
        and "<html" in (tmp_path / "r" / "report.html").read_text()
    )
    assert "best valid mse 0." in done.stderr and "random networks" not in done.stderr
    again = mimar("resume", tmp_path / "r")
    assert {k: v for k, v in rows(again.stdout).items() if k != "time"} == {
        k: v for k, v in told.items() if k != "time"
    }


def test_the_front_the_workers_and_the_failures_are_told(mimar, table: Path, tmp_path: Path) -> None:
    protocol = (
        "trials.objective=valid_mse,params",
        "trials.workers=3",
        "trials.timeout=130",
        "trials.limits=params<=6000",
    )
    done = mimar("search", "random", "seconds=900", *protocol, "--task", f"table:{table}", "--out", tmp_path / "r")
    found, told = json.loads((tmp_path / "r" / "result.json").read_text()), rows(done.stdout)
    ledger = found["ledger"]
    assert told["front"] == f"{len(found['front'])} architectures"
    lost = ledger["failed"] + ledger["infeasible"]
    assert lost > 0 and ledger["clock"] == 900.0 < ledger["cost"]
    text = (
        f"{ledger['queries']} queries, {ledger['cost']:,.0f} s simulated (900 s on the clock), {lost} failed or refused"
    )
    assert told["search"] == text


@pytest.mark.parametrize("words", [("export", "--format", "torch"), ("retrain",)], ids=str)
def test_a_table_has_no_network(mimar, table: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    random.recipe(task=f"table:{table}", queries=3).run(tmp_path / "named")
    random.recipe(task=Table.load(table), queries=3).run(tmp_path / "own")
    for name in ("named", "own"):
        done = mimar(words[0], tmp_path / name, *words[1:])
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "looked its figures up in a table and trained nothing" in done.stderr and "--task digits" in done.stderr


def test_a_search_on_a_table_goes_on_where_it_stopped(mimar, table: Path, tmp_path: Path) -> None:
    def search() -> object:
        protocol = Trials(scheduler="synchronous:batch=3", workers=3)
        return regularized_evolution.recipe(task=f"table:{table}", queries=90, population=8, sample=3, trials=protocol)

    whole = search().run(tmp_path / "whole")  # type: ignore[attr-defined]
    left = iter(range(2))

    def stop(event: Event) -> None:
        if isinstance(event, Step) and next(left, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search().run(tmp_path / "cut", progress=stop)  # type: ignore[attr-defined]
    assert not (tmp_path / "cut" / "result.json").exists()
    done = mimar("resume", tmp_path / "cut", "--json")
    assert done.exit_code == 0, done.stderr
    assert {k: v for k, v in json.loads(done.stdout).items() if k not in ("seconds", "run")} == json.loads(
        json.dumps(whole.data)
    )
    with runs.open_run(tmp_path / "cut") as cut, runs.open_run(tmp_path / "whole") as other:
        assert list(cut.events()) == list(other.events())


def test_a_table_of_ones_own_continues_from_python_only(mimar, table: Path, tmp_path: Path) -> None:
    random.recipe(task=Table.load(table), queries=3).run(tmp_path / "own")
    done = mimar("resume", tmp_path / "own")
    assert done.exit_code == 1 and "your own Table" in done.stderr and ".run(folder, resume=True)" in done.stderr


def test_seeds_of_a_table_are_summed_up_by_its_verdict(table: Path, tmp_path: Path) -> None:
    found = {s: random.recipe(task=f"table:{table}", queries=9, seed=s).run().data for s in (0, 1)}
    held = seeds.summary(found)
    figures = [found[s]["metrics"]["test_mse"] for s in (0, 1)]
    assert held["metrics"] == {
        "test_mse": {"n": 2, "mean": sum(figures) / 2, "std": pytest.approx(abs(figures[0] - figures[1]) / 2**0.5)}
    }
    told = seeds.told(found, tmp_path)
    assert told.startswith(f"test mse       {sum(figures) / 2:.4g} ± ") and "%" not in told


def test_long_names_push_the_column(tmp_path: Path) -> None:
    head = {"recipe": "random", "layout": None}
    runs.create(tmp_path / "r", head).close()
    data = {"measures": [["valid_balanced_accuracy", "max", "fraction"]], "metrics": {"test_balanced_accuracy": 0.5}}
    result = Result(Architecture({"a": "x"}), None, {"test_balanced_accuracy": 0.5}, {"random": {"n": 0}}, data)
    lines = work.told(result, tmp_path / "r", None).splitlines()
    assert lines[1] == "test balanced accuracy  0.5" and lines[2] == "random                  none"


def test_costs_have_their_unit() -> None:
    given = [(12_000.0, "s"), (12.34, "s"), (0.0, "s"), (1.25e9, "MACs"), (150, "queries")]
    assert [cost(v, unit) for v, unit in given] == ["12,000 s", "12.3 s", "0 s", "1.25 G MACs", "150 queries"]


# --- the display --------------------------------------------------------------------------------------------------


class Watch:
    def __init__(self) -> None:
        self.time = 50.0

    def __call__(self) -> float:
        return self.time


def asked(watch: Watch, each: float) -> Iterator[Step]:
    for done in (25, 50, 75, 100):
        watch.time += each
        figures = {"s": 120.0 * done, "queries": done, "best valid accuracy": 0.8 + done / 1000}
        yield Step("search", "search", done, 100, figures, boundary=done == 100)


def test_time_left_of_queries_that_come_many_at_once() -> None:
    watch = Watch()
    clock, told = Clock(None, watch), []
    for step in asked(watch, 5.0):
        clock.note(step)
        told.append(clock.left())
    assert told == ["time left: not known yet", "10 s of search left", "5.0 s of search left", "0.0 s of search left"]


def test_queries_after_epochs_are_timed_anew() -> None:
    watch = Watch()
    clock = Clock(0, watch)
    for done in (1, 2):
        watch.time += 60.0
        clock.note(Step("search", "search", done, 2))
    for step in list(asked(watch, 0.0))[:2]:
        watch.time += 1.0
        clock.note(step)
    assert clock.left() == "2.0 s of search left"


def test_a_line_says_both_currencies_and_the_best_so_far() -> None:
    out, watch = io.StringIO(), Watch()
    with Display(None, Console(file=out, width=400)) as display:
        display.clock = Clock(None, watch)
        for step in asked(watch, 6.0):
            display(step)
    lines = out.getvalue().splitlines()
    assert (
        lines[0] == "search: simulated seconds 3000, queries 25, best valid accuracy 82.50 %, time left: not known yet"
    )
    assert lines[1] == "search: simulated seconds 6000, queries 50, best valid accuracy 85.00 %, 12 s of search left"
    assert len(lines) == 3  # the end has no line of its own: the result follows
