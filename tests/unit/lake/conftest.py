"""Both stores of the lake, each real: git in a folder, lakeFS on a private server that the session starts."""

import secrets
import shutil
from collections.abc import Iterator

import pytest

from lakeline.lake import Lake, open_lake, server
from lakeline.settings import get_settings


@pytest.fixture(scope="session")
def lakefs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """Start a lakeFS server for this session; tests that want it are skipped where there is no program."""
    if shutil.which("lakefs") is None:
        pytest.skip("there is no `lakefs` program on the PATH")
    folder = tmp_path_factory.mktemp("lakefs")
    yield server.connect(folder)
    server.release(folder)


@pytest.fixture
def lakefs(lakefs_server: server.Server, monkeypatch: pytest.MonkeyPatch) -> server.Server:
    """Have the environment name the session's lakeFS, for this process and those it starts."""
    monkeypatch.setenv("LAKELINE_LAKE", "lakefs")
    monkeypatch.setenv("LAKEFS_ENDPOINT", lakefs_server.endpoint)
    monkeypatch.setenv("LAKEFS_ACCESS_KEY_ID", lakefs_server.access_key_id)
    monkeypatch.setenv("LAKEFS_SECRET_ACCESS_KEY", lakefs_server.secret_access_key)
    get_settings.cache_clear()
    return lakefs_server


@pytest.fixture(params=["git", pytest.param("lakefs", marks=pytest.mark.lakefs)])
def store(request: pytest.FixtureRequest) -> str:
    """Have the environment name a store, one after the other."""
    if request.param == "lakefs":
        request.getfixturevalue("lakefs")
    return request.param


@pytest.fixture
def name() -> str:
    """Name of a data set that no other test uses."""
    return f"things-{secrets.token_hex(6)}"


@pytest.fixture
def lake(store: str, name: str) -> Lake:
    """Open a new lake in either store."""
    made = open_lake(name, create=True)
    assert made.store == store
    return made
