"""What a black-box search found beside its answer: the front, the best trials, and how the answer came about."""

from __future__ import annotations

from collections.abc import Sequence

from mimar.core.units import count
from mimar.report import words
from mimar.report.cells import notation, option
from mimar.report.history import axis
from mimar.report.markup import Markup, figure, table, tag
from mimar.report.plots import Line
from mimar.report.reading import Run, number
from mimar.report.scatter import Axis, Marks, key, scatter
from mimar.report.trials import Aim, Tried, distinct, fronts, leaders, line_of, top

BEST = 10  # rows of the table of the best
STEPS = 12  # rows of a lineage
CHANGES = 3  # of one step
COSTS = {"params": "params", "macs": "MACs"}  # a known cost as a column


def front(run: Run, trials: Sequence[Tried], aims: Sequence[Aim]) -> Markup:
    """Return the trials as rings with the front as dots and a line, and its members as a table; "" of one objective."""
    good = top(trials)
    if len(aims) < 2 or not good or len(good[0].values) != len(aims):
        return Markup()
    members, first, pictures, groups = members_of(good), aims[0], [], list[Marks]()
    for other in aims[1:]:
        ends = sorted({(t.values[other.place], t.values[first.place]) for t in members})
        steps = [c for (x, y), (_, to) in zip(ends, [*ends[1:], ends[-1]], strict=True) for c in ((x, y), (x, to))]
        line = Line("front", [(other.sign * x, first.sign * y) for x, y in steps if len(aims) == 2], quiet=True)
        groups = [Marks("trials", [(other.of(t), first.of(t)) for t in good], 6, "ring", 2.6)]
        groups.append(Marks("the front", [(other.of(t), first.of(t)) for t in members], 0, "dot", 3.4))
        across, up = Axis(other.label, other.tick), axis(good, first)
        picture = scatter(f"{first.label} and {other.label} of each trial", across, up, groups, [line])
        pictures.append(figure(picture, f"{first.label} against {other.label}"))
    rows = [_row(run, trials, t, aims) for t in members]
    caption = "the front, from the best in the first objective"
    return key(groups) + tag("div", *pictures, class_="grid") + table(_head(run, trials, aims), rows, caption)


def members_of(good: Sequence[Tried]) -> list[Tried]:
    """Return the trials that nothing dominates, from the best in the first objective."""
    held: list[Tried] = []
    for _, held in fronts(good):
        pass
    return sorted(held, key=lambda t: [-v for v in t.values])


def best(run: Run, trials: Sequence[Tried], aims: Sequence[Aim]) -> Markup:
    """Return the best architectures as a table; "" where several objectives have no best."""
    good = top(trials)
    if len(aims) > 1 or not good:
        return Markup()
    found = distinct(good)
    rows = [(*_row(run, trials, t, aims), f"{times:,}") for t, times in found[:BEST]]
    level = f" at fidelity {good[0].rung}" if len({t.height for t in trials if t.values}) > 1 else ""
    caption = f"The best of {len(found):,} different architectures measured{level}; times: how often it was."
    return table((*_head(run, trials, aims), "times"), rows, caption)


def _head(run: Run, trials: Sequence[Tried], aims: Sequence[Aim]) -> list[str]:
    tested = [words.measure(run).title] if run.trainings else []
    parent = ["parent"] if any(t.parent for t in trials) else []
    return ["trial", *(aim.label for aim in aims), *tested, *_costs(trials, aims).values(), *parent]


def _row(run: Run, trials: Sequence[Tried], trial: Tried, aims: Sequence[Aim]) -> tuple[object, ...]:
    written = tag("code", notation(trial.architecture, run.header.get("layout")))
    m, parent = words.measure(run), f"query {trial.parent.place:,}" if trial.parent else "–"
    tested = [m.form(m.of(dict(trial.tested)))] if run.trainings else []
    costs = [number(trial.metrics.get(name)) for name in _costs(trials, aims)]
    cells = [*(aim.form(aim.of(trial)) for aim in aims), *tested, *("–" if c is None else count(c) for c in costs)]
    return (
        tag("span", f"query {trial.place:,}") + written,
        *cells,
        *([parent] if any(t.parent for t in trials) else []),
    )


def _costs(trials: Sequence[Tried], aims: Sequence[Aim]) -> dict[str, str]:
    """Return the known costs that are columns: those that trials have and that are no objective."""
    own = {aim.name for aim in aims}
    return {k: v for k, v in COSTS.items() if k not in own and any(k in t.metrics for t in trials)}


def lineage(trials: Sequence[Tried], aims: Sequence[Aim]) -> Markup:
    """Return how the answer came about from generation to generation; "" where no trial has a parent."""
    led = leaders(trials)
    if not led or not any(t.parent for t in trials):
        return Markup()
    line, deepest = line_of(led[-1]), max(t.depth for t in trials)
    rootless = sum(t.parent is None for t in trials)
    far, least = led[-1].depth, "has no parent on record"
    text = f"The best is {far} generation{'s' * (far > 1)} below a trial that {least}" if far else f"The best {least}"
    text += f"; the deepest of all is {deepest} below. {rootless:,} of {len(trials):,} trials have none."
    rows = [(f"query {t.place:,}", _told(t, aims), _change(t)) for t in line[-STEPS:]]
    hint = f"The last {STEPS} of {len(line)} steps." if len(line) > STEPS else ""
    names = ", ".join(aim.label for aim in aims)
    return tag("p", text) + (
        table(("trial", names, "what changed"), rows, hint, class_="list") if len(line) > 1 else ""
    )


def _told(trial: Tried, aims: Sequence[Aim]) -> str:
    """Return the figures of a trial as text, with its fidelity where it names one; how it ended where it has none."""
    if len(trial.values) < len(aims):
        return trial.status
    at = "" if trial.fidelity is None else f" at fidelity {trial.rung}"
    return ", ".join(aim.form(aim.of(trial)) for aim in aims) + at


def _change(trial: Tried) -> str:
    """Say in what a trial differs from its parent."""
    if trial.parent is None:
        return "begins"
    old, new = trial.parent.architecture, trial.architecture
    names = [n for n in dict.fromkeys([*old, *new]) if old.get(n) != new.get(n)]
    told = [f"{n}: {option(old.get(n, '–'))} → {option(new.get(n, '–'))}" for n in names[:CHANGES]]
    more = [f"and {len(names) - CHANGES} more"] if len(names) > CHANGES else []
    return ", ".join([*told, *more]) or "nothing: it was measured again"
