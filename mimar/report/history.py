"""How a black-box search went: every trial by query and by the clock, what led, and how the front grew."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mimar.core.units import count
from mimar.objectives import hypervolume
from mimar.report.markup import Markup, figure, tag
from mimar.report.plots import Line, whole_percent
from mimar.report.reading import Run
from mimar.report.scatter import Axis, Marks, key, scatter
from mimar.report.trials import Aim, Tried, fronts, leaders, top

COLOURS = (2, 0, 4, 3, 5, 7)  # of fidelities, the highest first
LOST = (3, 4, 7, 5)  # of the ways to have no value
NAMES = {"timeout": "timed out", "ok": "not finite"}  # a status as a person reads it
STRETCH = 1.5  # the worst quarter is drawn at the edge where it would make the axis longer than by this factor

At = Callable[[Tried], float]


def by_query(trial: Tried) -> float:
    """Return the place of a trial."""
    return float(trial.place)


def by_clock(trial: Tried) -> float:
    """Return when a trial ended."""
    return trial.ended


def axes(run: Run, trials: Sequence[Tried]) -> list[tuple[Axis, At]]:
    """Return the two currencies; the queries alone where the clock counts nothing else."""
    found: list[tuple[Axis, At]] = [(Axis("query", count), by_query)]
    if any(t.ended != t.place for t in trials):
        name = "cost in MACs" if run.unit == "MACs" else f"clock, {run.unit}{run.simulated}"
        found.append((Axis(name, count), by_clock))
    return found


def pictures(run: Run, trials: Sequence[Tried], aims: Sequence[Aim]) -> Markup:
    """Return the search in both currencies; of several objectives the first one, and the volume of the front."""
    aim, found, groups, up = aims[0], list[Markup](), list[Marks](), Axis("")
    for across, at in axes(run, trials):
        groups, up = marks(trials, aim, at)
        line = staircase([(at(t), aim.of(t)) for t in leaders(trials)], max(map(at, trials), default=0.0))
        title = f"{aim.label} of each trial by {across.name}"
        picture = scatter(title, across, up, groups, [Line("incumbent", line, 1)])
        found.append(figure(picture, f"{aim.label} by {across.name}"))
    if not any(found):
        return Markup()
    hints = []
    ys = [y for g in groups if g.kind != "cross" for _, y in g.points]
    low, *_, high = up.ticks(ys)
    if cut := sum(not low <= y <= high for y in ys):
        hints.append(f"Triangles stand for {cut:,} trials beyond the edge.")
    if len(aims) > 1:
        found.append(figure(volume(trials, len(aims)), "volume that the front dominates"))
        hints.append("What leads is the best in the first objective. The volume is a share of that at the end.")
    hint = tag("p", " ".join(hints), class_="hint") if hints else ""
    return key(groups) + tag("div", *found, class_="grid") + hint


def marks(trials: Sequence[Tried], aim: Aim, at: At) -> tuple[list[Marks], Axis]:
    """Return the trials as marks, by fidelity and by how they failed, and an axis that far outliers do not stretch."""
    good = [t for t in trials if len(t.values) > aim.place]
    heights = sorted({t.height for t in good}, reverse=True)
    groups = []
    for k, height in enumerate(heights):
        own = [t for t in good if t.height == height]
        colour, name = (COLOURS[k % len(COLOURS)], f"fidelity {own[0].rung}") if len(heights) > 1 else (6, "trials")
        groups.append(Marks(name, [(at(t), aim.of(t)) for t in own], colour))
    without = [t for t in trials if not t.values]
    for k, status in enumerate(sorted({t.status for t in without})):
        lost = [(at(t), 0.0) for t in without if t.status == status]
        groups.append(Marks(NAMES.get(status, status), lost, LOST[k % len(LOST)], "cross"))
    return groups, axis(good, aim)


def axis(good: Sequence[Tried], aim: Aim) -> Axis:
    """Return an axis for an objective; where the worst quarter would stretch it too far, that is drawn at the edge."""
    values = sorted(t.values[aim.place] for t in good)
    quarter = values[len(values) // 4] if values else 0.0
    far = bool(values) and values[-1] - values[0] > STRETCH * (values[-1] - quarter) > 0
    worst = aim.sign * quarter if far else None
    return Axis(aim.label, aim.tick, *((worst, None) if aim.sign > 0 else (None, worst)))


def staircase(points: Sequence[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """Return the corners of a staircase through points, each held until the next, the last one to the end."""
    ends = [*(x for x, _ in points), end][1:]
    return [corner for (x, y), to in zip(points, ends, strict=True) for corner in ((x, y), (to, y))]


def volume(trials: Sequence[Tried], size: int) -> Markup:
    """Return the dominated volume by query, as a share of that at the end, above the worst that was measured."""
    good = top(trials)
    if not good or len(good[0].values) != size:
        return Markup()
    reference = [min(t.values[k] for t in good) for k in range(size)]
    grown = [(by_query(t), hypervolume([m.values for m in held], reference)) for t, held in fronts(good)]
    most = grown[-1][1]
    line = staircase([(x, y / most) for x, y in grown] if most else [], float(len(trials)))
    return scatter(
        "dominated volume by query", Axis("query", count), Axis("volume", whole_percent), [], [Line("front", line, 0)]
    )
