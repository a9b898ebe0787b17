"""`python -m mimar.cli` is `mimar`."""

from mimar.cli import main

main()
