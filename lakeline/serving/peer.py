"""The other variant of an A/B test: requests that are its to answer are passed on to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lakeline.serving.release import KEY_HEADER, REQUEST_HEADER, VARIANT_HEADER, VERSION_HEADER
from lakeline.serving.scoring import PASSED_ON_HEADER, Reply

if TYPE_CHECKING:
    import httpx

    from lakeline.serving.logs import Journal
    from lakeline.serving.metrics import Metrics
    from lakeline.serving.release import Variant
    from lakeline.serving.scoring import Call

_OK = 200
_SHARE_OF_TIME = 0.5
"""Part of a request's time that the other variant may take: after that there is still time for an answer of our own."""


class Peer:
    """Calls the other variant's server.

    Parameters
    ----------
    address
        Such as `http://name-challenger:8080`.
    timeout
        Seconds that a request may take in all.
    metrics, journal
        What is told.
    """

    def __init__(self, address: str, timeout: float, metrics: Metrics, journal: Journal) -> None:
        import httpx

        self._metrics = metrics
        self._journal = journal
        limits = httpx.Limits(max_connections=256, max_keepalive_connections=64, keepalive_expiry=30)
        wait = httpx.Timeout(timeout * _SHARE_OF_TIME, connect=min(1.0, timeout * _SHARE_OF_TIME))
        self._client: httpx.AsyncClient = httpx.AsyncClient(base_url=address, timeout=wait, limits=limits, trust_env=False)

    async def answer(self, call: Call, variant: Variant) -> Reply | None:
        """Pass a request on.

        Parameters
        ----------
        call
            As it came.
        variant
            Who is to answer it.

        Returns
        -------
        Reply | None
            Its predictions; None if it gives none, for whatever reason: then it is ours to answer, or to refuse.
        """
        import httpx

        headers = [
            (b"content-type", call.headers[b"content-type"]),
            (REQUEST_HEADER.encode(), call.id.encode()),
            (VARIANT_HEADER.encode(), variant.encode()),
            (PASSED_ON_HEADER.encode(), b"1"),
        ]
        if call.key:
            headers.append((KEY_HEADER.encode(), call.key.encode()))
        if b"authorization" in call.headers:
            headers.append((b"authorization", call.headers[b"authorization"]))
        try:
            response = await self._client.post("/invocations", content=call.body, headers=headers)
        except httpx.HTTPError as error:
            self._metrics.passed_in_vain.inc()
            self._journal.request(kind="peer", request_id=call.id, peer=variant, error=type(error).__name__)
            return None
        if response.status_code != _OK:
            self._metrics.passed_in_vain.inc()
            self._journal.request(kind="peer", request_id=call.id, peer=variant, answered=response.status_code)
            return None
        self._metrics.passed_on.inc()
        version, answered = response.headers.get(VERSION_HEADER, ""), response.headers.get(VARIANT_HEADER, variant)
        return Reply(response.status_code, response.content, answered, version)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
