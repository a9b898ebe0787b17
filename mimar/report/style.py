"""Colours and type of the page and its pictures: Okabe and Ito's colour-blind safe set, darker on white, lighter on black."""

from __future__ import annotations

import re

_PALETTE = """ink 1d2228 e9edf1 soft 59636e a7b1bb rule dfe3e8 363d45 ground ffffff 15181c raised f4f6f8 1f242a
alarm 8a3200 ffb27a alarmed fff1e5 33210f c0 0072b2 5db3ec c1 c04e00 ff9a57 c2 00795a 3ccfa4 c3 a8467f e8a3cc
c4 9a6a00 f2bd49 c5 2f86b8 a5d8f7 c6 5f6b76 a9b4be c7 222222 f0f0f0"""
_COLOURS = {name: (f"#{light}", f"#{dark}") for name, light, dark in re.findall(r"(\w+) (\w+) (\w+)", _PALETTE)}
_FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif'
_PICTURES = f"""
svg text{{font-family:{_FONT};fill:var(--ink)}}svg text.soft{{fill:var(--soft)}}svg text.name,svg .strong{{font-weight:600}}
.ground{{fill:var(--ground)}}.rule{{stroke:var(--rule);fill:none}}.axis,.even{{stroke:var(--soft);fill:none}}
.line{{stroke-width:2;fill:none;stroke-linejoin:round}}.thin{{stroke-width:1;opacity:.75}}
.quiet{{stroke:var(--soft);stroke-width:1;opacity:.7}}.ring{{fill:none;stroke:var(--soft);stroke-width:1.6}}
.band{{fill:var(--soft);opacity:.22}}.mean{{stroke:var(--ink);stroke-width:2}}.node{{fill:var(--raised);stroke:var(--ink);stroke-width:1.4}}
.end{{fill:var(--raised);stroke:var(--soft)}}.pill{{fill:var(--ground);stroke-width:1.8}}.edge{{stroke-width:1.8;fill:none}}
.joint{{fill:var(--soft)}}.absent{{stroke:var(--soft);stroke-dasharray:2 5;stroke-width:1.2}}
.trunk{{stroke:var(--soft);stroke-width:1.2;fill:none}}.collects{{stroke:var(--soft);stroke-dasharray:5 3;fill:none}}
.arrow.trunk{{fill:var(--soft)}}.arrow.collects{{fill:var(--soft)}}
.halo{{paint-order:stroke;stroke:var(--ground);stroke-width:4px;stroke-linejoin:round}}.arrow{{stroke:none}}
""" + "".join(
    f"svg text.s{k},.dot.s{k},.arrow.s{k},.band.s{k}{{fill:var(--c{k})}}.line.s{k},.pill.s{k},.edge.s{k}{{stroke:var(--c{k})}}"
    for k in range(8)
)
_NIGHT = "@media screen and (prefers-color-scheme:dark)"
_VARIABLES = [":root{" + ";".join(f"--{n}:{pair[k]}" for n, pair in _COLOURS.items()) + "}" for k in (0, 1)]
# a picture in a file of its own has plain colours: not every program that shows SVG knows variables
_PLAIN = [_PICTURES, _PICTURES]
for _name, _pair in _COLOURS.items():
    _PLAIN = [text.replace(f"var(--{_name})", colour) for text, colour in zip(_PLAIN, _pair, strict=True)]
FILE = f"{_PLAIN[0]}{_NIGHT}{{{_PLAIN[1]}}}"
PAGE = f"""{_VARIABLES[0]}{_NIGHT}{{{_VARIABLES[1]}}}{_PICTURES}:root{{color-scheme:light dark}}*{{box-sizing:border-box}}
body{{margin:0 auto;padding:1rem;max-width:76rem;background:var(--ground);color:var(--ink);font-family:{_FONT}}}"""
PAGE += """body{line-height:1.5;overflow-wrap:break-word}h1{font-size:1.5rem;line-height:1.25;margin:.2rem 0 .6rem}
h2{font-size:1.15rem;margin:2.2rem 0 .5rem;border-bottom:1px solid var(--rule)}h3{font-size:.95rem;margin:.2rem 0}
p{margin:.4rem 0;max-width:46rem}.lead{font-size:1.12rem}.hint,figcaption,caption{color:var(--soft);font-size:.85rem}
.note{border-left:4px solid var(--rule);background:var(--raised);padding:.4rem .8rem;margin:.6rem 0;border-radius:4px}
.alarm{border:2px solid var(--alarm);border-left-width:8px;background:var(--alarmed);padding:.5rem .8rem;margin:.8rem 0;border-radius:4px}
.grid{display:grid;gap:1.2rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,21rem),1fr))}
.panels{display:grid;gap:.5rem;grid-template-columns:repeat(auto-fill,minmax(9.6rem,1fr))}
.cells{display:flex;flex-wrap:wrap;gap:1.5rem 2.5rem;align-items:flex-start}figure{margin:0;min-width:0}
svg{display:block;max-width:100%;height:auto}.plot{width:100%;max-width:30rem}.panel{width:100%;max-width:14rem}
.scroll{overflow-x:auto;margin:.6rem 0}caption{text-align:left;padding:.2rem 0}table{border-collapse:collapse;font-size:.9rem}
th,td{padding:.25rem .7rem .25rem 0;text-align:left;vertical-align:top}thead th{border-bottom:1px solid var(--soft);font-weight:600}
tbody tr{border-bottom:1px solid var(--rule)}tbody th{font-weight:500}
.figures td,.figures thead th+th{text-align:right;padding:.25rem 0 .25rem .7rem;font-variant-numeric:tabular-nums}
.figures td{white-space:nowrap}.pairs th{color:var(--soft);min-width:7rem}.pairs td{overflow-wrap:anywhere}
code,pre{font-family:ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;font-size:.78rem;overflow-wrap:anywhere}
tbody th code{display:block;font-size:.72rem;color:var(--soft);font-weight:400}summary{cursor:pointer;padding:.3rem 0}
pre{background:var(--raised);padding:.6rem .8rem;white-space:pre-wrap;border-radius:4px}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;padding:0;margin:.4rem 0;font-size:.85rem}
.legend svg{display:inline-block;vertical-align:middle}@media (max-width:40rem){body{padding:.8rem}
.figures,.figures caption,.figures thead,.figures tbody{display:block}.figures{font-size:.82rem}.figures tr{display:flex;flex-wrap:wrap}
.figures tr>*{flex:1 1 0;min-width:0}.figures tbody th{flex:0 0 100%;padding-bottom:0}.figures thead th:first-child{display:none}
.figures td,.figures thead th+th{white-space:normal;padding-left:.25rem}}@media print{body{max-width:none;padding:0}
figure,tr{break-inside:avoid}h2,h3{break-after:avoid}.scroll{overflow:visible}}
"""
