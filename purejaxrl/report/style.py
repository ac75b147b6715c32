"""What all pages have in common: colours, the style of still figures, templates."""

from typing import Any

import jinja2

# Four of Okabe & Ito's, safe for colour blindness, and two far from these; each stands out from white and from black.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8050f0", "#d000b0"]
STYLE: Any = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "svg.fonttype": "none",
}


def template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(loader=jinja2.PackageLoader("purejaxrl", "templates"), autoescape=True)
    environment.policies["json.dumps_kwargs"] = {}  # unsorted: what Bokeh's JSON refers to stands before
    return environment.get_template(name)
