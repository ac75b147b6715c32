"""Numbers as a page shows them."""

from __future__ import annotations

import math
from typing import Any

DIGITS, MOST = 3, 6  # of a number, and where two would look alike


def number(value: Any, scale: float = 0.0, digits: int = DIGITS) -> str:
    """Three digits, thousands apart, and what is as good as zero beside `scale` as 0; a dash where there is nothing.

    With more digits it has the decimals that `scale` has with so many.
    """
    value = float(value)
    if not math.isfinite(value):
        return "–"
    if abs(value) <= 0.5 * 10.0**-digits * scale:
        return "0"
    if digits > DIGITS and 1e-4 <= scale < 1e15:
        decimals = max(digits - 1 - math.floor(math.log10(scale)), 0)
        return whole(round(value, decimals) + 0.0, decimals)
    if 999.5 <= abs(value) < 1e15:
        return whole(value)
    return f"{value:.{digits}g}".replace("-", "−", 1) if value else "0"


def digits_apart(one: Any, other: Any) -> int:
    """As many digits, three to six, as two numbers need so that they do not look alike; three where they are."""
    scale = _scale((one, other))
    enough = (some for some in range(DIGITS, MOST + 1) if number(one, scale, some) != number(other, scale, some))
    return next(enough, DIGITS)


def numbers(values: Any) -> str:
    """Numbers of one kind, with commas between them."""
    return ", ".join(number(value, _scale(values)) for value in values)


def _scale(values: Any) -> float:
    return max((abs(float(value)) for value in values if math.isfinite(float(value))), default=0.0)


def whole(value: Any, decimals: int = 0) -> str:
    """A whole number, or one with so many decimals, thousands apart."""
    return f"{value:,.{decimals}f}".replace("-", "−", 1)


def interval(value: Any, low: Any, high: Any, digits: int = DIGITS) -> str:
    """A mean with its interval, of so many digits at least that its ends differ; one seed has none."""
    if not math.isfinite(float(value)):
        return "–"
    if not math.isfinite(float(low)) or not math.isfinite(float(high)):
        return number(value, abs(float(value)), digits)
    scale, digits = _scale((value, low, high)), max(digits, digits_apart(low, high))
    value, low, high = (number(one, scale, digits) for one in (value, low, high))
    return value if low == high else f"{value} [{low}, {high}]"


def memory(summary: dict[str, Any]) -> dict[str, str]:
    """The most memory that a run or a sweep took, by what it is called on a page; nothing where that is not known."""
    named = {"peak memory": summary.get("peak_host_bytes"), "peak device memory": summary.get("peak_device_bytes")}
    known = {name: value for name, value in named.items() if isinstance(value, int) and 0 < value < 2**63}
    return {name: f"{value / 1e9:.2f} GB" for name, value in known.items()}


def share(value: Any) -> str:
    return "–" if not math.isfinite(float(value)) else f"{100 * float(value):.0f} %"
