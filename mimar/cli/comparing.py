"""Comparing recipes: words into a study, run in the background of an evening, its table told."""

from __future__ import annotations

import json as text_of
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import typer

from mimar import recipes
from mimar.cli.options import options, parse
from mimar.core.errors import MimarError, UsageError, nearest
from mimar.core.units import columns
from mimar.evaluators import benchmarks
from mimar.runs.files import write_atomic
from mimar.search.lab import DEFAULT_TASK, checked_device
from mimar.study import compare, page
from mimar.study.compare import RANDOM, SHARED, Study
from mimar.study.contest import ALWAYS, Arm, Contest


def study(words: Iterable[str], *, task: str | None, net: str | None, seeds: int, device: str) -> Study:
    """Return the study that the words ask for: recipes, key=value for all of them, RECIPE:key=value for one."""
    words = list(words)
    names = [_recipe(word) for word in words if "=" not in word]
    given: dict[str, list[str]] = {}  # recipe: its own options; "": those of all
    for word in (w for w in words if "=" in w):
        key, equals, text = word.partition("=")
        owner, _, key = key.rpartition(":")
        given.setdefault(_recipe(owner) if owner else "", []).append(f"{key}{equals}{text}")
    checked_device(device)
    common = given.pop("", [])
    flags: dict[str, Any] = {"net": net, "task": task or DEFAULT_TASK, "seeds": tuple(range(seeds)), "device": device}
    flags |= parse([w for w in common if _head(w) == "retrain"], recipes.load(RANDOM)[1])
    rest = [w for w in common if _head(w) != "retrain"]
    own = {name: _parsed(name, rest, given.pop(name, []), len(names)) for name in names if name != RANDOM}
    if SHARED not in names:  # nobody asked for it: it takes what it has
        has = {_head(option.name) for option in options(recipes.load(SHARED)[1])}
        own[SHARED] = _parsed(SHARED, [w for w in rest if _head(w) in has], given.pop(SHARED, []), len(names))
    return Study(tuple(names), options=own | {name: {} for name in given}, **flags)  # who is left, the study refuses


def _recipe(word: str) -> str:
    """Return a recipe's name as the list has it; raises UsageError naming the nearest."""
    name = word.strip().lower().replace("_", "-")
    recipes.load(name)
    return name


def _parsed(name: str, common: Sequence[str], own: Sequence[str], recipes_given: int) -> dict[str, Any]:
    """Return what words give to a recipe, its own before those of all; an error says whose it is."""
    before = {word.partition("=")[0] for word in own}
    try:
        return parse([*(w for w in common if w.partition("=")[0] not in before), *own], recipes.load(name)[1])
    except UsageError as error:
        unknown = str(error).startswith("unknown option") and recipes_given > 1
        raise UsageError(f"{name}: {error}{ALONE if unknown else ''}") from None


ALONE = " (an option of one recipe alone is given as RECIPE:key=value)"


def _head(word: str) -> str:
    return word.partition("=")[0].partition(".")[0].strip().replace("-", "_")


def run(words: Sequence[str], out: Path | None, *, workers: int, json: bool, **flags: Any) -> None:
    """Run the study, or go on with it, and tell its table; raises MimarError where cells failed, and on Ctrl-C."""
    if benchmarks.is_benchmark(flags["task"]):
        contested(words, out, workers=workers, json=json, **flags)
        return
    wanted = study(words, **flags)
    folder = out or Path("runs") / wanted.home
    try:
        found = compare.run(wanted, folder, workers=workers, tell=lambda text: typer.echo(text, err=True))
    except KeyboardInterrupt:
        raise MimarError(f"saved; continue with: {_again(words, out, workers, flags)}") from None
    typer.echo(text_of.dumps({**found, "out": str(folder)}, sort_keys=True) if json else told(found, folder))
    if failed := found["failed"]:
        first = f"{failed[0]['recipe']}, seed {failed[0]['seed']}: {failed[0]['why']}"
        cells = f"{len(failed)} cells failed, the first is" if len(failed) > 1 else "a cell failed:"
        raise MimarError(f"{cells} {first}; the same command tries again")


def contest(words: Iterable[str], *, task: str, net: str | None, seeds: int, device: str) -> Contest:
    """Return the contest on a table that the words ask for; a recipe may come again with a variant's options.

    "RECIPE:key=value" is for one recipe; "RECIPE@LABEL" is a second arm of it, with options of its own.
    """
    if net is not None:
        raise UsageError(f"a benchmark table has a space of its own: leave out --net {net}")
    if device != "cpu":
        raise UsageError("a benchmark table is looked up on the CPU: leave out --device")
    words = list(words)
    labels = [_label(word) for word in words if "=" not in word]
    if not labels:
        raise UsageError("a comparison needs at least one recipe; see `mimar list recipes`")
    given: dict[str, list[str]] = {}
    for word in (w for w in words if "=" in w):
        key, equals, text = word.partition("=")
        owner, _, key = key.rpartition(":")
        given.setdefault(_label(owner) if owner else "", []).append(f"{key}{equals}{text}")
    common = given.pop("", [])
    labels = [*(label for label in ALWAYS if label not in labels), *labels]
    labels.sort(key=lambda label: label != ALWAYS[0])
    for owner in given:
        if owner not in labels:
            raise UsageError(f"options for a recipe that is not compared: {nearest(owner, labels, kind='recipe')}")
    arms = []
    for label in labels:
        name = label.partition("@")[0]
        arms.append(Arm(label, name, _parsed(name, common, given.get(label, []), len(labels))))
    return Contest(tuple(arms), task, seeds)


def _label(word: str) -> str:
    name, at, label = word.partition("@")
    return _recipe(name) + at + label


def contested(words: Sequence[str], out: Path | None, *, workers: int, json: bool, **flags: Any) -> None:
    """Run a contest on a table, or go on with it, and tell its table."""
    from mimar.study import contest as contests
    from mimar.study import contest_figures, contest_page

    wanted = contest(words, **flags)
    folder = out or Path("runs") / wanted.home
    try:
        runs = contests.run(wanted, folder, workers=workers, tell=lambda text: typer.echo(text, err=True))
    except KeyboardInterrupt:
        raise MimarError(f"saved; continue with: {_again(words, out, workers, flags)}") from None
    found = contest_figures.figures(wanted, runs)
    write_atomic(folder / contests.FIGURES, text_of.dumps(found, indent=1, sort_keys=True) + "\n")
    write_atomic(folder / contests.PAGE, contest_page.html(found))
    told_text = f"{contest_page.told(found)}\npage: {folder / contests.PAGE}"
    typer.echo(text_of.dumps({**found, "out": str(folder)}, sort_keys=True) if json else told_text)


def _again(words: Sequence[str], out: Path | None, workers: int, flags: dict[str, Any]) -> str:
    given = {**flags, "out": out, "workers": workers}
    kept = [w for key, value in given.items() if value is not None for w in (f"--{key}", str(value))]
    return shlex.join(["mimar", "compare", *words, *kept])


def told(found: dict[str, Any], folder: Path) -> str:
    """Return the comparison as a person reads it."""
    beside = ["random", page.mean(found["random"]["accuracy"]), *[""] * 5]
    lines = [list(page.HEAD), *(page.compared(row) for row in found["recipes"]), beside]
    return "\n".join([*columns(lines), f"page: {folder / compare.PAGE}"])
