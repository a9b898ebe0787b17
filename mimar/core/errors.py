"""The errors that mimar raises on purpose: one clear sentence each, typed by what the reader can do about it.

The command line turns `UsageError` into exit code 2 and every other `MimarError` into exit code 1.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable


class MimarError(Exception):
    """Base of every error that mimar raises on purpose; its text is one sentence for a person."""


class UsageError(MimarError, ValueError):
    """A word, key, option or value that was asked for does not exist or is out of range."""


class SpaceError(MimarError, ValueError):
    """A choice, space or architecture that contradicts itself or another one."""


class DataError(MimarError, ValueError):
    """Data of the wrong shape, size or content."""


class DataAbsentError(DataError):
    """A data set that is not on this machine; the text says where to get it."""


class RunError(MimarError, RuntimeError):
    """A run folder that cannot be created, opened, locked, written or continued."""


class NonFiniteError(MimarError, ArithmeticError):
    """A loss, gradient or hypergradient that is not finite; the text names it."""


class OutOfMemoryError(MimarError, MemoryError):
    """The machine or the device ran out of memory; the text says what to make smaller."""


class DivergenceWarning(UserWarning):
    """A series or solver that grows instead of shrinking; the text names it and the remedy."""


def nearest(word: str, words: Iterable[str], *, kind: str) -> str:
    """Say which of `words` is nearest to the unknown `word`, as the end of an error's sentence."""
    known = sorted(words)
    begun = [name for name in known if word and name.startswith(word)]

    def likeness(name: str) -> tuple[float, int]:
        """How alike two words are; of equally close ones that which begins alike: people mistake ends."""
        return difflib.SequenceMatcher(None, name, word).ratio(), len(os.path.commonprefix([name, word]))

    close = begun or [name for name in sorted(known, key=likeness, reverse=True) if likeness(name)[0] >= 0.5]
    if close:
        return f"unknown {kind} {word!r}; did you mean {close[0]!r}?"
    listed = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    return f"unknown {kind} {word!r}; there is {listed or 'none'}"
