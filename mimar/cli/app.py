"""The commands. Each one turns its words into calls of the library; exit codes and sentences are decided in one place."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import mimar
from mimar.core.errors import MimarError, UsageError


class Sentences(TyperGroup):
    """The group of all commands: what a command raises becomes one sentence on stderr and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Let --debug stand anywhere."""
        return super().parse_args(ctx, ["--debug"] * ("--debug" in args) + [a for a in args if a != "--debug"])

    def invoke(self, ctx: Any) -> Any:
        """Run the command; exit 2 for a UsageError and 1 for any other failure, with a traceback under --debug only."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("mimar: interrupted", err=True)
            raise typer.Exit(1) from None
        except Exception as error:
            if hasattr(error, "exit_code") or isinstance(error, typer.Abort | BrokenPipeError):  # typer's own to end
                raise
            if ctx.params.get("debug"):
                traceback.print_exc()
            typer.echo(f"mimar: {sentence(error)}", err=True)
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from None


def sentence(error: Exception) -> str:
    """Return an error as one line; one that mimar did not raise on purpose is named, with the way to see more."""
    text = " ".join(str(error).split())
    if isinstance(error, MimarError):
        return text
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}"
    return f"unexpected {type(error).__name__}: {text[:300]} (--debug shows where)"


app = typer.Typer(
    cls=Sentences,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Neural architecture search. Begin with: mimar search idarts --task digits",
)

Recipe = Annotated[str, typer.Argument(metavar="RECIPE", help="a name of `mimar list recipes`, or NAME:VARIANT")]
Words = Annotated[list[str] | None, typer.Argument(metavar="[key=value ...]", help="options, see `mimar show RECIPE`")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="the folder of a run")]
Out = Annotated[Path | None, typer.Option(metavar="PATH", help="where the result is written")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object as the last line of stdout")]
Task = Annotated[str | None, typer.Option(metavar="NAME", help="a name of `mimar list tasks`, with options: digits:limit=500")]  # fmt: skip
Net = Annotated[str | None, typer.Option(metavar="NAME", help="a name of `mimar list nets`, with options: darts:cells=3")]  # fmt: skip
Device = Annotated[str, typer.Option(metavar="cpu|cuda", help="where tensors live")]
Engine = Annotated[str | None, typer.Option(metavar="fused|lean|reference", help="how the supernet runs: fast (default), with little memory, or slow and obvious; the numbers are the same to rounding")]  # fmt: skip
Baseline = Annotated[int | None, typer.Option(help="random networks beside the result; by default as many as cost the same")]  # fmt: skip
COMPARED = "options are for all recipes; RECIPE:key=value is for one"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mimar {mimar.__version__}")
        raise typer.Exit


@app.callback()
def whole(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="print it")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="print the traceback of a failure")] = False,
) -> None:
    """Read what stands before a command; both flags are used elsewhere."""


@app.command()
def search(
    recipe: Recipe,
    options: Words = None,
    task: Task = None,
    net: Net = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="the run's folder, by default below runs")] = None,
    seed: Annotated[int, typer.Option(help="the seed; with --seeds the first one")] = 0,
    seeds: Annotated[int | None, typer.Option(min=1, help="run this many seeds, each into DIR/seed-S")] = None,
    workers: Annotated[int, typer.Option(min=1, help="with --seeds: so many processes at once")] = 1,
    device: Device = "cpu",
    baseline: Baseline = None,
    engine: Engine = None,
    json: Json = False,
) -> None:
    """Search an architecture, retrain it, and train random ones beside it."""
    from mimar.cli import seeds as several
    from mimar.cli import work

    flags = {"task": task, "net": net, "device": device, "baseline": baseline}
    built = work.engined(work.build(recipe, options or [], {**flags, "seed": seed}), engine)
    flags["engine"] = engine
    folder = out or work.free_folder(recipe, task, seed)
    if seeds is None:
        if workers != 1:
            raise UsageError("--workers is for several seeds: give --seeds too")
        command = work.shown([recipe, *(options or []), *work.as_words({**flags, "seed": seed})])
        work.run(built, folder, json=json, command=command)
    else:
        words = [recipe, *(options or []), *work.as_words(flags)]
        several.run(words, range(seed, seed + seeds), folder, workers=workers, json=json)


@app.command()
def resume(
    run: Run,
    inexact: Annotated[bool, typer.Option("--inexact", help="go on with another torch or device")] = False,
    json: Json = False,
) -> None:
    """Continue a run where it stopped: bit for bit as if it had not."""
    from mimar.cli import work

    work.run(work.rebuilt(run), run, resume=True, inexact=inexact, json=json)


