"""What a server is told: the variables LAKELINE_SERVE_*, as they are written by who starts it and read by the server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lakeline.errors import UsageError
from lakeline.serving.release import Route, Variant
from lakeline.settings import bearer

if TYPE_CHECKING:
    from lakeline.serving.release import Release

PREFIX = "LAKELINE_SERVE_"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class ServerSettings(BaseSettings):
    """What the environment tells a server; each field is the variable LAKELINE_SERVE_<FIELD>.

    Attributes
    ----------
    model, version, digest, variant, data_commit, run
        The release, as `lakeline.serving.release.Release` has it.
    folder
        Where the files of the version are.
    experiment, weight, peer, unkeyed
        While an A/B test runs: `lakeline.serving.release.Route`.
    token, auth
        What callers send as `Authorization: Bearer ...`, and whether they must: `token`, or `off`. None: only off where
        nobody but this machine can call.
    host, port
        Where it listens.
    workers
        Processes.
    max_bytes, max_rows
        Of a request: size of its body, and rows in it.
    timeout
        Seconds that a request may take.
    drain
        Seconds that callers have to leave when the server is told to end.
    predictions
        Where predictions are logged: a folder, or a URL; empty for nowhere.
    log_rows, log_seconds
        A file of the log is written when that many rows have come, or after that many seconds.
    log_pending
        Rows that are kept, at most, while the log can't be written.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", env_ignore_empty=True)

    model: str
    version: int = Field(ge=1)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    folder: Path
    variant: Variant = "production"
    data_commit: str = ""
    run: str = ""
    experiment: str = ""
    weight: float = Field(default=0, ge=0, le=1)
    peer: str = Field(default="", pattern=r"^(https?://[A-Za-z0-9._:\[\]-]+)?$")
    unkeyed: bool = False
    token: SecretStr | None = None
    auth: Literal["token", "off"] | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    max_bytes: int = Field(default=4 * 2**20, ge=1)
    max_rows: int = Field(default=50_000, ge=1)
    timeout: float = Field(default=30, gt=0)
    drain: float = Field(default=10, ge=0)
    predictions: str = ""
    log_rows: int = Field(default=20_000, ge=1)
    log_seconds: float = Field(default=5, gt=0)
    log_pending: int = Field(default=200_000, ge=1)

    @model_validator(mode="after")
    def _whole(self) -> ServerSettings:
        if self.experiment and not self.peer:
            raise ValueError(f"{PREFIX}EXPERIMENT is set, and {PREFIX}PEER is not: set both, or none")
        if self.auth == "token" and not self.token:
            raise ValueError(f"{PREFIX}AUTH is token, and {PREFIX}TOKEN isn't set")
        return self

    @property
    def route(self) -> Route | None:
        """How requests are shared out; None without an A/B test."""
        return Route(self.experiment, self.weight, self.peer, self.unkeyed) if self.experiment else None

    def secret(self, host: str) -> str | None:
        """Token that callers must send.

        Parameters
        ----------
        host
            Address that the server listens to.

        Returns
        -------
        str | None
            None: anybody may call.

        Raises
        ------
        UsageError
            If others than this machine can call, and there is no token, and it wasn't said that none is wanted; or if no header could
            carry the token.
        """
        if self.auth == "off":
            return None
        if self.token is None and host not in _LOOPBACK:
            raise UsageError(
                f"the server would answer anybody who reaches {host}. "
                f"Set {PREFIX}TOKEN, or {PREFIX}AUTH=off where something in front of it asks who calls."
            )
        if self.token is None:
            return None
        try:
            return bearer(self.token.get_secret_value())
        except ValueError as error:
            raise UsageError(f"{PREFIX}TOKEN {error}.") from None


def server_settings() -> ServerSettings:
    """Read what this process is told.

    Raises
    ------
    UsageError
        If a variable is missing, or has a value that it can't have: names each of them.
    """
    try:
        return ServerSettings()  # pyright: ignore[reportCallIssue]
    except ValidationError as error:
        problems = [
            f"{PREFIX}{problem['loc'][0]}".upper() + f": {problem['msg']}" if problem["loc"] else problem["msg"]
            for problem in error.errors()
        ]
        raise UsageError("the server's settings: " + "; ".join(problems)) from error


def environment(release: Release, folder: Path | str) -> dict[str, str]:
    """Variables that tell a server what to serve; those of its place (HOST, TOKEN, PREDICTIONS, ...) go beside them.

    Parameters
    ----------
    release
        What it serves.
    folder
        Where the files of the version are, as the server sees it.

    Returns
    -------
    dict[str, str]
        Only variables that say something: what isn't there must not be set otherwise.
    """
    told: dict[str, object] = {
        "MODEL": release.model,
        "VERSION": release.version,
        "DIGEST": release.digest,
        "VARIANT": release.variant,
        "FOLDER": folder,
        "DATA_COMMIT": release.data_commit,
        "RUN": release.run,
    }
    if release.route:
        route = release.route
        told |= {"EXPERIMENT": route.experiment, "WEIGHT": route.weight, "PEER": route.peer, "UNKEYED": str(route.unkeyed).lower()}
    return {f"{PREFIX}{name}": str(value) for name, value in told.items() if value != ""}
