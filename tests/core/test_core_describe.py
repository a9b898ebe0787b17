"""Parts as JSON and back, options and their ranges, errors that name the nearest word, papers, units."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import pytest
import torch
from torch import nn

from mimar.core import ranges, units
from mimar.core.describe import describe, digest, digest_tensors, rebuild
from mimar.core.errors import MimarError, NonFiniteError, RunError, UsageError, nearest
from mimar.core.optimisers import Sgd, cosine, descend
from mimar.core.paper import Paper
from mimar.core.ranges import Count, Fraction, Range
from mimar.evaluators import Retrain
from mimar.gradient.hypergradient import Neumann
from mimar.gradient.update import Adam


@dataclass(frozen=True)
class Foreign:
    """A dataclass outside of mimar."""

    x: int = 1


@pytest.mark.parametrize("part", [Neumann(terms=5, step="auto"), Retrain(epochs=3, optimiser=Sgd(lr=0.1)), Adam()])
def test_parts_come_back_from_json(part: Any) -> None:
    tree = json.loads(json.dumps(describe(part)))
    assert tree["part"] == f"{type(part).__module__}.{type(part).__name__}"
    assert rebuild(tree) == part and digest(describe(rebuild(tree))) == digest(tree)


def test_every_field_counts() -> None:
    hashes = {
        digest(describe(p)) for p in (Neumann(), Neumann(terms=3), Neumann(damping=0.1), Neumann(batches="fresh"))
    }
    assert len(hashes) == 4
    assert digest(describe(Neumann())) == digest(describe(replace(Neumann(terms=9), terms=2)))


def test_plain_values_come_back() -> None:
    for value in (None, True, 3, 2.5, "text", (1, ("a", None)), {"k": (1, 2)}, float("inf"), -float("inf")):
        assert rebuild(json.loads(json.dumps(describe(value), allow_nan=False))) == value
    assert math.isnan(rebuild(describe(float("nan"))))


def test_a_digest_never_changes() -> None:
    assert digest({"b": 1, "a": [1.5, None, "é"]}) == "4fa79d67d7df922b"
    assert digest({"a": [1.5, None, "é"], "b": 1}) == "4fa79d67d7df922b"
    assert len(digest(0, 40)) == 40
    with pytest.raises(ValueError):
        digest(float("nan"))


def test_foreign_classes_are_never_rebuilt() -> None:
    for name in ("os.path.join", "builtins.eval", "subprocess.Popen", "mimarx.core.Foreign", f"{__name__}.Foreign"):
        with pytest.raises(RunError, match="which is not mimar's"):
            rebuild({"part": name, "x": 1})
    assert describe(Foreign())["part"].endswith(".Foreign")


def test_parts_that_mimar_does_not_have_are_named() -> None:
    for name in ("mimar.core.nothing.Part", "mimar.gradient.hypergradient.neumann.Noimann"):
        with pytest.raises(RunError, match="which this version of mimar does not have"):
            rebuild({"part": name})
    for name in ("mimar.core.describe.json", "mimar.core.describe.describe", "mimar.core.errors.RunError"):
        with pytest.raises(RunError, match="not a part of mimar"):
            rebuild({"part": name})


def test_what_has_no_json_is_described_by_its_content() -> None:
    with torch.random.fork_rng():
        first, other = nn.Linear(2, 2), nn.Linear(2, 2)
    tree = describe(first)
    assert tree == describe(first) != describe(other) and tree["kind"] == "Linear"
    assert describe(torch.ones(2)) == describe(torch.ones(2)) != describe(torch.ones(3))
    assert describe(len) != describe(max)
    for value in (first, torch.ones(2), len):
        with pytest.raises(RunError, match="your own .*, which its folder does not contain"):
            rebuild(describe(value))


def test_digests_of_tensors_see_name_shape_type_and_content() -> None:
    base = {"a": torch.zeros(4)}
    others = [
        {"b": torch.zeros(4)},
        {"a": torch.zeros(2, 2)},
        {"a": torch.zeros(4, dtype=torch.int32)},
        {"a": torch.ones(4)},
    ]
    assert len({digest_tensors(t) for t in (base, *others)} | {digest_tensors(base, "text")}) == 6
    assert digest_tensors({"a": torch.zeros(4, 4).t()[:1].flatten()}) == digest_tensors(base)
    assert digest_tensors({"s": torch.tensor(1.0)}) != digest_tensors({"s": torch.tensor(2.0)})
    assert digest_tensors({"e": torch.zeros(0)}) == digest_tensors({"e": torch.zeros(0)})


# --- ranges ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "hint", "fits"),
    [
        (1, Count, True),
        (0, Count, False),
        (1.0, Count, False),
        (True, Count, False),
        (1, Fraction, True),
        (1.01, Fraction, False),
        (float("nan"), Fraction, False),
        (True, float, False),
        (0.0, Annotated[float, Range(0.0, None, open_low=True)], False),
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"], False),
        (1, Literal[True], False),
        (0.5, Literal["auto"] | Annotated[float, Range(0, 1)], True),
        ("auto", Literal["auto"] | Annotated[float, Range(0, 1)], True),
        (2.0, Literal["auto"] | Annotated[float, Range(0, 1)], False),
        (None, int | None, True),
        ("x", int | None, False),
        (1, bool, False),
        ("text", str, True),
        (object(), Any, True),
    ],
)
def test_options_fit_their_annotations(value: Any, hint: Any, fits: bool) -> None:
    assert ranges.fits(value, hint) is fits
    if fits:
        ranges.check("part.", "key", value, hint)
    else:
        with pytest.raises(UsageError, match="part.key is .*; it must be "):
            ranges.check("part.", "key", value, hint)


def test_ranges_are_spelt_out() -> None:
    assert ranges.spell(Count) == "a whole number at least 1"
    assert ranges.spell(Fraction) == "a number at least 0 and at most 1"
    assert ranges.spell(Literal["auto"] | Annotated[float, Range(0, open_low=True)]) == "'auto' or a number above 0"
    assert str(Range()) == "any number" and ranges.spell(int | None) == "a whole number or none"


def test_nearest_words() -> None:
    assert nearest("idart", ["idarts", "darts"], kind="recipe") == "unknown recipe 'idart'; did you mean 'idarts'?"
    equally = ["darts-1st", "darts-2nd", "sdarts-rs"]
    assert nearest("darts-3rd", equally, kind="recipe").endswith("did you mean 'darts-2nd'?")
    assert nearest("zzz", ["b", "a"], kind="key") == "unknown key 'zzz'; there is a, b"
    assert nearest("zzz", [], kind="key").endswith("there is none")
    assert nearest("zzz", [f"{i:02}" for i in range(30)], kind="key").endswith("19, …")


def test_errors_are_also_what_python_calls_them() -> None:
    assert issubclass(UsageError, ValueError) and issubclass(NonFiniteError, ArithmeticError)
    assert issubclass(RunError, MimarError)


# --- papers, units, optimisers --------------------------------------------------------------------------------------


def test_papers_cite_themselves() -> None:
    paper = Paper("O'Neil, A and B, C", 2020, "Venue", "Title", "https://example.org")
    assert paper.key == "oneil2020"
    text = paper.bibtex()
    assert text.startswith("@inproceedings{oneil2020,\n  author = {O'Neil, A and B, C},") and "url" in text
    assert "url" not in replace(paper, link="").bibtex()


def test_numbers_as_a_person_reads_them() -> None:
    assert [units.seconds(s) for s in (0.84, 42.2, 59.6, 200, 3600, 7500)] == [
        "0.8 s",
        "42 s",
        "60 s",
        "3 min 20 s",
        "1 h 00 min",
        "2 h 05 min",
    ]
    assert [units.count(n) for n in (950, 12_300, 1.53e6, 2.1e9, 3e12)] == ["950", "12.3 k", "1.53 M", "2.1 G", "3 T"]
    assert units.percent(0.9437) == "94.37 %" and units.percent(None) == "–"


def test_cosine_has_its_ends() -> None:
    assert (cosine(0, 2.0, 1.0), cosine(0.5, 2.0, 1.0), cosine(1, 2.0, 1.0)) == (2.0, pytest.approx(1.5), 1.0)
    assert cosine(-1, 2.0) == 2.0 and cosine(9, 2.0) == 0.0


def test_descent_clips_by_the_global_norm_and_keeps_grad() -> None:
    w = [torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True)]
    w[0].grad = torch.full((2,), 7.0)
    part = Sgd(momentum=0.0, clip=1.0)
    norm = part.step(part.optimiser(w), [torch.tensor([3.0, 0.0]), torch.tensor([4.0])], lr=0.5)
    assert norm == 5.0 and w[0].tolist() == pytest.approx([-0.3, 0.0]) and w[1].tolist() == pytest.approx([-0.4])
    assert w[0].grad.tolist() == [7.0, 7.0] and w[1].grad is None
    free = [torch.zeros(1)]
    assert descend(torch.optim.SGD(free, lr=1.0), [torch.tensor([4.0])], lr=0.5) == 4.0 and free[0].item() == -2.0
