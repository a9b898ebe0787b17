"""Tables as files: what is written is read again, damage is told, CSV files are read by the rule of their header."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mimar.core.errors import DataAbsentError, DataError, UsageError
from mimar.core.streams import Draws
from mimar.evaluators import benchmarks
from mimar.evaluators.table import Table
from mimar.evaluators.table_file import arrays
from mimar.space import Architecture, Choice, Proposal, Space, nasbench201
from mimar.space.dag import dag

SMALL = Space([Choice("width", (8, 16), "size"), Choice("norm", ("batch", "layer"))])
CONDITIONAL = Space(
    [
        Choice("op", ("conv", "pool", "skip"), prior=(2, 1, 1)),
        Choice("kernel", (3, 5), "size", when=(("op", "conv"),)),
        Choice("inputs", ("a", "b", "c"), "some", 2, never=()),
        Choice("rate", (0.1, 0.25), when=(("op", "pool"), ("op", "skip"))),
    ]
)


def small(**more: Any) -> Table:
    figures = {"valid_loss": [[[4.0, 3, 2, 1]] * 2, [[3, 2, 1, np.nan], [1, 1, 1, 1]]]}
    given: dict[str, Any] = {
        "final": {"test_loss": [1.5, 2, 3, 4]},
        "known": {"params": [1, 2, 3, 4], "speed": [4, 3, 2, 1]},
    }
    given |= {"seconds": [[1] * 4, [2] * 4], "fidelities": (0.5, 4), "minimise": ["valid_loss", "test_loss"]}
    given |= {"maximise": ["speed"], "units": {"valid_loss": "nats"}, "unit": "min", "default": 0.5, "single": True}
    return Table.from_arrays(SMALL, figures, **{**given, "resumes": True, "budget": 7.0, "name": "mine", **more})


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    table, path = small(), tmp_path / "mine.npz"
    table.save(path)
    other = Table.load(path)
    plain = ("name", "fidelities", "default", "single", "resumes", "budget", "unit", "measures")
    assert [getattr(other, key) for key in plain] == [getattr(table, key) for key in plain]
    assert other.digest() == table.digest() and other.space.to_json() == SMALL.to_json()
    assert [c.measure for c in other.final] == [("test_loss", "min", "")]
    for arch in SMALL.enumerate():
        for level in (0.5, 4):
            proposal = Proposal(arch, level)
            assert other.evaluate(proposal, rng=Draws(0)) == table.evaluate(proposal, rng=Draws(0))
        assert (other.costs(arch), other.verdict(arch)) == (table.costs(arch), table.verdict(arch))
    assert [p.name for p in tmp_path.iterdir()] == ["mine.npz"]


def test_conditions_combinations_and_layouts_are_kept(tmp_path: Path) -> None:
    every = list(CONDITIONAL.enumerate())
    table = Table.from_arrays(CONDITIONAL, {"valid_accuracy": np.linspace(0, 1, len(every))})
    table.save(tmp_path / "t.npz")
    other = Table.load(tmp_path / "t.npz")
    assert list(other.space.choices) == list(CONDITIONAL.choices) and other.digest() == table.digest()
    assert [other.row(a) for a in every] == list(range(len(every)))
    cells = Table.from_arrays(nasbench201(), {"valid_accuracy": np.arange(15_625)})
    cells.save(tmp_path / "c.npz")
    loaded = Table.load(tmp_path / "c.npz")
    assert loaded.space.layout == "nasbench201" and loaded.digest() == cells.digest()


def test_a_space_with_constraints_is_loaded_as_what_the_table_lists(tmp_path: Path) -> None:
    space = Space(SMALL.choices, lambda a: a["width"] == 8 or a["norm"] == "batch")
    Table.from_arrays(space, {"valid_accuracy": [0.71, 0.74, 0.78]}).save(tmp_path / "t.npz")
    other = Table.load(tmp_path / "t.npz")
    assert list(other.space.enumerate()) == list(space.enumerate()) and other.space.size() == 3
    assert "the table has a row for it" in repr(other.space.constraints[0])
    assert pickle.loads(pickle.dumps(other)).space.size() == 3


def test_the_other_forms_of_a_network_come_back_with_its_layout(tmp_path: Path) -> None:
    space = dag(4, ("a", "b"))
    listed = sorted({space.canonical(a) for a in space.enumerate()}, key=lambda a: a.to_json())
    table = Table.from_arrays(space, {"v": np.arange(len(listed))}, architectures=listed)
    table.save(tmp_path / "t.npz")
    other = Table.load(tmp_path / "t.npz")
    assert other.space.size() == space.size() > len(listed)
    assert all(other.row(a) == table.row(a) for a in space.enumerate())


def rewritten(path: Path, change: Any) -> None:
    held = arrays(path)
    meta = json.loads(str(held["meta"]))
    change(meta, held)
    if meta is not None:
        held["meta"] = np.array(json.dumps(meta))
    np.savez(path, **held)


DAMAGE: list[tuple[Any, str]] = [
    (lambda m, h: m.update(format="other-2"), "has the format 'other-2'; this version reads mimar-table-1"),
    (lambda m, h: m.clear(), "it has no description in the entry meta"),
    (lambda m, h: m.pop("choices"), "has no 'choices'"),
    (lambda m, h: m.pop("budget"), "has no 'budget'"),
    (lambda m, h: h.pop("measured/valid_loss"), "has no 'measured/valid_loss'"),
    (lambda m, h: h.pop("codes"), "has no 'codes'"),
    (lambda m, h: m["columns"].update({"nothing/x": ["x", "max", ""]}), "has no 'nothing"),
    (lambda m, h: m.update(columns=3), "is damaged"),
    (lambda m, h: m.update(choices=[{"name": "a"}]), "is damaged: a choice in JSON needs"),
    (lambda m, h: m.update(layout="atari"), "is damaged: unknown layout 'atari'"),
    (lambda m, h: m.update(default=5), "is damaged: mine has no fidelity 5"),
    (lambda m, h: h.update(codes=h["codes"][:2]), "is damaged: .* must have 2 rows|is damaged: the table has no row"),
    (lambda m, h: h.update(codes=h["codes"] + 1), "is damaged: row 1 of the table has a code that is out of range"),
    (lambda m, h: h.update(codes=h["codes"] * 0), "is damaged: rows 0 and 1 of the table have the same architecture"),
    (
        lambda m, h: h.update({"final/test_loss": h["final/test_loss"] * np.nan}),
        "'test_loss' .* not finite in row 0, 1, 2",
    ),
    (
        lambda m, h: h.update({"final/test_loss": np.array(["a"] * 4)}),
        "'test_loss' of the table is not made of numbers",
    ),
    (lambda m, h: h.update(seconds=-h["seconds"]), "'seconds' of the table is negative in row 0"),
]


@pytest.mark.parametrize(("change", "says"), DAMAGE, ids=[str(i) for i in range(len(DAMAGE))])
def test_what_is_wrong_with_a_file_is_said_in_one_sentence(change: Any, says: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    small().save(path)
    rewritten(path, change)
    with pytest.raises(DataError, match=says) as told:
        Table.load(path)
    assert str(path) in str(told.value) and "\n" not in str(told.value)


def test_a_file_that_is_no_table_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    with pytest.raises(DataError, match="there is no table"):
        Table.load(path)
    for content in (b"", b"not a zip", b"PK\x03\x04 and nothing"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read as a table"):
            Table.load(path)
    small().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read as a table"):
        Table.load(path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(DataError, match="is one array; a table is an .npz of several"):
        Table.load(tmp_path / "one.npy")
    np.savez(path, a=np.zeros(3))
    with pytest.raises(DataError, match="is not a table written by Table.save"):
        Table.load(path)
    with pytest.raises(DataError, match="has no entry 'b'"):
        arrays(path, "a", "b")


def test_every_damaged_byte_is_noticed_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    small().save(path)
    whole, digest = path.read_bytes(), Table.load(path).digest()
    for at in range(0, len(whole), 37):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            found = Table.load(path).digest()
        except DataError:
            continue
        assert found == digest


class Boom:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("boom"),)


def test_pickles_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small().save("mine.npz")
    held: dict[str, Any] = arrays("mine.npz")
    np.savez("mine.npz", **{**held, "codes": np.array([Boom()] * 4, dtype=object)})
    with zipfile.ZipFile("mine.npz") as file:
        assert "codes.npy" in file.namelist()
    with pytest.raises(DataError, match="holds pickles, which are never opened"):
        Table.load("mine.npz")
    Path("raw.npz").write_bytes(pickle.dumps(Boom()))
    with pytest.raises(DataError, match="cannot be read as a table"):
        Table.load("raw.npz")
    assert not Path("boom").exists()


def test_a_file_is_a_task_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    Table.from_arrays(SMALL, {"valid_accuracy": [1, 2, 3, 4]}).save(path)
    table = benchmarks.named(f"table:{path}")
    assert benchmarks.named(f"table:{path}") is table and len(table) == 4
    small().save(path)
    assert benchmarks.named(f"table:{path}").name == "mine"  # it was written again
    with pytest.raises(UsageError, match="needs its file: table:PATH"):
        benchmarks.named("table")
    with pytest.raises(DataAbsentError, match="there is no table"):
        benchmarks.named("table:nowhere.npz")
    with pytest.raises(UsageError, match="unknown benchmark 'nasbench20'; did you mean 'nasbench201'"):
        benchmarks.named("nasbench20")
    with pytest.raises(UsageError, match="unknown option of nasbench201 'epoch'; did you mean 'epochs'"):
        benchmarks.named("nasbench201:epoch=200")
    with pytest.raises(UsageError, match="reads an original file of yours: nasbench101:file=PATH"):
        benchmarks.named("nasbench101:epochs=108")
    assert benchmarks.is_benchmark("NasBench201:epochs=200") and not benchmarks.is_benchmark("digits")


# --- CSV ----------------------------------------------------------------------------------------------------------------


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_file_is_read_by_its_header(tmp_path: Path) -> None:
    text = "width,norm,valid_accuracy,test_accuracy,params,seconds\n16,batch,.78,.8,3,30\n8,batch,.71,.7,1,10\n"
    table = Table.from_csv(written(tmp_path, text + "16,layer,.77,.8,4,40\n8,layer,.74,.7,2,20\n"))
    assert [(c.name, c.options, c.kind) for c in table.space] == [
        ("width", (8, 16), "size"),
        ("norm", ("batch", "layer"), "one"),
    ]
    best = Architecture({"width": 16, "norm": "batch"})
    result = table.evaluate(Proposal(best))
    assert (dict(result.metrics), result.cost) == ({"valid_accuracy": 0.78, "params": 3.0}, 30.0)
    assert table.verdict(best) == {"test_accuracy": 0.8} and table.costs(best) == {"params": 3.0}
    assert (table.name, table.unit) == ("mine", "s") and not table.space.constraints
    assert benchmarks.named(f"table:{tmp_path / 'mine.csv'}").digest() == table.digest()


def test_words_of_the_header_may_say_what_a_column_is(tmp_path: Path) -> None:
    head = "\ufeffvalid_mode:choice, lr ,loss@1:min,loss@10:min,score@1:max,score@10:max,seconds@1,seconds@10,ms:known,end:final-min"
    text = (
        f"{head}\na,0.1,5,4,1,2,1,10,7,9\nb,0.1,3,2,3,4,1,10,8,9\n\na,0.01,5,1,1,2,1,10,7,9\nb,0.01,5,5,1,2,1,10,7,3\n"
    )
    table = Table.from_csv(written(tmp_path, text), units={"ms": "ms"}, resumes=True)
    assert [(c.name, c.options, c.kind) for c in table.space] == [
        ("valid_mode", ("a", "b"), "one"),
        ("lr", ("0.1", "0.01"), "one"),
    ]
    assert [tuple(m) for m in table.measures] == [("loss", "min", ""), ("score", "max", ""), ("ms", "min", "ms")]
    arch = Architecture({"valid_mode": "b", "lr": "0.1"})
    assert table.fidelities == (1.0, 10.0) and table.evaluate(Proposal(arch)).curve == [3.0, 2.0]
    assert table.evaluate(Proposal(arch, 1.0)).cost == 1.0 and table.verdict(arch) == {"end": 9.0}
    assert table.final[0].measure.direction == "min"


def test_a_csv_file_may_list_a_part_of_all_combinations(tmp_path: Path) -> None:
    table = Table.from_csv(written(tmp_path, "a,b,valid_accuracy\n1,x,.1\n2,y,.2\n3,x,.3\n"))
    assert table.space.size() == 3 and {table.space.sample(i)["a"] for i in range(30)} == {1, 2, 3}
    names = "".join(f"{i},{i},{i},.5\n" for i in range(200))
    with pytest.raises(DataError, match="lists 200 of 8000000 combinations, too few to be searched by its choices"):
        Table.from_csv(written(tmp_path, "a,b,c,valid_accuracy\n" + names))


def test_a_csv_file_of_a_given_space(tmp_path: Path) -> None:
    lines = ["valid_accuracy,inputs,op,kernel,rate"]
    for n, arch in enumerate(CONDITIONAL.enumerate()):
        cells = ["+".join(arch["inputs"]), arch["op"], arch.get("kernel", ""), arch.get("rate", "")]
        lines.append(",".join(map(str, [n, *cells])))
    table = Table.from_csv(written(tmp_path, "\n".join(lines)), CONDITIONAL)
    assert [table.row(a) for a in CONDITIONAL.enumerate()] == list(range(18))
    whole = Table.from_arrays(CONDITIONAL, {"valid_accuracy": range(18)}, name="mine")
    assert table.digest() == whole.digest()
    with pytest.raises(DataError, match="mine.csv.*no row for.*partial=True"):
        Table.from_csv(written(tmp_path, "\n".join(lines[:5])), CONDITIONAL)
    assert len(Table.from_csv(written(tmp_path, "\n".join(lines[:5])), CONDITIONAL, partial=True)) == 4


WRONG = [
    ("", "needs a header and a line below it"),
    ("a,valid_accuracy\n", "needs a header and a line below it"),
    ("a,a,valid_accuracy\n1,1,1\n", "has two columns 'a'"),
    ("a,,valid_accuracy\n1,1,1\n", "has a column without a name"),
    ("a,valid_accuracy\n1,1\n1\n", "line 3 of .* has 1 cells and the header has 2"),
    ("a,valid_accuracy\n1,high\n", "line 2 of .* has 'high' in the column 'valid_accuracy', which is no number"),
    ("a,valid_accuracy\n1,\n", "line 2 of .* has '' in the column 'valid_accuracy'"),
    ("a,valid_accuracy\n1,nan\n", "'valid_accuracy' of the table is missing or not finite in row 0"),
    ("a,valid_accuracy\n1,1\n1,2\n", "rows 0 and 1 of the table have the same architecture"),
    ("a,valid_accuracy\n1,1\n,2\n", "line 3 of .* is empty in the column 'a'; give the space if it is conditional"),
    ("valid_accuracy,params\n1,1\n", "has no column that is a choice: valid_accuracy, params"),
    ("a,b\n1,1\n", "needs a row and a measured column"),
    ("a,valid_accuracy@x\n1,1\n", "has the fidelity 'x', which is no number"),
    ("a,params@2,valid_accuracy\n1,1,1\n", "'params@2' cannot have a fidelity"),
    (
        "a,valid_accuracy@1,valid_accuracy@2,seconds@1\n1,1,1,1\n",
        "has no column 'seconds' at the fidelity 2, and other",
    ),
    ("a,valid_accuracy@1,valid_loss:min\n1,1,1\n", "has no column 'valid_loss' at the fidelity 1"),
    ("a,valid_accuracy,seconds\n1,1,-1\n", "'seconds' of the table is negative in row 0"),
]


@pytest.mark.parametrize(("text", "says"), WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_what_is_wrong_with_a_csv_file_is_said_in_one_sentence(text: str, says: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=says) as told:
        Table.from_csv(path)
    assert str(path) in str(told.value) and "\n" not in str(told.value)


def test_a_csv_file_that_cannot_be_read_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no table"):
        Table.from_csv(tmp_path / "nothing.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(DataError, match="cannot be read as CSV"):
        Table.from_csv(tmp_path / "bytes.csv")
    with pytest.raises(DataError, match="is not an architecture of the space.*did you mean 'batch'"):
        Table.from_csv(written(tmp_path, "width,norm,valid_accuracy\n8,btch,1\n"), SMALL)
