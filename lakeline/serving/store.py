"""Where predictions are logged: a folder, an object store or a lake, found by its URL."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from lakeline.errors import UsageError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_CONNECT, _REQUEST = 5, 30
"""Seconds until a try to reach an object store, or to read or write, is given up."""


def filesystem(url: str) -> tuple[AbstractFileSystem, str]:
    """File system of a URL, and the path in it.

    Parameters
    ----------
    url
        A folder; `s3://BUCKET/PATH`, found and logged into by AWS' variables (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, ...);
        `lakefs://REPOSITORY/BRANCH/PATH`, by the lakeFS client's settings; `memory://PATH`, for tests.

    Returns
    -------
    tuple[AbstractFileSystem, str]
        As fsspec has it, and a path without a slash at its end.

    Raises
    ------
    UsageError
        If it names no such place.
    """
    scheme = url.partition("://")[0] if "://" in url else "file"
    path = url.removeprefix(f"{scheme}://").rstrip("/")
    if scheme == "file" and path:
        from fsspec.implementations.local import LocalFileSystem

        return LocalFileSystem(), str(Path(path).resolve())
    if scheme == "s3" and path:
        return _s3(), path
    if scheme == "lakefs" and path.count("/") >= 1:
        from lakefs_spec import LakeFSFileSystem

        return LakeFSFileSystem(), path
    if scheme == "memory":
        from fsspec.implementations.memory import MemoryFileSystem

        return MemoryFileSystem(), f"/{path.lstrip('/')}"
    raise UsageError(f"predictions can't be kept at {url!r}. Give a folder, s3://BUCKET/PATH or lakefs://REPOSITORY/BRANCH/PATH.")


def _s3() -> AbstractFileSystem:
    """S3 by Arrow, which is here anyway."""
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow.fs import S3FileSystem

    endpoint = urlsplit(_said("AWS_ENDPOINT_URL_S3") or _said("AWS_ENDPOINT_URL"))
    region = _said("AWS_REGION") or _said("AWS_DEFAULT_REGION") or "us-east-1"
    place = {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme} if endpoint.netloc else {}
    key, secret = _said("AWS_ACCESS_KEY_ID"), _said("AWS_SECRET_ACCESS_KEY")
    known = {"access_key": key, "secret_key": secret} if key and secret else {}  # else as Arrow finds them: files, an instance's role
    session = {"session_token": _said("AWS_SESSION_TOKEN")} if known and _said("AWS_SESSION_TOKEN") else {}
    return ArrowFSWrapper(
        S3FileSystem(region=region, connect_timeout=_CONNECT, request_timeout=_REQUEST, **place, **known, **session)  # pyright: ignore[reportArgumentType]
    )


def _said(variable: str) -> str:
    """What a variable of AWS says; a step of a pipeline has them by names of ours, for Kubeflow's launcher beside it knows another store."""
    return os.environ.get(f"LAKELINE_{variable}") or os.environ.get(variable) or ""
