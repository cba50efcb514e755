"""What a server answers: MLflow's own application, with scoring, health and metrics of ours."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple

from lakeline import __version__
from lakeline.serving.batch import Batcher
from lakeline.serving.description import describe_routes
from lakeline.serving.metrics import Metrics
from lakeline.serving.peer import Peer
from lakeline.serving.predictions import PredictionLog
from lakeline.serving.scoring import CODES, Scoring

if TYPE_CHECKING:
    from fastapi import FastAPI, Request
    from starlette.exceptions import HTTPException
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from lakeline.serving.environment import ServerSettings
    from lakeline.serving.logs import Journal
    from lakeline.serving.model import ServedModel

_REPLACED = frozenset({"/invocations", "/version", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json"})
"""MLflow's and FastAPI's routes that ours stand for, or that load scripts from elsewhere."""

_STUCK = 2
"""Times a request's longest time that a call of the model may take: after that, it won't come back, and who watches should start anew."""

_WAITING = 4
"""Requests of the largest size that may wait for the model."""


class Application:
    """The ASGI application of a server.

    Parameters
    ----------
    settings
        Release, limits and places.
    token
        What callers must send; None for nothing.
    model
        What predicts.
    journal
        What happens is told.
    """

    def __init__(self, settings: ServerSettings, token: str | None, model: ServedModel, journal: Journal) -> None:
        self.draining = False
        """Whether callers are sent away: they get an answer, and the connection is closed after it."""
        self._settings = settings
        self._metrics = Metrics(settings)
        self._batcher = Batcher(model, _WAITING * settings.max_rows, self._metrics.batch.observe)
        self._log = PredictionLog(settings, model.columns, self._metrics, journal) if settings.predictions else None
        self._peer = Peer(settings.peer, settings.timeout, self._metrics, journal) if settings.route else None
        self._scoring = Scoring(settings, token, model, self._batcher, self._metrics, journal, self._log, self._peer)
        self._app: ASGIApp = self._with_routes(model)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and while draining ask the caller to connect anew, which is then to somebody else."""

        async def send_away(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, send_away if self.draining else send)

    def hangs(self) -> bool:
        """Whether the model is still at work, which after the last answer nobody waits for."""
        return self._batcher.calling() > 0

    async def close(self) -> None:
        """Write what the prediction log still holds, and let go of the other variant."""
        if self._peer:
            await self._peer.close()
        if self._log:
            await asyncio.to_thread(self._log.close, max(self._settings.drain, 1))
        self._scoring.close()
        self._batcher.close()
        self._metrics.close()

    def _with_routes(self, model: ServedModel) -> FastAPI:
        from mlflow.pyfunc.scoring_server import init
        from starlette.exceptions import HTTPException
        from starlette.routing import Route

        # What it asks of a model is `metadata.get_input_schema()` and that it isn't None.
        app = init(_Described(model.metadata))  # pyright: ignore[reportArgumentType]
        # Its time-out runs each request in a task of its own behind a stream, which costs more than a prediction. Scoring has one.
        app.user_middleware.clear()
        app.router.routes[:] = [
            # A class, not a function: Starlette then hands it the request as it is.
            Route("/invocations", self._scoring, methods=["POST"]),
            Route("/livez", self._live),
            Route("/readyz", self._ready),
            Route("/metrics", self._exposition),
            Route("/version", self._version),
            Route("/openapi.json", self._openapi),
            *(route for route in app.router.routes if getattr(route, "path", "") not in _REPLACED),
        ]
        app.add_exception_handler(HTTPException, _refused)  # pyright: ignore[reportArgumentType]
        self._description = describe_routes(self._settings, model)
        return app

    async def _live(self, request: Request) -> Response:
        alive = self._batcher.calling() < _STUCK * self._settings.timeout
        return _json({"alive": alive}, 200 if alive else 503)

    async def _ready(self, request: Request) -> Response:
        said = self._settings
        # Callers go elsewhere before those who watch start it anew.
        ready = not self.draining and self._batcher.calling() <= self._settings.timeout
        return _json({"ready": ready, "model": said.model, "version": said.version, "variant": said.variant}, 200 if ready else 503)

    async def _exposition(self, request: Request) -> Response:
        from starlette.responses import Response

        return Response(await asyncio.to_thread(self._metrics.exposition), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _version(self, request: Request) -> Response:
        import mlflow

        said = self._settings
        told = {
            "model": said.model,
            "version": said.version,
            "variant": said.variant,
            "digest": said.digest,
            "data_commit": said.data_commit,
        }
        return _json(told | {"run": said.run, "experiment": said.experiment, "lakeline": __version__, "mlflow": mlflow.__version__})

    async def _openapi(self, request: Request) -> Response:
        if not self._scoring.authorized(request.headers.get("authorization", "").encode("latin-1")):
            return _error(401, "send the token of this server: Authorization: Bearer TOKEN.", {"WWW-Authenticate": "Bearer"})
        return _json(self._description)


class _Described(NamedTuple):
    metadata: Any


def _json(content: object, status: int = 200) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse(content, status)


def _error(status: int, message: str, headers: Any = None) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse({"error_code": CODES.get(status, "BAD_REQUEST"), "message": message}, status, headers)


async def _refused(request: Request, error: HTTPException) -> Response:
    """What Starlette refuses: paths that aren't there, and methods that they don't take."""
    return _error(error.status_code, f"{request.method} {request.url.path}: {error.detail}", error.headers)
