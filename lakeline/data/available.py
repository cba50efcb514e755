"""Ask cheaply whether the source has an arrival, or what it has that the lake hasn't, without bringing it here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakeline.data.arrivals import arrival_parameters, example, following, only_arrival, series
from lakeline.data.source import package_file
from lakeline.errors import SourceError, UsageError
from lakeline.lake.base import MAIN
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from lakeline.data.spec import DatasetSpec
    from lakeline.lake import CommitId, Lake

MOST = 12
"""Most arrivals that `next` brings in at once, unless it is told another number; the next look finds the others."""

_MISSING = frozenset({403, 404, 410})  # publishers' object stores say 403 of what isn't there


def available(spec: DatasetSpec, arrival: str) -> bool:
    """Whether a local copy of an arrival, its package or its URL is there.

    Parameters
    ----------
    spec
        Spec of the data set.
    arrival
        Id of the arrival.

    Raises
    ------
    SourceError
        If the server doesn't say: it is out of reach, or in trouble.
    """
    import httpx

    values = arrival_parameters(spec, arrival)
    source, data = spec.source, get_settings().data
    if source.local and data is not None and (data / source.local.format(**values)).is_file():
        return True
    if source.kind == "package":
        return package_file(source, source.path.format(**values)) is not None
    url = source.url.format(**values)
    try:
        answer = httpx.head(url, follow_redirects=True, timeout=30)
    except httpx.HTTPError as error:
        raise SourceError(f"{spec.name} {arrival}: {url} is out of reach ({error}). It is asked again at the next look.") from error
    if answer.status_code in _MISSING:
        return False
    if answer.is_error:
        raise SourceError(f"{spec.name} {arrival}: {url} answers {answer.status_code}. It is asked again at the next look.")
    return True


def upcoming(lake: Lake, spec: DatasetSpec, commit: CommitId | str = MAIN, most: int = MOST) -> list[str]:
    """Arrivals that follow the newest ones in the lake, in order, as far as the source has them.

    Where an id begins with a name (a colour, a region), each name that the lake has is counted on from its own newest arrival.
    A data set that can have a single arrival only begins with that one. Of a file that several arrivals share, only what reads it can
    tell which ones are in it.

    Parameters
    ----------
    lake
        Repository of the data set.
    spec
        Spec of the data set.
    commit
        What the lake has is what this commit, or main, has.
    most
        How many to look for.

    Returns
    -------
    list of str
        Ids; empty if there is nothing new.

    Raises
    ------
    UsageError
        If the lake has no arrival yet, or what follows can't be counted.
    SourceError
        If the server doesn't say whether it has one.
    """
    known = [entry.path.removeprefix("clean/").removesuffix(".parquet") for entry in lake.ls(commit, "clean/")]
    only = only_arrival(spec)
    if only is not None:
        return [only] if only not in known and available(spec, only) else []
    if not known:
        like = spec.arrival.id.format(**example(spec))
        raise UsageError(f"{spec.name}: next after what? The lake has no arrivals yet. Name the first ones, such as {like}.")
    newest = {series(spec, arrival): arrival for arrival in sorted(known)}
    found: list[str] = []
    for arrival in newest.values():
        for candidate in following(spec, arrival):
            if len(found) == most or not available(spec, candidate):
                break
            found.append(candidate)
    return found
