"""POST /invocations: from a request to predictions, or to a sentence that says what is wrong with it."""

from __future__ import annotations

import asyncio
import hmac
import json
import math
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from lakeline.serving.batch import Busy
from lakeline.serving.bodies import Bodies, Gone
from lakeline.serving.logs import trace
from lakeline.serving.release import KEY_HEADER, REQUEST_HEADER, VARIANT_HEADER, VARIANTS, VERSION_HEADER, Variant, variant_of
from lakeline.serving.rows import Refused, Rows, content_kind
from lakeline.serving.values import quoted

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from lakeline.serving.batch import Batcher
    from lakeline.serving.environment import ServerSettings
    from lakeline.serving.logs import Journal
    from lakeline.serving.metrics import Metrics
    from lakeline.serving.model import ServedModel
    from lakeline.serving.peer import Peer
    from lakeline.serving.predictions import PredictionLog

CODES = {401: "UNAUTHENTICATED", 404: "ENDPOINT_NOT_FOUND", 500: "INTERNAL_ERROR", 503: "TEMPORARILY_UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}
"""MLflow's names of errors, by HTTP status; all else is a BAD_REQUEST."""

PASSED_ON_HEADER = "Lakeline-Passed-On"
"""Of a request between the two variants: whoever gets it answers it."""

_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_KEY_LENGTH = 256
_LARGE_ANSWER = 2_000
"""Rows from which on an answer is written beside other requests, not between them."""


@dataclass(slots=True)
class Call:
    """A request as far as it is understood."""

    headers: dict[bytes, bytes]
    id: str
    key: str | None = None
    body: bytes = b""
    held: int = 0
    """Bytes of the body that are held."""
    whole: bool = False
    """Whether all of the body has come."""


@dataclass(slots=True)
class Reply:
    """What is answered."""

    status: int
    body: bytes
    variant: str
    version: str
    kind: str = ""
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


class Scoring:
    """An ASGI application for one path.

    Parameters
    ----------
    settings
        Limits, release and route.
    token
        What callers must send; None for nothing.
    model, batcher, metrics, journal
        What predicts, and what is told.
    log
        Where predictions go; None for nowhere.
    peer
        The other variant; None without an A/B test.
    """

    def __init__(
        self,
        settings: ServerSettings,
        token: str | None,
        model: ServedModel,
        batcher: Batcher,
        metrics: Metrics,
        journal: Journal,
        log: PredictionLog | None,
        peer: Peer | None,
    ) -> None:
        self._settings = settings
        self._token = token.encode() if token else None
        self._model = model
        self._batcher = batcher
        self._metrics = metrics
        self._journal = journal
        self._log = log
        self._peer = peer
        self._variant: Variant = settings.variant
        self._version = str(settings.version)
        self._bodies = Bodies(settings.max_bytes, settings.max_rows, model.columns)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; nothing but the end of the connection keeps it from being answered."""
        began = time.perf_counter()
        self._metrics.under_way.inc()
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, value)
        call = Call(headers, uuid.uuid4().hex)
        try:
            reply = await self._reply(call, receive)
            if reply is None:
                return
            seconds = time.perf_counter() - began
            self._metrics.answered(reply.status, seconds)
            if reply.kind:
                self._metrics.failed(reply.kind)
                self._journal.request(
                    status=reply.status, kind=reply.kind, request_id=call.id, ms=round(seconds * 1000, 1), bytes=len(call.body)
                )
            for message in _messages(reply, call.id):
                await send(message)
        finally:
            self._bodies.let_go(call)
            self._metrics.under_way.dec()

    def close(self) -> None:
        """Take no more requests."""
        self._bodies.close()

    def authorized(self, authorization: bytes | None) -> bool:
        """Whether a caller may call."""
        scheme, _, token = (authorization or b"").partition(b" ")
        return self._token is None or (scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token))

    async def _reply(self, call: Call, receive: Receive) -> Reply | None:
        """Predictions or an error; None if the caller has gone."""
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await self._predictions(call, receive)
        except Gone:
            return None
        except Refused as error:
            return self.error(error.status, str(error), error.kind)
        except Busy:
            return self.error(503, "too much is waiting to be read or predicted. Try again.", "busy", (b"retry-after", b"1"))
        except TimeoutError:
            return self._late(call)
        except Exception as error:
            self._journal.say("bug", level="error", request_id=call.id, **trace(error))
            return self.error(500, "the server failed on this request; its log says where.", "internal")

    def _late(self, call: Call) -> Reply:
        limit = f"{self._settings.timeout:g} s"
        if call.whole:
            return self.error(504, f"there was no answer within {limit}.", "timeout")
        # What still comes of it could not be told from a next request.
        return self.error(408, f"the body hasn't come within {limit}.", "slow", (b"connection", b"close"))

    async def _predictions(self, call: Call, receive: Receive) -> Reply:
        if not self.authorized(call.headers.get(b"authorization")):
            # The body is not even read.
            raise Refused("send the token of this server: Authorization: Bearer TOKEN.", 401, "token")
        call.id = _request_id(call.headers) or call.id
        call.key = _key(call.headers)
        wanted = self._answered_by(call)
        kind = content_kind(_text(call.headers, b"content-type"), _text(call.headers, b"content-encoding"))
        call.body = await self._bodies.read(call, receive)
        call.whole = True
        if wanted != self._variant and self._peer:
            reply = await self._peer.answer(call, wanted)
            if reply:
                return reply
        try:
            return await self._own(call, kind)
        except Refused as refused:
            reply = await self._instead(call, refused)
            if reply:
                return reply
            raise

    async def _instead(self, call: Call, refused: Refused) -> Reply | None:
        """What production answers where the challenger's model can't: a test is to cost its callers nothing."""
        if refused.kind != "prediction" or self._variant == "production" or self._peer is None:
            return None
        if {PASSED_ON_HEADER.lower().encode(), VARIANT_HEADER.lower().encode()} & call.headers.keys():
            return None
        self._metrics.failed(refused.kind)
        return await self._peer.answer(call, "production")

    async def _own(self, call: Call, kind: str) -> Reply:
        rows = await self._bodies.decode(call.body, kind)
        try:
            predicted = await self._batcher.predict(rows)
        except Refused:
            self._record(call, rows, [math.nan] * rows.n)
            raise
        if rows.n > _LARGE_ANSWER:
            return await asyncio.to_thread(self._answer, call, rows, predicted)
        return self._answer(call, rows, predicted)

    def _answer(self, call: Call, rows: Rows, predicted: np.ndarray) -> Reply:
        values = predicted.tolist()
        self._record(call, rows, values)
        finite = np.isfinite(predicted)
        if not finite.all():
            row = int(np.argmin(finite))
            raise Refused(f"row {row}: the model gives no number for it.", 422, "prediction")
        self._metrics.predicted(predicted)
        return Reply(200, b'{"predictions": ' + json.dumps(values).encode() + b"}", self._variant, self._version)

    def _record(self, call: Call, rows: Rows, values: list[float]) -> None:
        """Log predictions, and that there are none: a test that never heard of what a variant can't answer would judge it by the rest."""
        if self._log:
            self._log.add(call.id, call.key, rows, values, len(call.body))

    def _answered_by(self, call: Call) -> Variant:
        """Variant that a request is for."""
        forced = _text(call.headers, VARIANT_HEADER.lower().encode())
        if forced is not None and forced not in VARIANTS:
            raise Refused(
                f"header {VARIANT_HEADER}: there is no variant {quoted(forced)}. There are {' and '.join(VARIANTS)}.", kind="header"
            )
        if PASSED_ON_HEADER.lower().encode() in call.headers or forced == self._variant:
            return self._variant
        route = self._settings.route
        if route is None:
            if forced:
                raise Refused(
                    f"header {VARIANT_HEADER}: no A/B test runs, so there is no {forced} to answer beside {self._variant}.", kind="header"
                )
            return self._variant
        if forced:
            return "production" if forced == "production" else "challenger"
        if call.key:
            return variant_of(call.key, route.experiment, route.weight)
        return variant_of(call.id, route.experiment, route.weight) if route.unkeyed else self._variant

    def error(self, status: int, message: str, kind: str, *headers: tuple[bytes, bytes]) -> Reply:
        """Say what is wrong, as MLflow does."""
        body = json.dumps({"error_code": CODES.get(status, "BAD_REQUEST"), "message": message}).encode()
        extra = [*headers, *([(b"www-authenticate", b"Bearer")] if status == 401 else [])]  # noqa: PLR2004
        return Reply(status, body, self._variant, self._version, kind, extra)


def _messages(reply: Reply, request_id: str) -> tuple[Message, Message]:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(reply.body)).encode()),
        (REQUEST_HEADER.lower().encode(), request_id.encode()),
        (VERSION_HEADER.lower().encode(), reply.version.encode()),
        (VARIANT_HEADER.lower().encode(), reply.variant.encode()),
        *reply.headers,
    ]
    return {"type": "http.response.start", "status": reply.status, "headers": headers}, {"type": "http.response.body", "body": reply.body}


def _text(headers: dict[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Refused(f"header {name.decode()} is not UTF-8.", kind="header") from None


def _request_id(headers: dict[bytes, bytes]) -> str | None:
    text = _text(headers, REQUEST_HEADER.lower().encode())
    if not text:
        return None
    if not _ID.fullmatch(text):
        raise Refused(f"header {REQUEST_HEADER} may have 1 to 128 letters, digits and ._:/+=@-", kind="header")
    return text


def _key(headers: dict[bytes, bytes]) -> str | None:
    text = _text(headers, KEY_HEADER.lower().encode())
    if text and len(text) > _KEY_LENGTH:
        raise Refused(f"header {KEY_HEADER} may have {_KEY_LENGTH} characters.", kind="header")
    return text or None
