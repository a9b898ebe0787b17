"""The search loops: each reads as its paper's algorithm, yields events, writes nothing and prints nothing."""

from mimar.search.asktell import AskTell
from mimar.search.bilevel import Bilevel
from mimar.search.levels import Levels
from mimar.search.oneshot import OneShot
from mimar.search.pruning import Pruning
from mimar.search.result import Result
from mimar.search.run import run
from mimar.search.teach import Teach
from mimar.search.trials import Trials
from mimar.search.untrained import Untrained

__all__ = ["AskTell", "Bilevel", "Levels", "OneShot", "Pruning", "Result", "Teach", "Trials", "Untrained", "run"]
