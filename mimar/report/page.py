"""One self-contained page from run folders: no scripts, no outside resources, the same bytes for the same files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mimar.core.errors import UsageError
from mimar.report import compare, sections
from mimar.report.drawing import alone
from mimar.report.markup import esc, tag
from mimar.report.reading import Run, load
from mimar.report.style import PAGE
from mimar.runs.files import write_atomic

NAME, CELL, SEVERAL = "report.html", "cell.svg", "comparison.html"
Folder = str | os.PathLike[str]

# even a page about somebody else's run may load nothing and run nothing
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def write(folders: Folder | Sequence[Folder], out: Folder | None = None) -> Path:
    """Write the report of one run, or a page that compares several, and return its path.

    `out`: the file; by default RUN/report.html with the drawing beside it as RUN/cell.svg, and for several runs
    comparison.html in the folder that holds them all. Reads run folders only and changes nothing else in them, so that
    a run may be going on. Raises RunError for a folder that is no run or a file that cannot be written.
    """
    given = [folders] if isinstance(folders, str | os.PathLike) else list(folders)
    if not given:
        raise UsageError("a report needs at least one run folder; none was given")
    runs = [load(folder) for folder in given]
    if len(runs) > 1:
        path = Path(out) if out is not None else _common(runs) / SEVERAL
        write_atomic(path, document(f"{len(runs)} runs", compare.body(runs)))
        return path
    run = runs[0]
    path = Path(out) if out is not None else run.folder / NAME
    cells = sections.drawn(run)
    if out is None and cells:
        write_atomic(run.folder / CELL, alone(cells, sections.colours(run), run.title))
    write_atomic(path, document(run.title, body(run)))
    return path


def body(run: Run) -> str:
    """Return the content of the page of one run."""
    parts = (sections.verdict, sections.cell, sections.networks, sections.monitors, sections.training)
    rest = (sections.budget, sections.warnings, sections.conditions, sections.again)
    return "".join(part(run) for part in (*parts, *rest))


def document(title: str, content: str) -> str:
    """Return a whole HTML page around `content`, which is markup already."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{esc(_POLICY)}">'
        f"<title>{esc(title)} – mimar</title><style>{PAGE}</style>"
    )
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{tag("main", content)}</body></html>\n'


def _common(runs: Sequence[Run]) -> Path:
    return Path(os.path.commonpath([run.folder.absolute().parent for run in runs]))
