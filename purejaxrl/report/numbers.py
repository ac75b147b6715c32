"""Numbers as a page shows them."""

from __future__ import annotations

import math
from typing import Any


def number(value: Any, scale: float = 0.0) -> str:
    """Three digits, thousands apart, and what is as good as zero beside `scale` as 0; a dash where there is nothing."""
    value = float(value)
    if not math.isfinite(value):
        return "–"
    if abs(value) <= 5e-4 * scale:
        return "0"
    if 999.5 <= abs(value) < 1e15:
        return whole(value)
    return f"{value:.3g}".replace("-", "−", 1) if value else "0"


def numbers(values: Any) -> str:
    """Numbers of one kind, with commas between them."""
    return ", ".join(number(value, _scale(values)) for value in values)


def _scale(values: Any) -> float:
    return max((abs(float(value)) for value in values if math.isfinite(float(value))), default=0.0)


def whole(value: Any) -> str:
    """A whole number, thousands apart."""
    return f"{value:,.0f}".replace("-", "−", 1)


def interval(value: Any, low: Any, high: Any) -> str:
    """A mean with its interval, which one seed has none of."""
    if not math.isfinite(float(value)):
        return "–"
    if not math.isfinite(float(low)) or not math.isfinite(float(high)):
        return number(value)
    value, low, high = (number(one, _scale((value, low, high))) for one in (value, low, high))
    return value if low == high else f"{value} [{low}, {high}]"


def memory(summary: dict[str, Any]) -> dict[str, str]:
    """The most memory that a run or a sweep took, by what it is called on a page; nothing where that is not known."""
    named = {"peak memory": summary.get("peak_host_bytes"), "peak device memory": summary.get("peak_device_bytes")}
    known = {name: value for name, value in named.items() if isinstance(value, int) and 0 < value < 2**63}
    return {name: f"{value / 1e9:.2f} GB" for name, value in known.items()}


def share(value: Any) -> str:
    return "–" if not math.isfinite(float(value)) else f"{100 * float(value):.0f} %"
