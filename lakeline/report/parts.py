"""What a page is made of: cells, tables, cards and sections, which know nothing of HTML or Markdown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from lakeline.report.words import count, number, percent, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lakeline.report.figure import Plot

Kind = Literal["text", "number", "id", "good", "bad", "note", "neutral", "value"]
_MARKS: dict[str, str] = {"good": "✓ ", "bad": "✗ ", "note": "▲ "}


@dataclass(frozen=True)
class Cell:
    """Text in a table: what it is decides how it looks; an `id` shows its beginning and is copied whole."""

    text: str
    kind: Kind = "text"
    note: str = ""
    row: bool = False
    """Heads its row."""

    @property
    def marked(self) -> str:
        """Text with a sign of good or bad: colour alone never carries the meaning."""
        return _MARKS.get(self.kind, "") + self.text


@dataclass(frozen=True)
class Table:
    """Rows under a head, with a caption; `folded` ones are opened by a click."""

    caption: str
    head: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False


@dataclass(frozen=True)
class Card:
    """One key figure: what, how much, and a remark."""

    label: str
    value: str
    note: str = ""
    unit: str = ""
    kind: Kind = "text"

    @property
    def remark(self) -> str:
        """Remark with a sign of good or bad."""
        return _MARKS.get(self.kind, "") + self.note


@dataclass(frozen=True)
class Section:
    """A part of the page. `facts` are shown as a list of terms, `plots` above the tables."""

    id: str
    title: str
    intro: str = ""
    facts: Sequence[tuple[str, Cell]] = ()
    plots: Sequence[Plot] = ()
    tables: Sequence[Table] = field(default_factory=list[Table])


def head(*names: str, numbers: Sequence[str] = ()) -> list[Cell]:
    """Head of a table; those in `numbers` stand over numbers."""
    return [Cell(name, "number" if name in numbers else "text") for name in names]


def first(value: Any) -> Cell:
    """Cell that heads its row."""
    return Cell(text(value), row=True)


def whole(value: Any) -> Cell:
    """Cell with a count."""
    return Cell(count(value), "number")


def real(value: Any, digits: int = 4) -> Cell:
    """Cell with a measured number."""
    return Cell(number(value, digits), "number")


def share(value: Any) -> Cell:
    """Cell with a fraction, as a percentage."""
    return Cell(percent(value), "number")


def identifier(value: Any) -> Cell:
    """Cell with a digest, commit or address: long ones are shortened on screen, not in what is copied."""
    return Cell(text(value), "id")
