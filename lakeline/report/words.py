"""Numbers, times and verdicts in the words a person reads."""

from __future__ import annotations

import math
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

SPACE = "\u00a0"
"""No-break space: a number stays on the line of its unit."""
DASH = "–"
"""Stands where there is no value."""
_EXACT = 1e15
"""Beyond about this, a float is no longer exact to the unit."""
_MILLION = 1e6
_THOUSAND = 1000
_NOISE = 0.005
_MINUTE = 60
_HOUR = 3600


def finite(value: Any) -> float | None:
    """Value as a float, or None if it is no finite number."""
    if value is None or isinstance(value, bool | str):
        return None
    try:
        known = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return known if math.isfinite(known) else None


def count(value: Any) -> str:
    """Whole number with thousands separators; a dash for none."""
    known = finite(value)
    if known is None:
        return DASH
    return _minus(f"{round(known):,}" if abs(known) < _EXACT else f"{known:.3e}")


def number(value: Any, digits: int = 4) -> str:
    """Number to so many significant digits, never in fewer than its whole part has; thousands are separated."""
    known = finite(value)
    if known is None:
        return text(value)
    if known == 0:
        return "0"
    size = math.floor(math.log10(abs(known)))
    if size < -digits or abs(known) >= _EXACT:
        return _minus(f"{known:.{digits - 1}e}")
    places = max(0, digits - 1 - size)
    written = f"{known:,.{places}f}"
    if float(known).is_integer() and size < digits + 2:
        written = f"{known:,.0f}"
    return _minus(written)


def brief(value: Any, digits: int = 4) -> str:
    """Number as somebody would write it down: without zeros at its end."""
    shown = number(value, digits)
    if finite(value) is None or "." not in shown:
        return shown
    mantissa, power, exponent = shown.partition("e")
    return mantissa.rstrip("0").rstrip(".") + (f"e{int(exponent)}" if power else "")


def pair(one: Any, other: Any) -> tuple[str, str]:
    """Two numbers to as many digits, from four to seven, as it takes to tell them apart."""
    digits, most = 4, 7
    while digits < most and finite(one) != finite(other) and number(one, digits) == number(other, digits):
        digits += 1
    return number(one, digits), number(other, digits)


def text(value: Any) -> str:
    """Any value as text: a dash for none, yes or no for a boolean."""
    if value is None:
        return DASH
    if isinstance(value, float) and not math.isfinite(value):
        return DASH if math.isnan(value) else "∞" if value > 0 else "−∞"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    return printable(str(value))


def printable(value: str) -> str:
    """Text with control characters made visible, so that a bad row shows what is in it."""
    return "".join("\ufffd" if unicodedata.category(char) == "Cc" and char not in "\n\t" else char for char in value)


def percent(fraction: Any) -> str:
    """Fraction as a percentage: to a tenth, below 1 % to a hundredth."""
    known = finite(fraction)
    if known is None:
        return DASH
    if known == 0:
        return f"0{SPACE}%"
    if abs(known) >= _MILLION:
        return f"{'beyond −' if known < 0 else 'over '}{100 * _MILLION:,.0f}{SPACE}%"
    digits = 1 if abs(known) >= 0.00995 else 2  # noqa: PLR2004 (what is shown as 1.0 %)
    shown = f"{100 * known:,.{digits}f}"
    if float(shown.replace(",", "")) == 0:
        least = f"{10**-digits:.{digits}f}"
        return f"<{SPACE}{least}{SPACE}%" if known > 0 else f">{SPACE}−{least}{SPACE}%"
    return f"{_minus(shown)}{SPACE}%"


def duration(seconds: Any) -> str:
    """Duration in the units a person would choose."""
    known = finite(seconds)
    if known is None:
        return DASH
    if known < 1:
        return f"{max(known, 0) * _THOUSAND:.0f}{SPACE}ms"
    if known < _MINUTE:
        return f"{known:.1f}{SPACE}s"
    if known < _HOUR:
        return f"{int(known // _MINUTE)}{SPACE}min {int(known % _MINUTE)}{SPACE}s"
    return f"{int(known // _HOUR)}{SPACE}h {int(known % _HOUR // _MINUTE)}{SPACE}min"


def moment(value: Any) -> tuple[str, str]:
    """Moment for people, in UTC, and for machines; what is no moment is given back as text."""
    seconds = finite(value)
    try:
        time = datetime.fromtimestamp(seconds, UTC) if seconds is not None else datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return text(value), ""
    time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    return f"{time.day} {time:%B %Y, %H:%M} UTC", time.isoformat(timespec="seconds")


def quantity(value: Any, unit: str = "", digits: int = 4) -> str:
    """Number with its unit."""
    return f"{number(value, digits)}{SPACE}{unit}" if unit and finite(value) is not None else number(value, digits)


def metric_of(metrics: Mapping[str, Any] | float | None, name: str) -> float | None:
    """The metric of that name, out of all of them or the bare number."""
    if metrics is None or isinstance(metrics, int | float):
        return finite(metrics)
    return finite(metrics.get(name))


def compared(better_by: float | None) -> str:
    """An improvement in words."""
    if better_by is None:
        return "not comparable"
    if better_by == 0:
        return "the same"
    return f"{percent(abs(better_by))} {'better' if better_by > 0 else 'worse'}"


def tone(better_by: float | None) -> Literal["good", "bad", "neutral"]:
    """Whether an improvement is good or bad news; one of less than half a percent is neither."""
    if better_by is None or abs(better_by) < _NOISE:
        return "neutral"
    return "good" if better_by > 0 else "bad"


def plural(amount: Any, one: str, many: str | None = None) -> str:
    """Count and noun."""
    known = finite(amount)
    return f"{count(amount)} {one if known == 1 else many or one + 's'}"


def listed(names: list[str], most: int = 4) -> str:
    """Names as an enumeration; the middle of a long one is left out."""
    if len(names) > most:
        return f"{names[0]} to {names[-1]} ({len(names)} of them)"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "nothing"


def _minus(written: str) -> str:
    return f"−{written[1:]}" if written.startswith("-") else written
