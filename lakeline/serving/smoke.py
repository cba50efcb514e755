"""Tries of a server with rows whose predictions are known: whether it answers, rightly, with the right version, and fast enough."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lakeline.serving.release import VARIANT_HEADER, VERSION_HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import httpx

    from lakeline.data.servingspec import Serving
    from lakeline.serving.release import Release
    from lakeline.training.model import Example

_CALLERS = 4
_WARM_UP = 10
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
        Why it doesn't pass; empty if it does.
    """

    requests: int
    failed: int
    p50: float
    p99: float
    reasons: list[str]

    @property
    def passed(self) -> bool:
        """Whether it is what it should be."""
        return not self.reasons

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as JSON can hold it."""
        return asdict(self)


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

        def ask(number: int) -> tuple[float, str | None]:
            which = number % len(bodies)
            began = time.perf_counter()
            wrong = _ask(client, bodies[which], release, expected[which])
            return (time.perf_counter() - began) * 1000, wrong

        with ThreadPoolExecutor(_CALLERS) as callers:
            first = list(callers.map(ask, range(_WARM_UP)))
            rest = list(callers.map(ask, range(serving.requests)))
    return _judge(first, rest, serving)


def _ask(client: httpx.Client, body: Mapping[str, Any], release: Release, expected: float | None) -> str | None:
    """Ask once; what is wrong with the answer, or None."""
    import httpx

    try:
        answer = client.post("/invocations", json=body)
    except httpx.TransportError as error:
        return f"no answer ({type(error).__name__}{f': {error}' if str(error) else ''})"
    if not answer.is_success:
        return f"status {answer.status_code}: {answer.text[:300].strip()}"
    version = answer.headers.get(VERSION_HEADER)
    if version != str(release.version):
        return f"version {version} answered, not {release.version}"
    return _compare(answer, expected)


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


def _judge(first: Sequence[tuple[float, str | None]], rest: Sequence[tuple[float, str | None]], serving: Serving) -> Smoke:
    import numpy as np

    every = [*first, *rest]
    wrong = [text for _, text in every if text]
    p50, p99 = (float(np.percentile([took for took, _ in rest], share)) for share in (50, 99))
    reasons: list[str] = []
    if len(wrong) > serving.error_rate * len(every):
        reasons.append(f"{len(wrong)} of {len(every)} requests failed (first: {wrong[0]}); allowed: {serving.error_rate:.2%}.")
    if p99 > serving.p99:
        reasons.append(f"99 of 100 requests took up to {p99:,.0f} ms; allowed: {serving.p99:,.0f} ms.")
    return Smoke(len(every), len(wrong), round(p50, 2), round(p99, 2), reasons)
