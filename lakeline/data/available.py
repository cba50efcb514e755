"""Ask cheaply whether the source has an arrival, without bringing it here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakeline.data.arrivals import arrival_parameters
from lakeline.errors import SourceError
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from lakeline.data.spec import DatasetSpec

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
        return True  # what a package has, it has had since it was installed
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
