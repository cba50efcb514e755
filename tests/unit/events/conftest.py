"""A data set in each store of the lake, deliveries to it, and a double of Kubeflow Pipelines."""

import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakeline.data.specfile import PINNED_SQL, PINNED_YAML, local_spec
from lakeline.lake import Lake, open_lake, server
from lakeline.settings import get_settings
from tests.kubeflow import Kubeflow, named
from tests.unit.events.deliver import deliver
from tests.unit.events.models import Model
from tests.unit.events.receiver import TOKEN, Receiver
from tests.unit.lake.conftest import lakefs, lakefs_server, store
from tests.unit.registry.conftest import empty_store
from tests.unit.registry.conftest import store as registry

__all__ = ["deliver", "empty_store", "lakefs", "lakefs_server", "registry", "store"]


def new_lake(*, create: bool = True) -> Lake:
    """A repository with the spec of a data set whose name no other test uses."""
    name = f"things-{secrets.token_hex(6)}"
    lake = open_lake(name, create=create)
    spec = local_spec("flights")
    yaml = spec.yaml.replace("name: flights", f"name: {name}")
    lake.commit("main", {PINNED_YAML: yaml.encode(), PINNED_SQL: spec.sql.encode()}, "Define")
    return lake


@pytest.fixture
def lake(store: str) -> Lake:
    """A data set without arrivals, in either store."""
    made = new_lake()
    assert made.store == store
    return made


@pytest.fixture
def on_git() -> Lake:
    """A data set without arrivals, in git."""
    return new_lake()


@pytest.fixture
def pipelines_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kubeflow]:
    """A double of Kubeflow Pipelines, which the environment names."""
    with named(monkeypatch, "0123456789abcdef0123456789abcdef01234567") as double:
        yield double


@pytest.fixture
def lakefs_with_hooks(
    tmp_path_factory: pytest.TempPathFactory, lakefs_server: server.Server, monkeypatch: pytest.MonkeyPatch
) -> Iterator[server.Server]:
    """A lakeFS of the test's own, which knows the token that its webhooks show."""
    assert lakefs_server.endpoint
    folder = tmp_path_factory.mktemp("lakefs-with-hooks")
    monkeypatch.setitem(os.environ, "LAKEFSACTION_TRIGGER_TOKEN", TOKEN)
    own = server.connect(folder)
    monkeypatch.setenv("LAKELINE_LAKE", "lakefs")
    monkeypatch.setenv("LAKEFS_ENDPOINT", own.endpoint)
    monkeypatch.setenv("LAKEFS_ACCESS_KEY_ID", own.access_key_id)
    monkeypatch.setenv("LAKEFS_SECRET_ACCESS_KEY", own.secret_access_key)
    get_settings.cache_clear()
    yield own
    server.release(folder)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver that the environment names."""
    with Receiver() as one:
        threading.Thread(target=one.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("LAKELINE_EVENTS_URL", one.url)
        monkeypatch.setenv("LAKELINE_EVENTS_TOKEN", TOKEN)
        get_settings.cache_clear()
        yield one
        one.shutdown()
    get_settings.cache_clear()


@pytest.fixture
def model(registry: Path, on_git: Lake) -> Model:
    assert registry.is_file()
    return Model(on_git)
