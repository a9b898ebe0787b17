"""Numbers with their units, as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence


def seconds(value: float) -> str:
    """Return a duration: '0.8 s', '42 s', '3 min 20 s', '2 h 05 min'."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 60:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def count(value: float) -> str:
    """Return a count with a decimal prefix: '950', '12.3 k', '1.53 M', '2.1 G'."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.0f}"


def percent(fraction: float | None) -> str:
    """Return a fraction as a percentage with two decimals, or a dash when there is none."""
    return "–" if fraction is None else f"{100 * fraction:.2f} %"


def cost(value: float, unit: str) -> str:
    """Return a cost with its unit: '12,000 s', '1.25 G MACs', '150 queries'."""
    if unit == "MACs":
        return f"{count(value)} {unit}"
    return f"{value:,.0f} {unit}" if value == 0 or abs(value) >= 100 else f"{value:.3g} {unit}"


def columns(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return lines of equally many texts as lines whose texts stand below each other."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(f"{text:{w}}" for text, w in zip(line, widths, strict=True)).rstrip() for line in lines]
