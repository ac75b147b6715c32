"""What all pages have in common: colours, the style of still figures, templates."""

from typing import Any

import jinja2

COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]  # Okabe & Ito: safe for colour blindness
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
