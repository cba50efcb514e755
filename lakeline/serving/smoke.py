"""Tries of a server with rows whose predictions are known: whether it answers, rightly, with the right version, and fast enough."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lakeline.errors import RolloutFailed, VersionFailed
from lakeline.serving.release import VARIANT_HEADER, VERSION_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import httpx

    from lakeline.data.servingspec import Serving
    from lakeline.serving.release import Release
    from lakeline.training.model import Example

_CALLERS = 4
_WARM_UP = 10
_TOKEN = (401, 403)
"""Status of who isn't let in: the token here is not that of the servers."""
_TOLERANCE = 1e-9
"""As of the gate `smoke`: a relative difference, or an absolute one below 1."""


@dataclass(frozen=True)
class Smoke:
    """What tries of a server have shown.

    Attributes
    ----------
    requests, failed
        How many were made, and how many were not answered as they should be.
    p50, p99
        Milliseconds that half, and 99 of 100, of the answers took at most.
    reasons
        Why the version doesn't pass; empty if nothing speaks against it.
    trouble
        What kept it from being tried, for which nobody can blame the version: requests that didn't reach it. Empty if there was nothing.
    """

    requests: int
    failed: int
    p50: float
    p99: float
    reasons: list[str]
    trouble: str = ""

    @property
    def passed(self) -> bool:
        """Whether it is what it should be, as far as it could be tried."""
        return not (self.reasons or self.trouble)

    def check(self, when: str = "") -> None:
        """Raise if it hasn't passed.

        Parameters
        ----------
        when
            What the message begins with, such as `in place: `.

        Raises
        ------
        VersionFailed
            If the version isn't what it should be.
        RolloutFailed
            If it couldn't be tried.
        """
        if self.reasons:
            raise VersionFailed(f"{when}{' '.join(self.reasons)}")
        if self.trouble:
            raise RolloutFailed(f"{when}{self.trouble}")

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as JSON can hold it."""
        return asdict(self)


@dataclass(frozen=True)
class _Failure:
    """What was wrong with one answer, and whether it was one of the version's own."""

    text: str
    own: bool


_Try = tuple[float, _Failure | None]
"""Milliseconds that a request took, and what was wrong."""


def smoke(url: str, headers: Mapping[str, str], release: Release, example: Example, serving: Serving) -> Smoke:
    """Try a server with the rows of an example, one a request, a few at a time.

    Parameters
    ----------
    url
        Its address.
    headers
        `authorization()`.
    release
        What must answer.
    example
        Rows and what must be predicted for them (within 1e-9); without predictions any finite number will do.
    serving
        How many requests, how many may fail, and how long they may take. The first ones must be right and may be slow.
    """
    import httpx

    bodies = [{"dataframe_split": {"columns": example.columns, "data": [row]}} for row in example.rows]
    expected: Sequence[float | None] = example.predictions or [None] * len(bodies)
    said = {VARIANT_HEADER: release.variant, **headers}

    with httpx.Client(base_url=url, headers=said, timeout=max(10.0, 4 * serving.p99 / 1000), trust_env=False) as client:

        def ask(number: int) -> _Try:
            which = number % len(bodies)
            began = time.perf_counter()
            wrong = _ask(client, bodies[which], release, expected[which])
            return (time.perf_counter() - began) * 1000, wrong

        with ThreadPoolExecutor(_CALLERS) as callers:
            first = list(callers.map(ask, range(_WARM_UP)))
            rest = list(callers.map(ask, range(serving.requests)))
    return _judge(first, rest, serving)


def _ask(client: httpx.Client, body: Mapping[str, Any], release: Release, expected: float | None) -> _Failure | None:
    """Ask once; what is wrong with the answer, or None."""
    import httpx

    try:
        answer = client.post("/invocations", json=body)
    except httpx.TransportError as error:
        # Who can't even be connected to hasn't been asked; who hangs up, or is silent, has.
        asked = not isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError))
        return _Failure(f"no answer ({type(error).__name__}{f': {error}' if str(error) else ''})", asked)
    version = answer.headers.get(VERSION_HEADER)
    if not answer.is_success:
        own = version == str(release.version) and answer.status_code not in _TOKEN
        return _Failure(f"status {answer.status_code}: {answer.text[:300].strip()}", own)
    if version != str(release.version):
        return _Failure(f"version {version} answered, not {release.version}", own=False)
    wrong = _compare(answer, expected)
    return _Failure(wrong, own=True) if wrong else None


def _compare(answer: httpx.Response, expected: float | None) -> str | None:
    try:
        (value,) = answer.json()["predictions"]
        predicted = float(value)
    except (ValueError, TypeError, KeyError):
        return f"an answer without one prediction for one row: {answer.text[:200].strip()}"
    if not math.isfinite(predicted):
        return f"it predicts {predicted}"
    if expected is not None and abs(predicted - expected) > _TOLERANCE * max(abs(expected), 1.0):
        return f"it predicts {predicted:.6g} where {expected:.6g} was recorded"
    return None


def _judge(first: Sequence[_Try], rest: Sequence[_Try], serving: Serving) -> Smoke:
    import numpy as np

    every = [*first, *rest]
    failures = [failure for _, failure in every if failure]
    own = [failure for failure in failures if failure.own]
    p50, p99 = (float(np.percentile([took for took, _ in rest], share)) for share in (50, 99))
    allowed = serving.error_rate * len(every)
    reasons: list[str] = []
    trouble = ""
    if len(own) > allowed:
        reasons.append(f"{len(own)} of {len(every)} requests failed (first: {own[0].text}); allowed: {serving.error_rate:.2%}.")
    elif len(failures) > allowed:
        strange = next(failure.text for failure in failures if not failure.own)
        trouble = f"{len(failures)} of {len(every)} requests didn't get an answer of its own (first: {strange})."
    if p99 > serving.p99 and not trouble:
        reasons.append(f"99 of 100 requests took up to {p99:,.0f} ms; allowed: {serving.p99:,.0f} ms.")
    return Smoke(len(every), len(failures), round(p50, 2), round(p99, 2), reasons, trouble)
