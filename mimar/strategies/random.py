"""Random search: every proposal is drawn from the space anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from mimar.core.errors import UsageError
from mimar.core.streams import stream
from mimar.space import Space
from mimar.strategies.parts import Proposal, Trial


@dataclass(frozen=True)
class Random:
    """Independent draws from the space by its priors; proposal i is a function of (seed, i) alone."""

    version: ClassVar[int] = 1

    def start(self, space: Space, seed: int) -> RandomSearcher:
        """Return a searcher at its beginning."""
        return RandomSearcher(space, seed)


class RandomSearcher:
    """Random search at work: its whole state is how many proposals were made."""

    def __init__(self, space: Space, seed: int) -> None:
        self.space, self.seed, self.asked = space, seed, 0

    def ask(self, n: int, pending: Sequence[Proposal] = ()) -> list[Proposal]:
        """Return n proposals, whatever is pending."""
        if n < 0:
            raise UsageError(f"ask(n) needs a number of at least 0; got {n}")
        numbers = range(self.asked, self.asked + n)
        self.asked += n
        return [Proposal(self.space.sample(stream(self.seed, "random", i))) for i in numbers]

    def tell(self, trials: Sequence[Trial]) -> None:
        """Learn nothing: random search does not look at results."""

    def state_dict(self) -> dict[str, Any]:
        """Return the number of proposals made."""
        return {"asked": self.asked}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue after that many proposals."""
        self.asked = int(state["asked"])
