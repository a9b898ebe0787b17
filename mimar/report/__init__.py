"""One self-contained HTML page, and drawings and tables, from the files of a run."""

from mimar.report.page import write

__all__ = ["write"]
