"""One self-contained page from run folders: no scripts, no outside resources, the same bytes for the same files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mimar.core.errors import UsageError
from mimar.report import asked, compare, sections
from mimar.report.cells import cells
from mimar.report.drawing import alone
from mimar.report.markup import Markup, esc, tag
from mimar.report.reading import load
from mimar.report.style import PAGE
from mimar.runs.files import write_atomic

NAME, CELL, SEVERAL = "report.html", "cell.svg", "comparison.html"
Folder = str | os.PathLike[str]
# even a page about somebody else's run may load nothing and run nothing
_HEAD = """<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">"""


def write(folders: Folder | Sequence[Folder], out: Folder | None = None) -> Path:
    """Write the report of one run, or a page that compares several, and return its path.

    `out`: the file; by default RUN/report.html with the drawing beside it as RUN/cell.svg, and for several runs
    comparison.html in the folder that holds them all. Nothing else in the folders changes, so that the runs may be going
    on. Raises RunError for a folder that is no run and for a file that cannot be written, UsageError for no folder.
    """
    given = [folders] if isinstance(folders, str | os.PathLike) else list(folders)
    if not given:
        raise UsageError("a report needs at least one run folder; none was given")
    runs = [load(folder) for folder in given]
    run, several = runs[0], len(runs) > 1
    common = Path(os.path.commonpath([r.folder.absolute().parent for r in runs]))
    path = Path(out) if out is not None else common / SEVERAL if several else run.folder / NAME
    body = compare.body(runs) if several else asked.body(run) if run.blackbox else sections.body(run)
    page = document(f"{len(runs)} runs" if several else run.title, body)
    if out is None and not several and (found := cells(run.architecture, run.header.get("layout"))):
        write_atomic(run.folder / CELL, alone(found, sections.colours(run), run.title))
    write_atomic(path, page)
    return path


def document(title: str, content: Markup) -> str:
    """Return a whole HTML page around `content`."""
    head = f"{_HEAD}<title>{esc(title)} – mimar</title><style>{PAGE}</style>"
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{tag("main", content)}</body></html>\n'
