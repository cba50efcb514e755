"""A record as a page of HTML."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from lakeline.report.cards import cards
from lakeline.report.parts import Card, Cell, Section, identifier
from lakeline.report.sections import sections
from lakeline.report.verdict import Verdict, judge
from lakeline.report.words import duration, moment, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HERE = Path(__file__).resolve().parent


def page(record: Mapping[str, Any]) -> str:
    """See lakeline.report.build."""
    return render(kicker(record), judge(record), meta(record), cards(record), sections(record))


def render(kicker: str, verdict: Verdict, meta: Sequence[tuple[str, Cell]], cards: Sequence[Card], sections: Sequence[Section]) -> str:
    """A page of its parts.

    Parameters
    ----------
    kicker
        What it is about, in a few words.
    verdict
        How it came out.
    meta
        Which run it was, and when.
    cards, sections
        Key figures, and the parts below them.
    """
    return _template().render(
        title=f"{kicker}: {verdict.label[2:].lower()}",
        kicker=kicker,
        verdict=verdict,
        meta=meta,
        cards=cards,
        sections=sections,
        style=(_HERE / "style.css").read_text(encoding="utf-8"),
    )


def kicker(record: Mapping[str, Any]) -> str:
    """What the page is about, in a few words."""
    run = record.get("run") or {}
    name = text(run.get("title") or run.get("dataset") or "Lakeline")
    return f"{name}, {text(run['pipeline'])} run" if run.get("pipeline") else name


def meta(record: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """Which run it was, and when."""
    run = record.get("run") or {}
    found = [("Data set", Cell(text(run["dataset"])))] if run.get("dataset") else []
    found += [("Run", identifier(run["id"]))] if run.get("id") else []
    found += [("Started", Cell(moment(run["started"])[0]))] if run.get("started") else []
    found += [("Took", Cell(duration(run["seconds"])))] if run.get("seconds") is not None else []
    return found


@cache
def _template() -> Template:
    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return environment.get_template("template.html.j2")
