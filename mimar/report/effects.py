"""What each option went with: the mean of the trials that took it less the mean of the rest, as dots and as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

from mimar.report.cells import option
from mimar.report.markup import Markup, label, path, svg, table, tag
from mimar.report.plots import scale
from mimar.report.reading import number
from mimar.report.trials import Aim, Tried

MOST = 40  # choices of one picture
SERIES = (0, 1, 2, 3, 4, 5, 7)
WIDTH, RIGHT, PITCH, LETTER = 480.0, 322.0, 22.0, 6.2


class Effect(NamedTuple):
    """An option of a choice: `size` trials took it, and their mean is `gap` above that of the rest."""

    choice: str
    name: str
    size: int
    gap: float


def effects(trials: Sequence[Tried], aim: Aim) -> list[list[Effect]]:
    """Return the effects by choice; of a number, which has no options, of its upper half. Choices of one option have none.

    gap = mean{v : took it} − mean{v : had the choice and took another}, in the objective's own direction.
    """
    names = dict.fromkeys(name for t in trials for name in t.architecture)
    found = [_of(name, [(t.architecture[name], aim.of(t)) for t in trials if name in t.architecture]) for name in names]
    return [one for one in found if one]


def _of(choice: str, pairs: Sequence[tuple[Any, float]]) -> list[Effect]:
    taken: dict[str, set[int]] = {}
    values = [number(v) for v, _ in pairs]
    real = [v for v in values if v is not None and v != int(v)]
    if real and None not in values:  # a choice of a number in an interval
        middle = sorted(v for v in values if v is not None)[len(values) // 2]
        taken[f"≥ {middle:.4g}"] = {i for i, v in enumerate(values) if v is not None and v >= middle}
    else:
        for i, (value, _) in enumerate(pairs):
            for one in value if isinstance(value, list) else [value]:
                taken.setdefault(option(one), set()).add(i)
    total, found = math.fsum(v for _, v in pairs), []
    for name, own in taken.items():
        rest = len(pairs) - len(own)
        if rest:
            inside = math.fsum(pairs[i][1] for i in own)
            found.append(Effect(choice, name, len(own), inside / len(own) - (total - inside) / rest))
    return sorted(found, key=lambda e: (float(e.name), "") if e.name.isdecimal() else (math.inf, e.name))


def picture(every: Sequence[Sequence[Effect]], aim: Aim, colours: Mapping[str, int]) -> Markup:
    """Return a row of dots for each choice, right of zero what went with larger figures; the best is named.

    An option without a colour in `colours` has one by its place in its choice.
    """
    most = sorted(every, key=lambda one: -max(abs(e.gap) for e in one))[:MOST]
    rows = [one for one in every if any(one is kept for kept in most)]
    if not rows:
        return Markup()
    marks, height = scale([0.0, *(e.gap for one in rows for e in one)]), PITCH * len(rows) + 34
    drawn, told, left = [], [], 24 + LETTER * min(max(len(one[0].choice) for one in rows), 20)

    def across(gap: float) -> float:
        return left + (gap - marks[0]) / (marks[-1] - marks[0]) * (RIGHT - left)

    for mark in marks:
        drawn.append(path([(across(mark), 4), (across(mark), height - 26)], "rule" if mark else "axis"))
        if len(marks) < 7 or not round(mark / (marks[1] - marks[0])) % 2:
            drawn.append(label(across(mark), height - 12, aim.gap(mark) if mark else "0", "soft", "middle"))
    for k, one in enumerate(rows):
        y, best = PITCH * k + 18, max(one, key=lambda e: (aim.sign * e.gap, e.name))
        choice = one[0].choice
        drawn.append(label(left - 12, y + 4, choice if len(choice) < 21 else f"…{choice[-19:]}", "ink", "end"))
        for i, e in enumerate(one):
            colour = f"s{colours.get(e.name, SERIES[i % len(SERIES)])}"
            tip = tag("title", f"{e.name} {aim.gap(e.gap)}")
            drawn.append(tag("circle", tip, cx=across(e.gap), cy=y, r=4.5, class_=f"dot {colour}"))
            if e is best:
                drawn.append(label(RIGHT + 12, y + 4, f"{e.name[:14]} {aim.gap(e.gap)}", f"name {colour}"))
        told.append(f"{choice}: {', '.join(f'{e.name} {aim.gap(e.gap)}' for e in one)}")
    return svg((WIDTH, height), drawn, f"effect of each option on {aim.label}", "; ".join(told))


def listed(every: Sequence[Sequence[Sequence[Effect]]], aims: Sequence[Aim]) -> Markup:
    """Return the effects as a table; `every` holds those on each objective."""
    rows = []
    for same in zip(*map(chain.from_iterable, every), strict=True):
        first, gaps = same[0], [aim.gap(e.gap) for aim, e in zip(aims, same, strict=True)]
        rows.append((f"{first.choice}: {first.name}", f"{first.size:,}", *gaps))
    return table(("option", "trials", *(aim.label for aim in aims)), rows)
