"""The command line: words into calls. Nothing here imports torch before a command needs it."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 for success, 2 for wrong usage, 1 for a failure with one clear sentence."""
    from mimar.cli.app import app

    app(args=argv, prog_name="mimar")
