"""The page of a run: well-formed, self-contained, complete, escaped, the same bytes twice, and honest about gaps."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from report_folders import epoch, events, finished, header, make
from torch import nn

from mimar import OneOf, report, runs, space, tasks
from mimar.core.errors import RunError, UsageError
from mimar.core.streams import stream
from mimar.evaluators import Retrain
from mimar.recipes import idarts

VOID = {"meta", "br", "hr", "img", "link", "input"}
NB201, DARTS = space.nasbench201(), space.darts()
PLAIN = space.Space([space.Choice("body", ("conv3", "conv5", "skip")), space.Choice("width", (8, 16, 32), "size")])


class Page(HTMLParser):
    """Checks that elements nest, and collects tags, attributes, ids and text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(k, v or "") for k, v in attrs]
        self.ids += [v or "" for k, v in attrs if k == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(f"{w} " for w in self.words).split())


def read(path: Path) -> Page:
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>") and "script" not in page.tags
    for name, value in page.attributes:
        assert name not in ("src", "href", "action", "data", "srcset", "background") and not name.startswith("on")
        assert "://" not in value or (name, value) == ("xmlns", "http://www.w3.org/2000/svg")
    assert "url(" not in text and "@import" not in text
    for picture in re.findall(r"<svg .*?</svg>", text, flags=re.DOTALL):
        root = ET.fromstring(picture)
        hidden = root.get("aria-hidden") == "true"
        assert hidden or (
            root.get("role") == "img" and root.get("aria-label") and "desc" in root[1].tag and root[1].text
        )
        numbers = re.findall(r"[-\d.]+", " ".join(e.get("d", "") for e in root.iter()))
        assert all(abs(float(n)) < 5000 for n in numbers)
    return page


@pytest.mark.parametrize("of", [NB201, DARTS, PLAIN], ids=["nasbench201", "darts", "plain"])
def test_every_fact_is_on_the_page(tmp_path: Path, of: space.Space) -> None:
    text = read(report.write([finished(tmp_path / "r", of)])).text
    facts = ["idarts on digits, seed 3: ahead of random search", "91.00 %", "90.00 %", "88.00 % ± 2.00 % (n = 3)"]
    facts += ["1.00 points above random search's choice", "It lies 1.5 of these deviations above their mean."]
    facts += ["takes at least 8", "The gates moved: their entropy fell from 1.000 to 0.600, by 40.0 %."]
    facts += ["random 1", "random 3", "123 k", "7.89 M", "92.00 %"]
    facts += ["12.5 G MACs", "4.5 G MACs", "13.5 G MACs", "0.79 times", "12 min 34 s", "cafe0123", "da1ada1a"]
    facts += ["2.13.0", "3.11.2", "threads 2", "processor Some CPU", "device cpu", "84.00 %", "77.00 %"]
    facts += ["entropy of the relaxation", "norm of the hypergradient", "share of the implicit term", "training loss"]
    facts += ["accuracy on the validation half", "skip connections", "Warnings None.", "--seed 3", "--task digits"]
    assert [fact for fact in facts if fact not in text] == []
    assert not {"nan", "NaN", "None", "inf"} & set(text.split())


def test_architectures_stand_in_their_notation(tmp_path: Path) -> None:
    log = events(NB201)
    text = read(report.write([make(tmp_path / "n", log, header(NB201))])).text
    for event in log:
        if event["event"] == "trained":
            assert space.Architecture(event["architecture"]).to_nasbench201() in text
    assert "Genotype(normal=[(" in read(report.write([finished(tmp_path / "d", DARTS)])).text
    text = read(report.write([finished(tmp_path / "p", PLAIN)])).text
    assert "choice option gates at the end" in text and "conv3 0." in text
    assert (tmp_path / "n" / "cell.svg").exists() and not (tmp_path / "p" / "cell.svg").exists()


def test_darts_has_a_panel_for_each_of_its_28_edges(tmp_path: Path) -> None:
    page = report.write([finished(tmp_path / "r", DARTS)]).read_text()
    assert page.count('class="panel"') == 28 and len(re.findall(r"<desc>at the end: none 0\.", page)) == 28
    assert page.count("✓ ") - 1 == 16  # eight edges a cell; one more in the explanation
    assert "Not relaxed, all candidates take part: normal/node2" in page


