"""One self-contained HTML page, and drawings and tables, from the files of a run."""
