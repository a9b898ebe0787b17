"""HTML and SVG by small functions; every text goes through `esc`, so that a run cannot bring markup of its own."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence


def esc(value: object) -> str:
    """Return `value` as text that is only text in HTML and XML; what XML cannot hold becomes U+FFFD."""
    text = "".join(c if c >= " " or c in "\n\t" else "\ufffd" for c in str(value))
    text = text.encode("utf-8", "replace").decode()  # a lone surrogate cannot be written
    return html.escape(text, quote=True)


def num(value: float) -> str:
    """Return a coordinate: two decimals at most, no negative zero."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")


def tag(name: str, content: str = "", **attributes: object) -> str:
    """Return an element around `content`, which is markup already; `class_` is class, `stroke_width` stroke-width."""
    given = {k.rstrip("_").replace("_", "-"): num(v) if isinstance(v, float) else v for k, v in attributes.items()}
    inside = "".join(f' {k}="{esc(v)}"' for k, v in given.items() if v is not None)
    return f"<{name}{inside}>{content}</{name}>"


def label(x: float, y: float, words: object, class_: str = "ink", anchor: str = "start", size: float = 11) -> str:
    """Return an SVG text."""
    return tag("text", esc(words), x=float(x), y=float(y), class_=class_, text_anchor=anchor, font_size=float(size))


def path(points: Sequence[tuple[float, float]], class_: str, dash: str | None = None) -> str:
    """Return a polyline as an SVG path."""
    steps = " ".join(f"{'M' if i == 0 else 'L'}{num(x)} {num(y)}" for i, (x, y) in enumerate(points))
    return tag("path", d=steps, class_=class_, stroke_dasharray=dash)


def svg(width: float, height: float, content: str, title: str, desc: str, class_: str = "plot") -> str:
    """Return an SVG picture with a name and a description for those who cannot see it."""
    inside = tag("title", esc(title)) + tag("desc", esc(desc)) + content
    return tag(
        "svg",
        inside,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {num(width)} {num(height)}",
        width=num(width),
        height=num(height),
        class_=class_,
        role="img",
        aria_label=title,
    )


def figure(picture: str, heading: str, caption: str) -> str:
    """Return a picture under a heading, with a caption in words."""
    inside = f"<h3>{esc(heading)}</h3>{picture}"
    return tag("figure", inside + (tag("figcaption", esc(caption)) if caption else ""))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", class_: str = "") -> str:
    """Return a table; `head` and `caption` are texts, cells are markup, the first of each row is its heading."""
    top = "".join(tag("th", esc(h), scope="col") for h in head)
    body = "".join(
        tag("tr", tag("th", row[0], scope="row") + "".join(tag("td", cell) for cell in row[1:])) for row in rows
    )
    inside = (tag("caption", esc(caption)) if caption else "") + (f"<thead><tr>{top}</tr></thead>" if head else "")
    return tag("table", f"{inside}<tbody>{body}</tbody>", class_=class_ or None)


def pairs(rows: Iterable[tuple[str, object]]) -> str:
    """Return a table of names and values, both texts."""
    return table((), [(esc(name), esc(value)) for name, value in rows], class_="pairs")


def section(name: str, heading: str, content: str) -> str:
    """Return a section of the page under a heading."""
    return tag("section", f"<h2>{esc(heading)}</h2>{content}", id=name)


def note(*texts: str, class_: str = "note") -> str:
    """Return texts in a box, a paragraph each."""
    return tag("div", "".join(tag("p", esc(t)) for t in texts), class_=class_)
