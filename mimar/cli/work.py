"""Searching, resuming and training again: a search is built from words, run under the display, and its result told."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import typer

from mimar import recipes, runs
from mimar.cli.again import Again
from mimar.cli.options import changed, parse
from mimar.cli.progress import Display
from mimar.core.describe import rebuild
from mimar.core.errors import MimarError, RunError, SpaceError, UsageError, nearest
from mimar.core.ranges import check, hints
from mimar.core.units import cost, count, seconds
from mimar.evaluators import benchmarks
from mimar.evaluators.table import Table
from mimar.report.words import verdict
from mimar.search import Result
from mimar.search import run as run_search
from mimar.search.lab import checked_device
from mimar.space import Architecture
from mimar.supernet import Fused, Reference


def build(recipe: str, words: Iterable[str], flags: Mapping[str, Any]) -> Any:
    """Return the search that the words ask for; raises UsageError naming what is wrong with them."""
    _, function = recipes.load(recipe)
    for name, value in flags.items():
        check("--", name, value, hints(function)[name])
    checked_device(flags["device"])
    return function(**parse(words, function), **flags)


def as_words(flags: Mapping[str, Any]) -> list[str]:
    """Return flags as the words of a command."""
    return [word for name, value in flags.items() if value is not None for word in (f"--{name}", str(value))]


def engined(search: Any, name: str | None) -> Any:
    """Return `search` with the engine of that name; raises UsageError for an unknown one, or where there is none to choose."""
    if name is None:
        return search
    if name not in ENGINES:
        raise UsageError(nearest(name, ENGINES, kind="engine"))
    if not hasattr(search, "engine"):
        raise UsageError(f"{search.name} has no supernet, so that --engine says nothing; leave it out")
    return replace(search, engine=ENGINES[name])


def shown(words: Iterable[str]) -> str:
    """Return the command line of a search, as the report shows it."""
    return shlex.join(["mimar", "search", *words])


def free_folder(recipe: str, task: str | None, seed: int) -> Path:
    """Return runs/RECIPE-TASK-sSEED-N with the first N that is free."""
    name = (task or "digits").partition(":")[0]
    return free_beside(Path("runs") / f"{recipe.replace(':', '-').replace('_', '-')}-{name}", f"s{seed}")


def free_beside(folder: Path, word: str) -> Path:
    """Return FOLDER-WORD-N with the first N that is free."""
    stem = folder.with_name(f"{folder.resolve().name if folder.name in ('', '..') else folder.name}-{word}")
    return next(p for n in itertools.count(1) if not (p := stem.with_name(f"{stem.name}-{n}")).exists())


def rebuilt(folder: Path) -> Any:
    """Return the search of a run, and take over its number of threads, on which its bits depend."""
    with runs.open_run(folder) as store:
        header = store.header
    search = rebuild(header.get("tree"))
    if not hasattr(search, "events"):
        raise RunError(f"{folder} does not say how it was made, so that it cannot continue")
    if (plan := header.get("plan")) and hasattr(search, "engine"):
        search = replace(search, engine=rebuild(plan["engine"]))
    torch.set_num_threads(int(header.get("versions", {}).get("threads", torch.get_num_threads())))
    return search


def refuse_table(folder: Path, wanted: str) -> None:
    """Raise RunError where a run has no network to be `wanted`, because it looked figures up in a table."""
    with runs.open_run(folder) as store:
        task = (store.header.get("tree") or {}).get("task")
    if benchmarks.is_benchmark(task) or (isinstance(task, dict) and task.get("kind") == Table.__name__):
        raise RunError(
            f"{folder} looked its figures up in a table and trained nothing, so that there is no network to {wanted}; "
            "search on a task with data instead, as --task digits"
        )


def again(folder: Path, words: Iterable[str], flags: Mapping[str, Any]) -> Again:
    """Return the training of the architecture that a run found."""
    refuse_table(folder, "train again")
    search = rebuilt(folder)
    with runs.open_run(folder) as store:
        found = [e.get("architecture") or e["result"]["architecture"] for e in store.events() if e["event"] in FOUND]
    if not found:
        raise RunError(f"{folder} has found no architecture yet; go on with: mimar resume {shlex.quote(str(folder))}")
    text = Architecture({n: tuple(v) if isinstance(v, list) else v for n, v in found[-1].items()}).to_json()
    part = changed(search.retrain, words)
    new = Again(f"{search.name}-retrain".replace("-retrain" * 2, "-retrain"), text, part, search.net, search.task, search.seed, search.device)  # fmt: skip
    new = replace(new, **{name: value for name, value in flags.items() if value is not None})
    checked_device(new.device)
    return new


ENGINES = {"fused": Fused(), "lean": Fused(recompute=True), "reference": Reference()}
FOUND = ("derived", "finished")


def run(search: Any, folder: Path, *, json: bool = False, **more: Any) -> None:
    """Run a search into its folder (`more`: resume, inexact, command), write the report, and tell the result."""
    try:
        with Display(search.baseline) as display:
            result = run_search(search, folder, progress=display, **more)
        page, trouble = reported(folder)
    except KeyboardInterrupt:
        where = shlex.quote(str(folder))
        saved = f"saved; continue with: mimar resume {where}"
        raise MimarError(saved if runs.is_run(folder) else "interrupted before the run began") from None
    if trouble:
        typer.secho(trouble, fg="yellow", err=True)
    if json:
        typer.echo(result.to_json())
    else:
        typer.echo(told(result, folder, page))


def reported(folder: Path) -> tuple[Path | None, str]:
    """Write the report of a run; a failure costs the report, never the result. Return its path and what went wrong."""
    try:
        from mimar import report

        return Path(report.write([folder])), ""
    except Exception as error:  # noqa: BLE001 - whatever it is, the result is on disk and is told
        return None, f"the report could not be written ({' '.join(str(error).split())}); try: mimar report {folder}"


def told(result: Result, folder: Path, page: Path | None) -> str:
    """Return the result as a person reads it."""
    with runs.open_run(folder) as store:
        layout = store.header.get("layout")
    random, metrics, m = result.baseline["random"], result.metrics, verdict(result.data)
    beside = "none trained" if result.model is not None else "none"
    if random["n"]:
        beside = f"best {m.form(random['best'])}, mean {m.form(random['mean'])} ± {m.form(random['std'])} (n = {random['n']})"
    known = {"parameters": metrics.get("params"), "MACs": metrics.get("macs")}
    rows = {
        "architecture": spelled(result.architecture, layout),
        m.title: m.form(m.of({"metrics": metrics})),
        "random": beside,
        **({"front": f"{len(result.data['front'])} architectures"} if "front" in result.data else {}),
        **{name: count(value) for name, value in known.items() if value is not None},
        **spent(result),
        "time": seconds(result.seconds),
        "run": str(folder),
        "report": str(page or "none"),
    }
    width = max(15, *(len(name) + 2 for name in rows))
    return "\n".join(f"{name:{width}}{text}" for name, text in rows.items())


def spent(result: Result) -> dict[str, str]:
    """Return what a black-box search spent, in both currencies; nothing of a search that asks no queries."""
    ledger, unit = result.data.get("ledger"), str(result.data.get("unit"))
    if not ledger:
        return {}
    text = f"{ledger['queries']:,} queries"
    if unit != "queries":
        text += f", {cost(ledger['cost'], unit)}" + (" simulated" if result.model is None and unit == "s" else "")
        text += f" ({cost(ledger['clock'], unit)} on the clock)" if ledger["clock"] != ledger["cost"] else ""
    lost = ledger["failed"] + ledger["infeasible"]
    return {"search": text + (f", {lost:,} failed or refused" if lost else "")}


def spelled(architecture: Architecture, layout: str | None) -> str:
    """Return an architecture in the notation of its space, or as a table of choices."""
    try:
        if layout == "nasbench201":
            return architecture.to_nasbench201()
        if layout == "darts":
            return str(architecture.to_genotype())
    except SpaceError:
        pass  # choices beside those of the cell: the table shows them all
    return ("\n" + " " * 15).join(f"{name} = {option}" for name, option in architecture.items())
