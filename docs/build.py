"""Renew the generated parts of the documents; with --check, change nothing and fail when one is out of date.

A generated part stands between two comments and holds what the command prints, so that no page shows old help:

    <!-- output of: mimar --help -->
    <!-- end of output -->

What `evidence/*.json` says stands between `<!-- evidence: … -->` comments in the same way (see `docs/systems.py`), and
what `benchmarks/results/NAME-*.csv` hold between `<!-- measured: NAME -->` and `<!-- end of measured -->`.
Relative links between the pages are checked as well.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PART = re.compile(r"(<!-- output of: (?P<command>mimar .*?) -->\n).*?(<!-- end of output -->)", re.DOTALL)
SHOWN = re.compile(r"(<!-- evidence: (?P<words>.*?) -->\n).*?(<!-- end of evidence -->)", re.DOTALL)
MEASURED = re.compile(r"(<!-- measured: (?P<name>[\w-]+) -->\n).*?(<!-- end of measured -->)", re.DOTALL)
LINK = re.compile(r"\[[^\]\n]*\]\((?!\w+:|#)([^)#\s]+)(?:#[^)\s]*)?\)")


def pages() -> list[Path]:
    """Return every Markdown page of the repository that a reader opens."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def output(command: str) -> str:
    """Run one `mimar …` command at a width of 100 columns, without colours, and return what it prints."""
    program = Path(sys.executable).parent / "mimar"
    plain = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    plain.pop("FORCE_COLOR", None)
    words = [str(program), *shlex.split(command)[1:]]
    done = subprocess.run(words, env=plain, capture_output=True, text=True, check=True)
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()).strip("\n")


def evidence(words: str) -> str:
    """Return what `docs/systems.py` makes of the evidence; it needs mimar, hence is loaded only where it is used."""
    spec = importlib.util.spec_from_file_location("docs_systems", ROOT / "docs" / "systems.py")
    if spec is None or spec.loader is None:
        raise RuntimeError("docs/systems.py cannot be loaded")
    systems = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(systems)
    return str(systems.text(words))


def measured(name: str) -> str:
    """Return the figures of a benchmark as Markdown, one table for each of its CSVs, with the conditions above it."""
    tables = []
    for path in sorted((ROOT / "benchmarks" / "results").glob(f"{name}-threads*.csv")):
        with path.open(newline="") as file:
            head, *rows = csv.reader(file)
        *head, _, _ = head  # machine and instructions, the same in every row
        lines = [head, ["---"] * len(head), *(row[:-2] for row in rows)]
        body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        tables.append(f"On {rows[0][-2]} ({rows[0][-1]}), `{path.stem}`:\n\n{body}")
    return "\n\n".join(tables) or "Not yet measured."


def renewed(text: str) -> str:
    """Return the page with every generated part as the commands, the evidence and the benchmarks have it now."""
    text = SHOWN.sub(lambda m: f"{m[1]}{evidence(m['words'])}\n{m[3]}", text)
    text = MEASURED.sub(lambda m: f"{m[1]}{measured(m['name'])}\n{m[3]}", text)
    return PART.sub(lambda m: f"{m[1]}```text\n{output(m['command'])}\n```\n{m[3]}", text)


def broken_links(page: Path, text: str) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    return [link for link in LINK.findall(prose) if not (page.parent / link).exists()]


def main() -> int:
    """Renew or check all pages; return the exit code."""
    parser = argparse.ArgumentParser(description="renew the generated parts of the documents")
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a part is out of date")
    check = parser.parse_args().check
    problems = []
    for page in pages():
        text = page.read_text(encoding="utf-8")
        problems += [f"{page.relative_to(ROOT)}: the link {link} leads nowhere" for link in broken_links(page, text)]
        new = renewed(text)
        if new != text and check:
            problems.append(f"{page.relative_to(ROOT)}: a generated part is out of date; run: make docs")
        elif new != text:
            page.write_text(new, encoding="utf-8")
            print(f"renewed {page.relative_to(ROOT)}")
    print("\n".join(problems) or f"{len(pages())} pages are in order")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
