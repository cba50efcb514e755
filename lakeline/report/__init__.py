"""The report of a run: one page that says how it ended, on what data, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["build", "markdown"]


def build(record: Mapping[str, Any]) -> str:
    """Make the page: self-contained HTML, without scripts and requests.

    Parameters
    ----------
    record
        What the run left behind; see lakeline.report.record.Record. Any part may be missing: the page then
        goes without it. All text in it is taken for text, never for HTML.

    Returns
    -------
    str
        An HTML document, well below 700 KB.
    """
    from lakeline.report.page import page

    return page(record)


def markdown(record: Mapping[str, Any]) -> str:
    """Make a summary for where HTML can't go: the verdict, key figures, metrics, gates and lineage as Markdown.

    Parameters
    ----------
    record
        See `build`.

    Returns
    -------
    str
        GitHub-flavoured Markdown in which no text of the record is taken for markup.
    """
    from lakeline.report.summary import summary

    return summary(record)
