"""Gates that also say which options are to be executed at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

Active = tuple[bool, ...]  # one flag an option


class Gates(dict[str, Tensor]):
    """{choice: (options,) tensor}; `active`: {choice: which of its options run}.

    An option that is not active is not executed and its gate gets no gradient, although the vector may require one: the
    structural zeros of sampled relaxations. A choice that `active` does not name runs as its values ask for. Any other
    mapping is as good where every option may run.
    """

    def __init__(self, values: Mapping[str, Tensor] | None = None, active: Mapping[str, Active] | None = None) -> None:
        super().__init__(values or {})
        self.active: dict[str, Active] = dict(active or {})

    def __or__(self, other: Any) -> Gates:  # type: ignore[override]
        return Gates({**self, **other}, {**self.active, **getattr(other, "active", {})})

    def only(self, choice: str, active: Active) -> None:
        """Let no other options of `choice` run than `active`, beside what was ruled out before."""
        before = self.active.get(choice, (True,) * len(active))
        self.active[choice] = tuple(a and b for a, b in zip(active, before, strict=True))


def active_of(gates: Mapping[str, Tensor], choice: str) -> Active | None:
    """Return which options of a choice may run, or None for all."""
    return getattr(gates, "active", {}).get(choice)
