"""What searchers remember of what they were told, as JSON and back."""

from __future__ import annotations

from typing import Any

from mimar.space import Architecture, Trial, judged

Values = tuple[float, ...]


class Known:
    """One architecture that was measured: its values (larger is better) and its fidelity; its digest once asked for."""

    __slots__ = ("_digest", "architecture", "fidelity", "values")

    def __init__(self, architecture: Architecture, values: Values, fidelity: float | None = None) -> None:
        self.architecture, self.values, self.fidelity = architecture, values, fidelity
        self._digest: str | None = None

    @property
    def digest(self) -> str:
        """The digest of the architecture, computed once."""
        if self._digest is None:
            self._digest = self.architecture.digest
        return self._digest

    def to_json(self) -> list[Any]:
        """Return [architecture, values, fidelity]."""
        return [dict(self.architecture), list(self.values), self.fidelity]

    @staticmethod
    def from_json(data: list[Any]) -> Known:
        """Return what `to_json` described."""
        return Known(Architecture(data[0]), tuple(data[1]), data[2])


class Past:
    """All that was told and can be judged, in order; a proposal that went on to a higher fidelity has one entry, its last.

    Trials told after a higher fidelity was reached elsewhere are kept too: `top` gives those at the highest alone where
    they are enough to learn from.
    """

    def __init__(self) -> None:
        self.known: list[Known] = []
        self._place: dict[Architecture, int] = {}

    def __len__(self) -> int:
        return len(self.known)

    def add(self, trial: Trial) -> Known | None:
        """Note a trial; return its entry, None where it says nothing (failed, infeasible, not finite)."""
        values = judged(trial)
        if values is None:
            return None
        one = Known(trial.architecture, values, trial.proposal.fidelity)
        if trial.since is not None and (place := self._place.get(one.architecture)) is not None:
            self.known[place] = one
            return one
        self._place[one.architecture] = len(self.known)
        self.known.append(one)
        return one

    def measured(self, architecture: Architecture) -> bool:
        """Tell whether an architecture is among them."""
        return architecture in self._place

    def top(self, least: int = 1) -> list[Known]:
        """Return the entries of the highest fidelity at which there are at least `least`; all where there is none."""
        levels = sorted({_height(k) for k in self.known}, reverse=True)
        for level in levels:
            found = [k for k in self.known if _height(k) == level]
            if len(found) >= least:
                return found
        return list(self.known)

    def state_dict(self) -> list[Any]:
        """Return all entries as JSON."""
        return [k.to_json() for k in self.known]

    def load_state_dict(self, state: list[Any]) -> None:
        """Continue from what `state_dict` returned."""
        self.known = [Known.from_json(k) for k in state]
        self._place = {k.architecture: i for i, k in enumerate(self.known)}


def _height(one: Known) -> float:
    return float("inf") if one.fidelity is None else one.fidelity
