"""Commands that search nothing: exit codes, sentences, lists, pages, and what they must not import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mimar import recipes
from mimar.core.errors import RunError

BAD = [  # words, exit code, what stderr says
    (("search", "idart"), 2, "unknown recipe 'idart'; did you mean 'idarts'?"),
    (("search", "idarts:es"), 2, "unknown variant of idarts 'es'"),
    (("search", "idarts", "epoch=3"), 2, "unknown option 'epoch'; did you mean 'epochs'?"),
    (("search", "idarts", "epochs=0"), 2, "epochs is '0'; it must be a whole number at least 1"),
    (("search", "idarts", "retrain.optimiser.momentum=2"), 2, "a number at least 0 and at most 1"),
    (("search", "idarts", "net=darts"), 2, "net is a flag, not an option of the recipe: give --net darts"),
    (("search", "idarts", "--task", "digts"), 2, "unknown task 'digts'; did you mean 'digits'?"),
    (("search", "idarts", "--task", "digits:limitt=9"), 2, "unknown option of the task digits 'limitt'"),
    (("search", "idarts", "--net", "drts"), 2, "unknown net 'drts'; did you mean 'darts'?"),
    (("search", "idarts", "--net", "darts:cell=3"), 2, "unknown key 'cell'; did you mean 'cells'?"),
    (("search", "idarts", "--device", "gpu"), 2, "device 'gpu' is not available; use cpu"),
    (("search", "idarts", "--baseline", "-1"), 2, "--baseline is -1; it must be a whole number at least 0"),
    (("search", "idarts", "--seed", "x"), 2, "--seed"),
    (("search", "idarts", "--seeds", "0"), 2, "--seeds"),
    (("search", "idarts", "--workers", "2"), 2, "--workers is for several seeds: give --seeds too"),
    (("search",), 2, "Missing argument 'RECIPE'"),
    (("searchh", "idarts"), 2, "No such command 'searchh'"),
    (("search", "idarts", "--nope"), 2, "No such option: --nope"),
    (("list", "recipe"), 2, "unknown list 'recipe'; did you mean 'recipes'?"),
    (("show", "darts-3rd"), 2, "unknown recipe 'darts-3rd'; did you mean 'darts-"),
    (("show", "idarts", "terms=-2"), 2, "terms is '-2'; it must be a whole number at least -1"),
    (("cite", "dart"), 2, "unknown recipe 'dart'"),
    (("data", "fashion-mnis"), 2, "unknown task 'fashion-mnis'; did you mean 'fashion-mnist'?"),
    (("data", "--fetch"), 2, "--fetch needs the name of a data set"),
    (("data", "digits", "--fetch"), 2, "digits cannot be fetched"),
    (("evidence", "idart"), 2, "unknown recipe 'idart'; did you mean 'idarts'?"),
    (("resume", "nowhere"), 1, "nowhere is not a run: there is no such folder"),
    (("retrain", "nowhere"), 1, "nowhere is not a run"),
    (("report", "nowhere"), 1, "nowhere is not a run"),
    (("export", "nowhere", "--format", "torch"), 1, "nowhere is not a run"),
    (("export", "nowhere", "--format", "onx"), 2, "unknown format 'onx'; did you mean 'onnx'?"),
]


@pytest.mark.parametrize(("words", "code", "text"), BAD, ids=[" ".join(b[0]) for b in BAD])
def test_bad_input_has_one_sentence(
    words: tuple[str, ...], code: int, text: str, mimar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = mimar(*words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    if done.stderr.startswith("mimar: "):
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_traceback_only_with_debug(mimar) -> None:
    for words in (("--debug", "cite", "idart"), ("cite", "idart", "--debug")):
        done = mimar(*words)
        assert done.exit_code == 2
        assert "Traceback" in done.stderr and done.stderr.splitlines()[-1].startswith("mimar: unknown recipe")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RunError("a\n  clear sentence"), "mimar: a clear sentence\n"),
        (ValueError("some\ndetail"), "mimar: unexpected ValueError: some detail (--debug shows where)\n"),
        (OSError(28, "No space left on device", "runs/x"), "mimar: runs/x: No space left on device\n"),
        (KeyboardInterrupt(), "mimar: interrupted\n"),
    ],
)
def test_any_failure_is_one_line(error: BaseException, text: str, mimar, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(recipes, "load", fail)
    done = mimar("cite", "idarts")
    assert (done.exit_code, done.stderr) == (1, text)


def test_lists(mimar) -> None:
    assert [line.split()[0] for line in mimar("list", "recipes").stdout.splitlines()] == list(recipes.names())
    assert "digits" in mimar("list", "tasks").stdout
    assert "nasbench201" in mimar("list", "nets").stdout
    assert "asha" in mimar("list", "schedulers").stdout and "synflow" in mimar("list", "proxies").stdout
    assert "gradient.hypergradient.Neumann" in mimar("list", "parts").stdout
    assert json.loads(mimar("list", "recipes", "--json").stdout)["idarts"].startswith("iDARTS")


def test_show_tells_paper_deviations_options_and_the_tree(mimar) -> None:
    text = mimar("show", "idarts", "terms=7").stdout
    for part in ("Zhang, Miao", "* the hypergradient never moves", "terms=2  (a whole number at least -1)"):
        assert part in text
    assert "hypergradient: Neumann\n      terms: 7\n" in text
    assert "retrain.optimiser.momentum=0.9  (a number at least 0 and at most 1)" in text
    other = mimar("show", "idarts").stdout

    def digest(page: str) -> str:
        return page.partition("(hash ")[2][:16]

    assert len(digest(text)) == 16 and digest(text) != digest(other)


def test_cite_data_doctor_version(mimar) -> None:
    assert mimar("cite", "idarts").stdout.startswith("@inproceedings{zhang2021,\n")
    assert mimar("data", "digits").stdout.startswith("digits: found in ")
    assert len(mimar("data").stdout.splitlines()) >= 6
    found = json.loads(mimar("doctor", "--json").stdout)
    assert {"torch", "threads", "device", "memory", "compiled kernels", "kernel table", "data digits"} <= set(found)
    assert mimar("--version").stdout.startswith("mimar ")


def loaded(*words: str) -> str:
    code = (
        f"import sys\nsys.argv = ['mimar', *{list(words)!r}]\nfrom mimar.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print(end.code, 'torch' in sys.modules)"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_words_that_need_no_torch_load_none() -> None:
    for words in (["--help"], ["search", "--help"], ["list", "recipes"], ["list", "parts"], ["data"]):
        assert loaded(*words).splitlines()[-1] == "0 False", words


def test_closed_pipe_is_quiet() -> None:
    command = [sys.executable, "-m", "mimar.cli", "list", "parts"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate()
    assert errors == b"" and process.returncode == 1
