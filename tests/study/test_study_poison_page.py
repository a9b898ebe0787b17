"""The page of a poisoned space: who suffers follows from the runs, figures are those of the rows, the module runs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from mimar.evaluators.table import Table
from mimar.space import Choice, Space
from mimar.study import poison_page
from mimar.study.poison_page import body, head, html, suffering
from mimar.study.poisoning import Row

STEPS = tuple(0.001 * i for i in range(10))


def rows(loss: float, runs: int = 10) -> list[Row]:
    """A strategy that loses `loss` of every run with one copy, and twice as much with four; another that loses nothing."""
    tests = tuple(0.9 + s for s in STEPS[:runs])
    found = []
    for name, lost in (("fragile", loss), ("sturdy", 0.0)):
        for copies, times in ((0, 0), (1, 1), (4, 2)):
            worse = tuple(t - times * lost for t in tests)
            found.append(Row(name, copies, "none", worse, tuple(t / 2 for t in worse)))
    return found


def test_who_suffers_is_tested_against_the_same_seeds_on_the_clean_space() -> None:
    found = suffering(rows(0.01))
    assert set(found) == {(name, n) for name in ("fragile", "sturdy") for n in (1, 4)}
    assert {key: v.verdict for key, v in found.items() if key[0] == "fragile"} == {
        ("fragile", 1): "worse",
        ("fragile", 4): "worse",
    }
    assert all(v.p == 1.0 and v.verdict != "worse" for (name, _), v in found.items() if name == "sturdy")
    assert found["fragile", 1].corrected == pytest.approx(2 * found["fragile", 1].p)  # Holm over two numbers of copies
    assert suffering(rows(0.01, runs=7)) == {}


def test_the_table_has_the_figures_of_the_rows() -> None:
    made = rows(0.01)
    assert head(made)[:5] == ("strategy", "best, 0 copies", "best, 1 copy", "best, 4 copies", "lost")
    fragile, sturdy = body(made)
    assert fragile == [
        "fragile",
        "90.45 ± 0.30",
        "89.45 ± 0.30 †",
        "88.45 ± 0.30 †",
        "2.00",
        "45.2",
        "44.7",
        "44.2",
        "1.0",
    ]
    assert sturdy[4] == "0.00" and "†" not in " ".join(sturdy)
    assert len(fragile) == len(head(made))


def test_the_page_says_under_which_conditions() -> None:
    page = html(rows(0.01), "table:own.npz", "none", 40)
    assert "40 queries a search, 10 runs each; no guard" in page
    assert page.count("<svg") == 2 and "fragile" in page and "http://" not in page.replace("http://www.w3.org", "")


def test_the_module_measures_recipes_on_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    space = Space([Choice(f"e{i}", ("none", "a", "b", "c")) for i in range(4)])
    codes = np.indices((4,) * 4).reshape(4, -1).T
    good = codes.sum(1) / 12
    Table.from_arrays(space, {"valid_accuracy": good}, codes=codes, final={"test_accuracy": good}).save(
        tmp_path / "t.npz"
    )
    out = tmp_path / "new" / "page.html"
    words = ["--task", f"table:{tmp_path / 't.npz'}", "--copies", "12", "--queries", "20", "--runs", "8"]

    def run(*more: str, names: tuple[str, ...] = ("random", "local-search")) -> str:
        monkeypatch.setattr(sys, "argv", ["poison_page", *names, *words, "--out", str(out), *more])
        poison_page.main()
        return capsys.readouterr().out

    plain = run()
    assert out.is_file() and "best, 12 copies" in plain and plain.count("\n") == 4
    lost = {line.split()[0]: float(line.split()[-1]) for line in plain.splitlines()[1:3]}
    assert lost["random"] > 20  # (0 + 1 + 2 + 3) / 4 of 3 by 6 / 16 of 3: 50 to 12.5 %
    assert "nan" not in run("--runs", "1").lower()  # no spread, no test, but a page
    wrong = {
        "guard 'merged' needs a space that knows": ("--guard", "merged"),
        "no choice": ("--option", "nothing"),
        "invalid copies value: 'many'": ("--copies", "many"),
        "at least one run": ("--runs", "0"),
    }
    for sentence, more in wrong.items():
        with pytest.raises(SystemExit) as ended:
            run(*more)
        assert ended.value.code == 2 and sentence in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(names=("idarts",))
    assert "idarts trains weights" in capsys.readouterr().err
