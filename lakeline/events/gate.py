"""The gate between MLflow's webhooks and the event source: what MLflow has not signed, or not just now, doesn't get through."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

from lakeline.errors import UsageError
from lakeline.events.alias import read
from lakeline.events.payload import MOST, Alias, MalformedEvent
from lakeline.events.signature import judge
from lakeline.settings import get_settings

ALIAS = "/alias"
"""Where the gate takes MLflow's deliveries, and where the event source takes what has passed."""

_BODY, _SOURCE, _CONNECTION = 5.0, 10.0, 30.0
"""Seconds that a body may take to come, the event source to answer, and a connection altogether. MLflow waits for 30."""
_CONNECTIONS = 64
_HEADERS = 16 * 1024

_STATUS = {
    "passed": 200,
    "ignored": 200,
    "malformed": 400,
    "forged": 401,
    "old": 401,
    "slow": 408,
    "too large": 413,
    "undelivered": 502,  # of these, the only one that MLflow tries again: three times, at once, after 2 s and after 4 s more
}
"""What becomes of a request, and what it is answered."""

_Outcome = tuple[str, dict[str, Any]]
"""What became of a request, and what the log says besides: nothing of what wasn't signed."""

log = logging.getLogger("lakeline.gate")


class GateSettings(BaseSettings):
    """What the gate is told: LAKELINE_GATE_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix="LAKELINE_GATE_", extra="ignore")

    secret: SecretStr = Field(min_length=20)
    previous: SecretStr | None = Field(default=None, min_length=20)
    """Good as well, so that none is refused while MLflow gets another one."""
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=1, le=65535)

    @property
    def secrets(self) -> tuple[str, ...]:
        """All that are good."""
        return tuple(secret.get_secret_value() for secret in (self.secret, self.previous) if secret)


def serve() -> None:
    """Serve the gate as the environment says, until SIGTERM.

    Raises
    ------
    UsageError
        If a variable is missing, or has a value that it can't have: says which.
    """
    try:
        settings = GateSettings()  # pyright: ignore[reportCallIssue]  (from the environment)
    except ValidationError as error:
        wrong = error.errors(include_input=False)[0]
        raise UsageError(
            f"LAKELINE_GATE_{str(wrong['loc'][0]).upper()}: {wrong['msg']}. It comes from the Secret lakeline-alias."
        ) from None
    url, token = get_settings().events_url, get_settings().events_token
    if not url or not token:
        raise UsageError("where do events go? Set LAKELINE_EVENTS_URL to the event source, and LAKELINE_EVENTS_TOKEN to what it asks for.")
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    server(application(settings.secrets, url, token.get_secret_value()), settings.host, settings.port).run()


def application(secrets: tuple[str, ...], source: str, token: str) -> FastAPI:
    """Make the gate.

    Parameters
    ----------
    secrets
        With one of which a delivery must be signed.
    source
        Address of the event source.
    token
        That it asks for.

    Returns
    -------
    FastAPI
        POST /alias for MLflow; GET /livez, /readyz and /metrics for the cluster.
    """
    client = httpx.AsyncClient(timeout=_SOURCE, headers={"Authorization": f"Bearer {token}"}, trust_env=False)
    gate = _Gate(secrets, client, source.rstrip("/") + ALIAS)

    @contextlib.asynccontextmanager
    async def living(_: FastAPI) -> AsyncGenerator[None]:
        async with client:
            yield

    app = FastAPI(openapi_url=None, lifespan=living)
    app.add_route(ALIAS, gate.alias, methods=["POST"])
    app.add_route("/livez", gate.well)
    app.add_route("/readyz", gate.well)
    app.add_route("/metrics", gate.metrics)
    return app


class _Gate:
    def __init__(self, secrets: tuple[str, ...], client: httpx.AsyncClient, target: str) -> None:
        self._secrets, self._client, self._target = secrets, client, target
        self._registry = CollectorRegistry()
        self._counted = Counter(
            "lakeline_gate_deliveries", "Deliveries of MLflow's webhooks, by what became of them.", ["outcome"], registry=self._registry
        )
        for outcome in _STATUS:
            self._counted.labels(outcome)

    async def alias(self, request: Request) -> Response:
        """Take a delivery."""
        outcome, said = await self._take(request)
        self._counted.labels(outcome).inc()
        peer = request.client.host if request.client else None
        log.info(json.dumps({"time": round(time.time(), 3), "outcome": outcome, "from": peer, **said}))
        return _json({"outcome": outcome}, _STATUS[outcome])

    async def well(self, _: Request) -> Response:
        """Say that it is."""
        return _json({"status": "ok"}, 200)

    async def metrics(self, _: Request) -> Response:
        """Say what has become of how many."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    async def _take(self, request: Request) -> _Outcome:
        try:
            async with asyncio.timeout(_BODY):
                body = await _body(request)
        except TimeoutError:
            return "slow", {}
        except ClientDisconnect:
            return "malformed", {"error": "the sender hung up"}
        if body is None:
            return "too large", {}
        verdict, delivery = judge(request.headers.items(), body, self._secrets, time.time())
        if verdict != "signed":
            return verdict, {}
        try:
            event = read(delivery, body)
        except MalformedEvent as error:
            return "malformed", {"delivery": delivery, "error": str(error)}
        return await self._pass(event) if event else ("ignored", {"delivery": delivery})

    async def _pass(self, event: Alias) -> _Outcome:
        content = event.model_dump()
        try:
            answer = await self._client.post(self._target, json=content)
        except httpx.HTTPError as error:
            return "undelivered", content | {"error": f"{type(error).__name__}: {error}"}
        if not answer.is_success:
            return "undelivered", content | {"error": f"the event source answers {answer.status_code}"}
        return "passed", content


def server(app: FastAPI, host: str, port: int) -> uvicorn.Server:
    """Server of a gate, which `run()` serves until SIGTERM: one request a connection, which may last half a minute."""
    config = uvicorn.Config(
        app,
        host,
        port,
        http=_Impatient,
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        headers=[("Connection", "close")],
        limit_concurrency=_CONNECTIONS,
        h11_max_incomplete_event_size=_HEADERS,
        timeout_graceful_shutdown=int(_BODY + _SOURCE),
    )
    return uvicorn.Server(config)


class _Impatient(H11Protocol):
    """HTTP with an end: uvicorn itself waits for ever for headers that come a letter at a time."""

    _end: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._end = self.loop.call_later(_CONNECTION, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        super().connection_lost(exc)


async def _body(request: Request) -> bytes | None:
    """Body of a request; None as soon as it is known to be too large."""
    length = request.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > MOST:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST:
            return None
    return bytes(body)


def _json(content: dict[str, Any], status: int) -> Response:
    return Response(json.dumps(content), status, media_type="application/json")
