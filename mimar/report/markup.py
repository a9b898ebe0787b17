"""HTML and SVG by small functions; text becomes markup through `esc` alone, so that a run cannot bring markup of its own."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


class Markup(str):
    """Text that is markup already; what is added to it is escaped."""

    def __add__(self, other: object) -> Markup:
        return Markup(str.__add__(self, esc(other)))


def esc(value: object) -> Markup:
    """Return `value` as markup: text is escaped, and what XML cannot hold becomes U+FFFD; markup stays."""
    if isinstance(value, Markup):
        return value
    text = "".join("\ufffd" if c < " " and c not in "\n\t" or c in "\ufffe\uffff" else c for c in str(value))
    return Markup(html.escape(text.encode("utf-8", "replace").decode()))  # a lone surrogate cannot be written


def join(*parts: object) -> Markup:
    """Return the parts, one after the other, as markup."""
    return Markup("".join(map(esc, parts)))


def num(value: float) -> str:
    """Return a coordinate: two decimals at most, no negative zero."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")


def tag(name: str, *content: object, **attributes: object) -> Markup:
    """Return an element around `content`; `class_` is the attribute class, `stroke_width` stroke-width, None is left out."""
    given = {k.rstrip("_").replace("_", "-"): num(v) if isinstance(v, float) else v for k, v in attributes.items()}
    inside = "".join(f' {k}="{esc(v)}"' for k, v in given.items() if v is not None)
    return Markup(f"<{name}{inside}>{join(*content)}</{name}>")


def label(x: float, y: float, words: object, class_: str = "ink", anchor: str = "start", size: float = 11) -> Markup:
    """Return an SVG text."""
    return tag("text", words, x=float(x), y=float(y), class_=class_, text_anchor=anchor, font_size=float(size))


def path(points: Sequence[tuple[float, float]], class_: str, dash: str | None = None) -> Markup:
    """Return a polyline as an SVG path."""
    way = "M" + " L".join(f"{num(x)} {num(y)}" for x, y in points)
    return tag("path", d=way, class_=class_, stroke_dasharray=dash)


def svg(size: tuple[float, float], content: Iterable[object], title: str, desc: str, class_: str = "plot") -> Markup:
    """Return an SVG picture of (width, height) with a name and a description for those who cannot see it."""
    w, h = map(num, size)
    box = {"xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {w} {h}", "width": w, "height": h, "role": "img"}
    return tag("svg", tag("title", title), tag("desc", desc), *content, **box, class_=class_, aria_label=title)


def figure(picture: object, heading: str, caption: str = "") -> Markup:
    """Return a picture under a heading, with a caption in words; nothing where there is no picture."""
    parts = (tag("h3", heading) if heading else "", picture, tag("figcaption", caption) if caption else "")
    return tag("figure", *parts) if picture else Markup()


def table(head: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "", class_: str = "figures") -> Markup:
    """Return a table that scrolls by itself where the page is too narrow; the first cell of a row is its heading."""
    top = tag("thead", tag("tr", *(tag("th", h, scope="col") for h in head))) if head else ""
    body = (tag("tr", tag("th", first, scope="row"), *(tag("td", cell) for cell in rest)) for first, *rest in rows)
    inside = (tag("caption", caption) if caption else "", top, tag("tbody", *body))
    return tag("div", tag("table", *inside, class_=class_), class_="scroll")


def section(name: str, heading: str, *content: object) -> Markup:
    """Return a section of the page under a heading."""
    return tag("section", tag("h2", heading), *content, id=name)


def note(*texts: object, class_: str = "note") -> Markup:
    """Return texts in a box, a paragraph each."""
    return tag("div", *(tag("p", text) for text in texts), class_=class_)
