"""What all mixers share, and the plain sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from mimar.space import Space
from mimar.supernet import Gates


class Mixer(Protocol):
    """From gates to coefficients. Only the network sees these: entropy, derivation and logs see the gates."""

    def __call__(self, gates: Gates, space: Space) -> Gates:
        """Return one coefficient per option of every choice."""
        ...


@dataclass(frozen=True)
class Sum:
    """The mixture of DARTS, Σ_o p_o · option_o(x): the coefficients are the gates."""

    version: ClassVar[int] = 1

    def __call__(self, gates: Gates, space: Space) -> Gates:
        return gates