def test_the_same_bytes_twice_and_nothing_else_changes(tmp_path: Path) -> None:
    run = finished(tmp_path / "r")
    before = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
    with runs.open_run(run, write=True):  # a report does not wait for the writer, nor disturb it
        path = report.write([run])
    first = path.read_bytes(), (run / "cell.svg").read_bytes()
    assert path == run / "report.html" and report.write(str(run)) == path
    assert (path.read_bytes(), (run / "cell.svg").read_bytes()) == first
    after = {p.name: p.read_bytes() for p in run.iterdir() if p.is_file()}
    assert {k: after[k] for k in before} == before and set(after) - set(before) == {"report.html", "cell.svg"}
    elsewhere = report.write([run], out=tmp_path / "page.html")
    assert elsewhere.read_bytes() == first[0] and elsewhere == tmp_path / "page.html"


def test_texts_of_a_run_stay_texts(tmp_path: Path) -> None:
    evil = "</title></svg><script>alert('x')</script>&amp;\"\x00\ud800"
    of = space.Space([space.Choice(f"{evil}/edge", (evil, "b", "c"))])
    log = events(of)
    log.insert(0, {"event": "warned", "name": evil, "text": evil})
    for event in log:
        if event["event"] == "trained":
            event["network"] = evil if event["network"] == "random-0" else event["network"]
    versions = {evil.replace("\ud800", ""): evil.replace("\ud800", "")}
    head = header(of, recipe=evil[:-1], task=evil[:-1], layout=evil[:-1], versions=versions)
    clean = json.loads(json.dumps(log).replace("\\ud800", ""))
    head["space"] = json.loads(json.dumps(head["space"]).replace("\\ud800", ""))
    page = report.write([make(tmp_path / "r", clean, head)])
    assert "<script" not in page.read_text() and "alert('x')" in read(page).text
    several = report.write([tmp_path / "r", tmp_path / "r"], out=tmp_path / "c.html")
    assert "<script" not in several.read_text() and read(several)


def test_gates_that_did_not_move_are_told_in_a_box(tmp_path: Path) -> None:
    path = report.write([finished(tmp_path / "r", after=0.95)])
    text = read(path).text
    assert "has found nothing" in text and "by 5.0 %" in text and "not tested" in text
    assert '<div class="alarm"><p>The gates did not move' in path.read_text()


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [(0.92, "ahead of random search"), (0.9, "level with"), (0.89, "behind random"), (0.5, "behind random")],
)
def test_the_title_has_the_verdict(tmp_path: Path, accuracy: float, verdict: str) -> None:
    random = (0.9, 0.86) if accuracy != 0.9 else (0.9, 0.89)
    page = report.write([finished(tmp_path / "r", accuracy=accuracy, random=random)]).read_text()
    title = re.findall(r"<h1>(.*?)</h1>", page)[0]
    assert verdict in title


def test_without_random_networks(tmp_path: Path) -> None:
    text = read(report.write([finished(tmp_path / "r", random=())])).text
    assert "nothing to compare with" in text and "cannot say whether the search helped" in text
    text = read(report.write([finished(tmp_path / "one", random=(0.9,))])).text
    assert "90.00 % ± 0.00 % (n = 1)" in text


def test_every_beginning_of_a_run_has_a_page(tmp_path: Path) -> None:
    log = events(NB201)
    stages = set()
    for n in (0, 1, 3, 6, 7, 9, 12, 13, 17, len(log) - 1):
        path = report.write([make(tmp_path / str(n), log[:n], header(NB201), seconds=None)])
        text = read(path).text
        assert "not finished" in text
        stages.add(re.findall(r"not finished: (.*?)\. Below", text)[0])
        assert ("No architecture has been derived yet" in text) == (n < 7)
        assert ("No network has been trained from scratch yet" in text) == (n < 12)
    assert {"it is still searching, 0 epochs are done", "it is still searching, 3 epochs of 6 are done"} <= stages
    assert "the architecture is derived, 1 networks are trained from scratch so far" in stages


def test_runs_without_gates_or_hypergradient(tmp_path: Path) -> None:
    log = events(NB201)
    for event in log:
        for key in ("gates", "hyper", "entropy", "valid_accuracy", "valid_loss", "skips", "entropy_before", "moved"):
            event.pop(key, None)
    text = read(report.write([make(tmp_path / "shared", log, header(NB201, recipe="random-ws"))])).text
    assert "No gates are on record" in text and "no hypergradient on record" in text and "The gates moved" not in text
    best = max((e for e in log if e["event"] == "trained"), key=lambda e: e["metrics"]["test_accuracy"])
    asked = [{**e, "network": "random-9"} if e is best else e for e in log if e["event"] in ("trained", "finished")]
    text = read(report.write([make(tmp_path / "asked", asked, header(NB201, recipe="random"))])).text
    assert "the choice among 4 networks" in text and "network chosen among those trained from scratch reaches" in text