@app.command()
def retrain(
    run: Run,
    options: Annotated[list[str] | None, typer.Argument(metavar="[key=value ...]", help="as optimiser.lr=0.1")] = None,
    epochs: Annotated[int | None, typer.Option(help="how long; by default as long as in RUN")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="the new run's folder, by default beside RUN")] = None,
    seed: Annotated[int | None, typer.Option(help="another seed than that of RUN")] = None,
    device: Annotated[str | None, typer.Option(metavar="cpu|cuda", help="another device than that of RUN")] = None,
    baseline: Baseline = 0,
    json: Json = False,
) -> None:
    """Train the architecture that RUN found again from scratch, into a run of its own."""
    from mimar.cli import work

    words = [*(options or []), *([] if epochs is None else [f"epochs={epochs}"])]
    again = work.again(run, words, {"seed": seed, "device": device, "baseline": baseline})
    work.run(again, out or work.free_beside(run, "retrain"), json=json)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="folders of runs")], out: Out = None
) -> None:
    """Write one self-contained HTML file about one or several runs."""
    from mimar import report as pages

    typer.echo(str(pages.write(runs, out)))


@app.command()
def compare(
    words: Annotated[list[str], typer.Argument(metavar="RECIPE... [key=value ...]", help=COMPARED)],
    task: Task = None,
    net: Net = None,
    seeds: Annotated[int, typer.Option(min=1, help="run seeds 0 to K-1; a verdict needs 8")] = 8,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="the same command goes on in it")] = None,
    workers: Annotated[int, typer.Option(min=1, help="so many cells at once, one thread each")] = 1,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Compare recipes over seeds, beside random search and random weight sharing, on one page."""
    from mimar.cli import comparing

    comparing.run(words, out, workers=workers, json=json, task=task, net=net, seeds=seeds, device=device)


@app.command("list")
def listed(
    kind: Annotated[str, typer.Argument(metavar="recipes|tasks|nets|schedulers|proxies|parts")],
    json: Json = False,
) -> None:
    """List what there is."""
    from mimar.cli import listing

    listing.show_pairs(listing.of(kind), json=json)


@app.command()
def show(recipe: Recipe, options: Words = None) -> None:
    """Show a recipe: paper, deviations, options with ranges and defaults, and what they resolve to."""
    from mimar.cli import listing

    typer.echo(listing.recipe(recipe, options or []))


@app.command()
def cite(recipe: Recipe) -> None:
    """Print the BibTeX entry of a recipe's paper."""
    from mimar import recipes

    typer.echo(recipes.load(recipe)[0].PAPER.bibtex())


@app.command()
def evidence(
    recipes: Annotated[list[str] | None, typer.Argument(metavar="[RECIPE ...]", help="by default all")] = None,
    workers: Annotated[int, typer.Option(min=1, help="so many searches at once")] = 1,
) -> None:
    """Measure again what recipes claim, into evidence/RECIPE.json."""
    from mimar.study import evidence as study

    for path in study.record(recipes or (), workers=workers, progress=lambda told: typer.echo(told, err=True)):
        typer.echo(str(path))


@app.command()
def export(
    run: Run,
    form: Annotated[str, typer.Option("--format", metavar="onnx|torch", help="onnx needs mimar[export]")],
    out: Out = None,
) -> None:
    """Write the trained network of RUN as a program that runs without mimar (torch: for torch.export.load)."""
    from mimar.cli import exporting

    typer.echo(str(exporting.write(run, form, out)))


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]")] = None,
    fetch: Annotated[bool, typer.Option("--fetch", help="download NAME into the user's cache")] = False,
) -> None:
    """Say where the data of tasks and benchmark tables lie, or how to get them."""
    from mimar.tasks import naming

    if fetch:
        if name is None:
            raise UsageError("--fetch needs the name of a data set, as in: mimar data fashion-mnist --fetch")
        from mimar.tasks import fetch as fetching

        typer.echo(f"fetched into {fetching.fetch(name)}")
    for one in (*naming.names(), *naming.tables()) if name is None else (name,):
        typer.echo(naming.info(one))


@app.command()
def doctor(json: Json = False) -> None:
    """Say what this machine has: versions, threads, device, memory, data sets, compiled kernels."""
    from mimar.cli import listing

    listing.show_pairs(listing.doctor(), json=json)


@app.command()
def tune(
    out: Annotated[Path, typer.Option(metavar="PATH", help="where the table is written")] = Path("kernels.json"),
    device: Device = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="a few shapes only")] = False,
) -> None:
    """Measure torch's depthwise kernels and ours here, into a table that decides between them."""
    from mimar.cli import tuning

    typer.echo(tuning.tune(out, device=device, quick=quick))
