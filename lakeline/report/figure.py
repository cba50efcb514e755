"""Matplotlib figures as inline SVG that takes its colours and its font from the page."""

from __future__ import annotations

import io
import re
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter

from lakeline.report.words import brief

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

INK, MUTED, LINE, PAPER = "#010101", "#010102", "#010103", "#010104"
CANDIDATE, PRODUCTION, BAD = "#010105", "#010106", "#010107"
"""Stand-ins for the page's colours, which differ in light, dark and print."""

_COLOURS: dict[str, str] = dict(
    zip(
        (INK, MUTED, LINE, PAPER, CANDIDATE, PRODUCTION, BAD),
        ("ink", "muted", "line", "paper", "candidate", "production", "bad"),
        strict=True,
    )
)
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 11,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": INK,
    "hatch.linewidth": 0.9,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
}
WIDTH = 6.0
"""Width in inches, of 72 units of the picture each: its 11-unit text is legible on a telephone, too."""
_INCH = 72


@dataclass(frozen=True)
class Plot:
    """A picture: its SVG, its title, what it shows (for those who can't see it), and how to read it."""

    name: str
    title: str
    svg: str
    description: str
    caption: str


@contextmanager
def canvas(height: float) -> Generator[Figure]:
    """Figure of WIDTH by `height` inches to draw on in Lakeline's style; matplotlib's own settings stay as they are."""
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(WIDTH, height), dpi=_INCH, layout="constrained")
        figure.patch.set_visible(False)
        yield figure


def draw(figure: Figure, name: str, title: str, description: str, caption: str) -> Plot:
    """Write a figure as SVG for the body of a page.

    Parameters
    ----------
    figure
        Drawn within `canvas`.
    name
        Unique on the page: prefix of every id in the picture.
    title, description, caption
        See Plot.

    Returns
    -------
    Plot
        Without XML header, metadata, style sheets, fonts and addresses; colours are the page's variables.
    """
    with io.StringIO() as file:
        # not savefig, which draws everything twice
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<defs>\s*</defs>", "", svg)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*|font-family: [^;\"]*; ?", lambda found: f"font-size: {found[1]}" if found[1] else "", svg)
    svg = re.sub(r"#01010[1-7]", lambda found: f"var(--{_COLOURS[found[0]]})", svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r' id="(?![mphcC]?[0-9a-f]{10}")[^"]*"', "", svg)
    svg = re.sub(r'( id="|"#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"(?<=[\d.])\s*\n\s*(?=[LQCMz])", "", svg)
    svg = re.sub(r"<[^>]+>", lambda tag: re.sub(r"-?\d+\.\d{2,}", _tenth, tag[0]), svg)
    svg = re.sub(r">\s+<", ">\n<", svg)
    width, height = figure.get_size_inches()
    opening = (
        f'<svg viewBox="0 0 {width * _INCH:.0f} {height * _INCH:.0f}" role="img" '
        f'aria-labelledby="{name}-title" aria-describedby="{name}-caption">'
    )
    return Plot(name, title, re.sub(r"<svg[^>]*>", opening, svg, count=1), description, caption)


def _tenth(found: re.Match[str]) -> str:
    """Coordinate to a tenth of a unit, which is finer than a screen shows; words of the picture are not touched."""
    return f"{float(found[0]):.1f}".removesuffix(".0")


def people(*axes: Any) -> None:
    """Label the ticks of matplotlib axes as numbers for people."""
    for axis in axes:
        axis.set_major_formatter(_People())


class _People(Formatter):
    """As few digits as it takes to tell the ticks apart, three at least."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Label of one tick."""
        return brief(x, 3)

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Labels of all ticks."""
        digits, most = 3, 9
        while digits < most and len({brief(value, digits) for value in values}) < len(values):
            digits += 1
        return [brief(float(f"{value:.9g}"), digits) for value in values]