def test_damage_is_told(tmp_path: Path) -> None:
    run = finished(tmp_path / "r")
    log = run / "events.jsonl"
    log.write_bytes(log.read_bytes()[:-40])
    (run / "result.json").write_text("{")
    text = read(report.write([run])).text
    assert (
        "damaged file: events.jsonl: damaged from byte" in text and "not finished" in text and "Wall time" not in text
    )


WRONG: list[Any] = [None, "x", -1, 1e300, {}, [], [None], True, {"a": []}, float("nan"), [[1]], 10**400]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda w: str(w)[:12])
def test_fields_of_any_type_cost_no_page(tmp_path: Path, wrong: Any) -> None:
    log = events(NB201)
    keys = sorted({k for e in log for k in e} - {"event"})
    changed = [{**event, key: wrong} for key in keys for event in log if key in event][::3]
    result = log[-1]["result"]
    changed += [{"event": "finished", "result": {**result, key: wrong}} for key in result]
    changed += [{"event": wrong}, {"epoch": wrong}, epoch(NB201, 1, 3) | {"gates": {"cell/0-1": wrong}}]
    head = header(NB201) | dict.fromkeys(("tree", "layout", "versions", "space", "recipe", "seed"), wrong)
    read(report.write([make(tmp_path / "log", changed, header(NB201))]))
    read(report.write([make(tmp_path / "head", log, head)]))
    read(report.write([make(tmp_path / "ends", [*changed, log[-1]], head)]))
    read(report.write([tmp_path / "log", tmp_path / "head"], out=tmp_path / "c.html"))


def test_what_cannot_be_reported_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    run = finished(tmp_path / "r")
    for folders, out in (
        ([tmp_path / "empty"], None),
        ([tmp_path / "absent"], None),
        ([run], tmp_path / "no" / "p.html"),
    ):
        with pytest.raises(RunError) as error:
            report.write(folders, out)
        assert "\n" not in str(error.value) and len(str(error.value)) > 20
    with pytest.raises(RunError, match="directory"):
        report.write([run], tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []
    with pytest.raises(UsageError, match="at least one run folder"):
        report.write([])


def test_several_runs_are_compared(tmp_path: Path) -> None:
    first = finished(tmp_path / "a", DARTS)
    second = make(tmp_path / "b", events(DARTS, accuracy=0.89), header(DARTS, seed=4))
    still = make(tmp_path / "c", events(NB201, after=0.99), header(NB201, recipe="darts-1st"))
    going = make(tmp_path / "deep" / "d", events(NB201)[:2], header(NB201), seconds=None)
    path = report.write([first, second, still, going])
    assert path == tmp_path / "comparison.html"
    text = read(path).text
    facts = ["4 runs: idarts, darts-1st on digits", "d: idarts on digits, seed 3: it is still searching, 2 epochs of 6"]
    facts += ["did not move in 1 of 4 runs", "“not tested”: c.", "Fewer than 8 seeds for darts-1st, idarts"]
    facts += ["idarts on digits 2 of 3 90.00 % ± 1.41 % 0.00 % ± 1.41 % 1 of 2", "darts-1st on digits 0 of 1 – – –"]
    facts += ["91.00 %", "89.00 %", "88.00 % ± 2.00 % (n = 3)", "1.000 → 0.600", "12 min 34 s", "hash cafe0123"]
    assert [fact for fact in facts if fact not in text] == []
    assert path.read_text().count('class="cell"') == 5
    assert report.write([first, second, still, going]).read_text() == path.read_text()


def test_a_real_run_has_a_page_with_its_figures(tmp_path: Path) -> None:
    def convolution(kernel: int) -> nn.Module:
        return nn.Conv2d(1, 4, kernel, padding=kernel // 2)

    edge = OneOf({"conv1": convolution(1), "conv3": convolution(3)}, name="body")
    net = nn.Sequential(edge, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 10))
    task = tasks.arrays(torch.rand(150, 1, 8, 8, generator=stream(0, "images")), torch.arange(150) % 10)
    retrain = Retrain(epochs=1, batch=16)
    found = idarts.recipe(net=net, task=task, epochs=2, batch=16, baseline=2, retrain=retrain).run(tmp_path / "r")
    text = read(report.write([tmp_path / "r"])).text
    assert f"{100 * found.metrics['test_accuracy']:.2f} % test accuracy" in text and "(n = 2)" in text
    assert found.architecture["body"] in text and "No gates" not in text and "no hypergradient" not in text
    assert re.search(r"Wall time of everything: [\d.]+ s", text) and "share of the implicit term" in text
    assert "instructions" in text and "search " in text
