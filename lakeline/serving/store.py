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

    endpoint = urlsplit(_aws("ENDPOINT_URL_S3") or _aws("ENDPOINT_URL"))
    place = {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme} if endpoint.netloc else {}
    place["region"] = _aws("REGION") or _aws("DEFAULT_REGION") or "us-east-1"
    if os.environ.get("LAKELINE_AWS_ACCESS_KEY_ID"):  # else Arrow finds keys as AWS' own programs do
        place |= {"access_key": _aws("ACCESS_KEY_ID"), "secret_key": _aws("SECRET_ACCESS_KEY")}
    return ArrowFSWrapper(S3FileSystem(connect_timeout=_CONNECT, request_timeout=_REQUEST, **place))


def _aws(name: str) -> str:
    """A variable of AWS; in a step's pod it is LAKELINE_AWS_..., for Kubeflow's launcher reads the same environment."""
    return os.environ.get(f"LAKELINE_AWS_{name}") or os.environ.get(f"AWS_{name}") or ""
