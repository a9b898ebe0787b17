"""Colours and type of the page and its pictures: Okabe and Ito's colour-blind safe set, darker on white, lighter on black."""

from __future__ import annotations

from string import Template

_LIGHT = ("#0072b2", "#c04e00", "#00795a", "#a8467f", "#9a6a00", "#2f86b8", "#5f6b76", "#222222")
_DARK = ("#5db3ec", "#ff9a57", "#3ccfa4", "#e8a3cc", "#f2bd49", "#a5d8f7", "#a9b4be", "#f0f0f0")
_INKS = {
    "ink": ("#1d2228", "#e9edf1"),
    "soft": ("#59636e", "#a7b1bb"),
    "rule": ("#dfe3e8", "#363d45"),
    "ground": ("#ffffff", "#15181c"),
    "raised": ("#f4f6f8", "#1f242a"),
    "alarm": ("#8a3200", "#ffb27a"),
    "alarmed": ("#fff1e5", "#33210f"),
}


_FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif'
_SHAPES = f"""
svg text{{font-family:{_FONT}}}svg text.name,svg .strong{{font-weight:600}}
.axis,.even,.rule,.line,.edge,.trunk,.collects{{fill:none}}.line{{stroke-width:2;stroke-linejoin:round}}
.line.thin{{stroke-width:1;opacity:.75}}.line.quiet{{stroke-width:1;opacity:.7}}.ring{{stroke-width:1.6;fill-opacity:.6}}
.band{{opacity:.22}}.mean{{stroke-width:2}}.node{{stroke-width:1.4}}.pill,.edge{{stroke-width:1.8}}.trunk{{stroke-width:1.2}}
.edge.absent{{stroke-dasharray:2 5;stroke-width:1.2}}.collects{{stroke-dasharray:5 3}}
svg .halo{{paint-order:stroke;stroke-width:4px;stroke-linejoin:round}}
"""
_PAINT = """
svg text{fill:$ink}svg text.soft{fill:$soft}.ground{fill:$ground}.rule{stroke:$rule}.axis,.even,.line.quiet{stroke:$soft}
.ring{fill:$ground;stroke:$soft}.band{fill:$soft}.mean{stroke:$ink}.node{fill:$raised;stroke:$ink}.end{fill:$raised;stroke:$soft}
.pill{fill:$ground}.edge.absent{stroke:$soft}.trunk{stroke:$ink}.collects{stroke:$soft}.joint{fill:$ink}svg .halo{stroke:$ground}
""" + "".join(
    f"svg text.s{k},.dot.s{k},.arrow.s{k}{{fill:$c{k}}}.line.s{k},.pill.s{k},.edge.s{k}{{stroke:$c{k}}}"
    for k in range(8)
)
_ARROWS = """
.arrow{stroke:none !important}.arrow.trunk{fill:$ink}.arrow.collects{fill:$soft}
"""


def _colours(dark: bool) -> dict[str, str]:
    inks = {name: pair[dark] for name, pair in _INKS.items()}
    return inks | {f"c{k}": c for k, c in enumerate(_DARK if dark else _LIGHT)}


def _painted(colours: dict[str, str]) -> str:
    return Template(_PAINT + _ARROWS).substitute(colours)


def _both(light: str, dark: str) -> str:
    return f"{light}@media screen and (prefers-color-scheme:dark){{{dark}}}"


def _variables(dark: bool) -> str:
    return ":root{" + ";".join(f"--{name}:{value}" for name, value in _colours(dark).items()) + "}"


# a picture in a file of its own has plain colours: not every program that shows SVG knows variables
FILE = _SHAPES + _both(_painted(_colours(False)), _painted(_colours(True)))
PAGE = (
    _both(_variables(False), _variables(True))
    + _SHAPES
    + _painted({name: f"var(--{name})" for name in _colours(False)})
    + """
:root{color-scheme:light dark}*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:76rem;background:var(--ground);color:var(--ink);line-height:1.5;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;overflow-wrap:break-word}
h1{font-size:1.5rem;line-height:1.25;margin:.2rem 0 .6rem}h2{font-size:1.15rem;margin:2.2rem 0 .5rem;border-bottom:1px solid var(--rule)}
h3{font-size:.95rem;margin:.2rem 0}p{margin:.4rem 0;max-width:46rem}.lead{font-size:1.12rem}
.soft,figcaption,caption{color:var(--soft);font-size:.85rem}caption{text-align:left;padding:.2rem 0}
.alarm{border:2px solid var(--alarm);border-left-width:8px;background:var(--alarmed);padding:.5rem .8rem;margin:.8rem 0;border-radius:4px}
.note{border-left:4px solid var(--rule);background:var(--raised);padding:.4rem .8rem;margin:.6rem 0;border-radius:4px}
.grid{display:grid;gap:1.2rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr))}
.panels{display:grid;gap:.5rem;grid-template-columns:repeat(auto-fill,minmax(9.6rem,1fr))}
figure{margin:0;min-width:0}svg{display:block;max-width:100%;height:auto}.plot{width:100%;max-width:30rem}.panel{width:100%;max-width:14rem}
.cells{display:flex;flex-wrap:wrap;gap:1.5rem 2.5rem;align-items:flex-start}
table{border-collapse:collapse;font-size:.9rem;max-width:100%}th,td{padding:.25rem .6rem .25rem 0;text-align:left;vertical-align:top}
thead th{border-bottom:1px solid var(--soft);font-weight:600}tbody tr{border-bottom:1px solid var(--rule)}tbody th{font-weight:500}
.figures td,.figures thead th:not(:first-child){text-align:right;padding:.25rem 0 .25rem .7rem;font-variant-numeric:tabular-nums}
.figures tr.loud th,.figures tr.loud td{font-weight:700}td,.pairs th{overflow-wrap:anywhere}.pairs th{color:var(--soft);min-width:7rem}
.scroll{overflow-x:auto}code,pre{font-family:ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;font-size:.8rem}
pre{background:var(--raised);padding:.6rem .8rem;white-space:pre-wrap;overflow-wrap:anywhere;border-radius:4px}code{overflow-wrap:anywhere}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;padding:0;margin:.4rem 0;font-size:.85rem}.legend svg{display:inline-block;vertical-align:middle}
summary{cursor:pointer;padding:.3rem 0}
@media (max-width:30rem){body{padding:.8rem}th,td{padding-right:.4rem}.figures{font-size:.82rem}.figures td,.figures thead th:not(:first-child){padding-left:.35rem}}
@media print{body{max-width:none;padding:0}section,figure{break-inside:avoid}.scroll{overflow:visible}h2{break-after:avoid}}
"""
)
