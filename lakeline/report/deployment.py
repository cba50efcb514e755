"""The report of a deployment: what serves, how it was tried, and the moves of the alias that led to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeline.report.page import render
from lakeline.report.parts import Card, Cell, Section, Table, first, head, identifier, real, whole
from lakeline.report.verdict import Verdict
from lakeline.report.words import moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lakeline.registry import Move
    from lakeline.serving.release import Release

_MOVES = 20


def deploy_and_report(release: str, tried: str, report: str, verdict: str) -> str:
    """Deploy, and write what came of it.

    Parameters
    ----------
    release
        A Release as JSON.
    tried
        What `preflight` found, as JSON.
    report, verdict
        Paths of the page and of its short form in Markdown.

    Returns
    -------
    str
        What tries through the service have shown, as JSON.

    Raises
    ------
    VersionFailed
        If it was rolled back: says why.
    RolloutFailed
        If the place kept it from serving.
    """
    from lakeline.registry.moves import history
    from lakeline.serving.deployment import deploy
    from lakeline.serving.release import Release
    from lakeline.serving.site import open_site

    wanted = Release.from_json(release)
    shown = deploy(wanted).to_dict()
    url = open_site().url(wanted.model)
    moves = history(wanted.model)[-_MOVES:]
    Path(report).write_text(page(wanted, url, json.loads(tried), shown, moves), encoding="utf-8")
    Path(verdict).write_text(markdown(wanted, url, json.loads(tried), shown), encoding="utf-8")
    return json.dumps(shown)


def page(release: Release, url: str, tried: Mapping[str, Any], shown: Mapping[str, Any], moves: Sequence[Move]) -> str:
    """Make the page.

    Parameters
    ----------
    release, url
        What serves, and where.
    tried, shown
        `Smoke.to_dict()` before and after it took over.
    moves
        Of the model's aliases, oldest first.
    """
    meta = [("Model", Cell(release.model)), ("Run", identifier(release.run))] if release.run else [("Model", Cell(release.model))]
    cards = [
        Card("Version", str(release.version), "serves", kind="good"),
        Card("Requests", f"{shown['requests']:,}", f"{shown['failed']:,} failed", kind="bad" if shown["failed"] else "good"),
        Card("p99", f"{shown['p99']:,.0f}", f"half took {shown['p50']:,.1f} ms", "ms"),
    ]
    sentence = f"Version {release.version} serves at {url}."
    return render(f"{release.model}, deployment", Verdict("deployed", sentence), meta, cards, _sections(release, url, tried, shown, moves))


def _sections(release: Release, url: str, tried: Mapping[str, Any], shown: Mapping[str, Any], moves: Sequence[Move]) -> list[Section]:
    facts = [("Address", Cell(url, "value")), ("Digest of its files", identifier(release.digest))]
    facts += [("Data commit", identifier(release.data_commit))] if release.data_commit else []
    facts += [("Asked for by", Cell(release.actor))] if release.actor else []
    columns = head("When", "Requests", "Failed", "p50 (ms)", "p99 (ms)", numbers=("Requests", "Failed", "p50 (ms)", "p99 (ms)"))
    rows = [
        [first(when), whole(found["requests"]), whole(found["failed"]), real(found["p50"]), real(found["p99"])]
        for when, found in (("before it got traffic", tried), ("where callers reach it", shown))
    ]
    intro = "Rows whose predictions were recorded when the model was made, one a request, four at a time."
    return [
        Section("release", "What serves", facts=facts),
        Section("tries", "Tries", intro, tables=[Table("Tries", columns, rows)]),
        Section("moves", "Moves of the aliases", "The latest first.", tables=[_moves(moves)]),
    ]


def _moves(moves: Sequence[Move]) -> Table:
    rows = [
        [first(moment(move.at)[0]), Cell(move.alias), _version(move.origin), _version(move.target), Cell(move.who), Cell(move.why)]
        for move in reversed(moves)
    ]
    return Table("Moves", head("When", "Alias", "From", "To", "Who", "Why"), rows)


def _version(number: int | None) -> Cell:
    return Cell("nowhere" if number is None else str(number))


def markdown(release: Release, url: str, tried: Mapping[str, Any], shown: Mapping[str, Any]) -> str:
    """Say the same in a few lines; parameters as of `page`."""
    return (
        f"**{release.model} version {release.version} serves** at `{url}`.\n\n"
        f"- Before it got traffic: {tried['requests']:,} requests, {tried['failed']:,} failed, p99 {tried['p99']:,.0f} ms.\n"
        f"- Where callers reach it: {shown['requests']:,} requests, {shown['failed']:,} failed, p99 {shown['p99']:,.0f} ms.\n"
    )
