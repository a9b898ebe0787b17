"""Who descends from whom: what the log of an evolution says of donors, lines of descent and what a cache would save.

A trial's donor is the architecture it was made from, named by digest: its weights, its first layers or its figures could
be used again. Functions of trials in the order in which they ended. Underwood et al., "Understanding patterns of deep
learning model evolution in network architecture search", 2023. Differs: on trials of any ask/tell search, without weights.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from mimar.core.errors import UsageError
from mimar.space import Trial


def depths(trials: Sequence[Trial]) -> list[int]:
    """Return for each trial how many ancestors its line has: 0 without a donor, else one more than its donor's last trial.

    A donor that is not among the trials before counts as one without ancestors.
    """
    last: dict[str, int] = {}
    found = []
    for trial in trials:
        donor = trial.proposal.parent
        found.append(0 if donor is None else last.get(donor, 0) + 1)
        last[trial.architecture.digest] = found[-1]
    return found


def donors(trials: Sequence[Trial]) -> Counter[str]:
    """Return how many trials each donor gave rise to."""
    return Counter(t.proposal.parent for t in trials if t.proposal.parent is not None)


def popularity(trials: Sequence[Trial], window: int) -> Iterator[Counter[str]]:
    """Yield after each trial the births by donor among the last `window` trials: how donors rise and fall."""
    if window < 1:
        raise UsageError(f"a window holds at least one trial, not {window}")
    seen: deque[str | None] = deque()
    counts: Counter[str] = Counter()
    for trial in trials:
        seen.append(trial.proposal.parent)
        if trial.proposal.parent is not None:
            counts[trial.proposal.parent] += 1
        gone = seen.popleft() if len(seen) > window else None
        if gone is not None:
            counts[gone] -= 1
        yield +counts


def concentration(trials: Sequence[Trial], top: int = 10) -> float:
    """Return the share of births that the `top` most frequent donors gave; 0 where nothing was born."""
    counts = donors(trials)
    return sum(n for _, n in counts.most_common(top)) / max(counts.total(), 1)


def common_prefix(a: Mapping[str, Any], b: Mapping[str, Any], order: Sequence[str]) -> int:
    """Return how many decisions, of those in `order` that either takes, agree before the first that does not."""
    count = 0
    for name in order:
        if name in a or name in b:
            if name not in a or name not in b or a[name] != b[name]:
                break
            count += 1
    return count


def prefixes(trials: Sequence[Trial], order: Sequence[str]) -> list[int]:
    """Return for each child of a donor among the trials the prefix it shares with it: the layers it could take over."""
    known: dict[str, Mapping[str, Any]] = {}
    found = []
    for trial in trials:
        donor = trial.proposal.parent
        if donor is not None and donor in known:
            found.append(common_prefix(trial.architecture, known[donor], order))
        known[trial.architecture.digest] = trial.architecture
    return found


def repeated(trials: Sequence[Trial]) -> float:
    """Return the share of trials whose architecture was measured before: what a cache without bounds saves."""
    return hit_rate(trials, math.inf)


def hit_rate(
    trials: Sequence[Trial],
    capacity: float,
    *,
    of: Literal["figures", "weights"] = "figures",
    keep: Literal["recent", "donors"] = "recent",
) -> float:
    """Return how often a cache of `capacity` architectures has what is asked for; 0 where nothing is.

    "figures": every trial asks for those of its own architecture. "weights": every child asks for its donor's. What was
    measured is stored; when the cache is full, "recent" drops what was used longest ago (LRU), "donors" what has given
    rise to fewest so far, of these what was used longest ago.
    """
    if not capacity >= 1:
        raise UsageError(f"a cache holds at least one architecture, not {capacity}")
    held: OrderedDict[str, None] = OrderedDict()  # the least recently used first
    births: Counter[str] = Counter()
    asked = hits = 0
    for trial in trials:
        own, donor = trial.architecture.digest, trial.proposal.parent
        wanted = own if of == "figures" else donor
        if wanted is not None:
            asked += 1
            if wanted in held:
                hits += 1
                held.move_to_end(wanted)
        if donor is not None:
            births[donor] += 1
        held[own] = None
        held.move_to_end(own)
        if len(held) > capacity:
            others = [key for key in held if key != own] or [own]
            held.pop(others[0] if keep == "recent" else min(others, key=births.__getitem__))
    return hits / max(asked, 1)
