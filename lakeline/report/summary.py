"""A record as a short text in Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from lakeline.report.cards import cards
from lakeline.report.compared import comparison
from lakeline.report.page import kicker, meta
from lakeline.report.sections import gates, lineage
from lakeline.report.verdict import judge
from lakeline.report.words import SPACE
from lakeline.training.search import failures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lakeline.report.parts import Cell, Section, Table


def summary(record: Mapping[str, Any]) -> str:
    """See lakeline.report.markdown."""
    verdict = judge(record)
    lines = [f"## {plain(verdict.label)}: {plain(kicker(record))}", "", f"**{plain(verdict.sentence)}**", ""]
    if verdict.error:
        lines += [*(f"> {plain(line)}  " for line in verdict.error.splitlines()), ""]
    if verdict.reasons:
        lines += [*(f"- {plain(reason)}" for reason in verdict.reasons), ""]
    failed = failures(record.get("trials") or [])
    if failed:
        lines += [plain(f"{failed}."), ""]
    figures = cards(record)
    if figures:
        rows = [f"| {plain(each.label)} | {plain(f'{each.value} {each.unit}'.strip())} | {plain(each.note)} |" for each in figures]
        lines += ["| Figure | Value | Remark |", "|---|---:|---|", *rows, ""]
    for section in (comparison(record, drawn=False), gates(record)):
        lines += _first_table(section)
    source = lineage(record)
    facts = [*(source.facts if source else ()), *meta(record)]
    lines += [f"- {plain(term)}: {code(cell) if cell.kind == 'id' else plain(cell.text)}" for term, cell in facts]
    return "\n".join(lines).rstrip() + "\n"


def plain(value: str) -> str:
    """Text on one line in which Markdown and HTML find no markup."""
    flat = " ".join(value.replace(SPACE, " ").split())
    return re.sub(r"([\\`*_{}\[\]<>()#|~!@&])", r"\\\1", flat)


def code(cell: Cell) -> str:
    """Identifier as code."""
    return f"`{' '.join(cell.text.replace('`', ' ').split())}`"


def _first_table(section: Section | None) -> list[str]:
    if section is None or not section.tables:
        return []
    table: Table = section.tables[0]
    rule = "|".join("---:" if each.kind == "number" else "---" for each in table.head)
    rows = [f"| {' | '.join(plain(each.marked) for each in row)} |" for row in table.rows]
    return [f"**{plain(table.caption)}**", "", f"| {' | '.join(plain(each.text) for each in table.head)} |", f"|{rule}|", *rows, ""]
