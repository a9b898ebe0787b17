"""run.json: the header of a run, readable by a person, with a format number and a checksum of its values."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

from mimar.core.errors import RunError, UsageError
from mimar.runs import codec, files

NAME = "run.json"
FORMAT = 1
CHECK = "crc32"


def dumps(header: dict[str, Any]) -> str:
    """Return the text of run.json; raises UsageError for what JSON cannot hold."""
    if {"format", CHECK} & header.keys():
        raise UsageError(f"the header of a run cannot have the fields 'format' and {CHECK!r}: the run writes them")
    whole = {"format": FORMAT, **header}
    return codec.dumps({**whole, CHECK: _checksum(whole)}, kind="header of the run", indent=2) + "\n"


def _checksum(header: dict[str, Any]) -> str:
    """Return the checksum of the values, whatever the spacing and the order of the keys."""
    return f"{zlib.crc32(codec.dumps(header, kind='header of the run', ordered=True).encode()):08x}"


def load(folder: Path) -> dict[str, Any]:
    """Return the header of the run in `folder`; raises RunError when it is none, damaged or newer."""
    path = folder / NAME
    try:
        header = codec.loads(files.read_bytes(path))
    except FileNotFoundError as error:
        what = "it has no run.json" if os.path.isdir(folder) else "there is no such folder"
        raise RunError(f"{folder} is not a run: {what}") from error
    except NotADirectoryError as error:
        raise RunError(f"{folder} is not a run: it is a file, not a folder") from error
    except OSError as error:
        raise files.failed("read", path, error) from error
    except ValueError as error:
        raise RunError(f"{path} is damaged: it is not JSON") from error
    found = header.get("format") if isinstance(header, dict) else None
    if not isinstance(found, int):
        raise RunError(f"{path} is damaged: it has no format number")
    if found > FORMAT:
        raise RunError(f"{path} was written by a newer mimar (format {found}; this one reads {FORMAT}): update mimar")
    check = header.pop(CHECK, None)
    if found != FORMAT or check != _checksum(header):
        raise RunError(f"{path} is damaged: its checksum does not match")
    return header


def present(folder: Path) -> bool:
    """Tell whether `folder` has a run.json."""
    return os.path.isfile(folder / NAME)
