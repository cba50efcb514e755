"""The lakeFS store: what others see in lakeFS, and what happens when it is away, refuses us or was meddled with."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lakeline.errors import LakeConflict, LakeNotFound, LakeUnavailable
from lakeline.lake import Lake, list_lakes, open_lake, server
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from lakefs import Repository

pytestmark = pytest.mark.lakefs


@pytest.fixture
def lake(lakefs: server.Server, name: str) -> Lake:
    """Open a new lake in lakeFS."""
    return open_lake(name, create=True)


@pytest.fixture
def repository(lake: Lake) -> Repository:
    """Open the same repository with lakeFS's own client."""
    from lakefs import Repository
    from lakefs.client import Client

    return Repository(lake.name, client=Client(**(server.configured() or {})))


def all_branches(repository: Repository) -> list[str]:
    return [branch.id for branch in repository.branches(show_hidden=True)]


def test_each_commit_is_one_commit_in_lakefs(lake: Lake, repository: Repository):
    lake.commit("main", {"raw/a": b"1"}, "Bring 2013-01", {"rows_raw": "3"})

    head, root = repository.ref("main").log()
    assert (head.message, head.parents) == ("Bring 2013-01", [root.id])
    assert (head.metadata or {})["rows_raw"] == "3"
    assert all_branches(repository) == ["main"]
    assert lake.url.endswith(f"/repositories/{lake.name}")


def test_slashes_of_tags_are_dots_in_lakefs(lake: Lake, repository: Repository):
    lake.tag("things/2013-01", "main")
    lake.tag("model/3", "main")
    lake.tag("v1.0/rc.1", "main")
    repository.tag("by.hand-1").create("main")

    assert [tag.id for tag in repository.tags()] == ["by.hand-1", "model.3", "things.2013-01", "v1._0.rc._1"]
    assert list(lake.tags()) == ["by/hand-1", "model/3", "things/2013-01", "v1.0/rc.1"]
    assert lake.resolve("by.hand-1") == lake.resolve("by/hand-1") == lake.resolve("main")


def test_what_somebody_did_not_commit_is_not_seen(lake: Lake, repository: Repository):
    lake.commit("main", {"a": b"1"}, "One")
    repository.branch("main").object("b").upload(data=b"2")

    assert not lake.exists("main", "b")
    assert [entry.path for entry in lake.ls("main")] == ["a"]


def test_branch_that_somebody_left_uncommitted_is_not_merged_into(lake: Lake, repository: Repository):
    head = lake.resolve("main")
    repository.branch("main").object("b").upload(data=b"2")

    with pytest.raises(LakeConflict, match=rf"uncommitted changes.*lakectl diff lakefs://{lake.name}"):
        lake.commit("main", {"a": b"1"}, "One")

    assert lake.resolve("main") == head
    assert all_branches(repository) == ["main"]


def test_drafts_are_hidden_and_old_ones_deleted(lake: Lake, repository: Repository):
    repository.branch("lakeline-draft-1700000000-dead").create("main", hidden=True)
    repository.branch("lakeline-draft-99999999999-alive").create("main", hidden=True)
    assert [branch.name for branch in lake.branches()] == ["main"]

    lake.commit("main", {"a": b"1"}, "One")

    assert all_branches(repository) == ["lakeline-draft-99999999999-alive", "main"]


def test_repository_that_is_gone_says_so(lake: Lake, repository: Repository):
    lake.commit("main", {"a": b"1"}, "One")
    repository.delete()

    for attempt in (lambda: lake.resolve("main"), lambda: lake.commit("main", {"a": b""}, "Two"), lake.branches):
        with pytest.raises(LakeUnavailable, match=rf"is gone: .*lakeline dataset push {lake.name}"):
            attempt()


def test_place_of_a_deleted_repository_is_refused(lake: Lake, repository: Repository, monkeypatch: pytest.MonkeyPatch):
    repository.delete()
    with pytest.raises(LakeConflict, match=r"in use or was.*LAKELINE_LAKEFS_STORAGE"):
        open_lake(lake.name, create=True)

    monkeypatch.setenv("LAKELINE_LAKEFS_STORAGE", "local://elsewhere")
    get_settings.cache_clear()
    assert open_lake(lake.name, create=True).ls("main") == []
    assert repository.properties.storage_namespace in {f"local://{lake.name}", f"local://elsewhere/{lake.name}"}


def test_lakefs_out_of_reach_says_where_it_was_sought(lakefs: server.Server, monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    monkeypatch.setenv("LAKEFS_ENDPOINT", endpoint)

    with pytest.raises(LakeUnavailable, match=rf"lakeFS at {endpoint} can't be reached: .*refused"):
        open_lake("things")


def test_wrong_keys_are_named(lakefs: server.Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAKEFS_SECRET_ACCESS_KEY", "wrong")

    with pytest.raises(LakeUnavailable, match=r"refuses us.*Check the keys"):
        list_lakes()


def test_endpoint_without_keys_is_named(lakefs: server.Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LAKEFS_SECRET_ACCESS_KEY")

    with pytest.raises(LakeUnavailable, match=r"LAKEFS_ENDPOINT is set .*not LAKEFS_SECRET_ACCESS_KEY"):
        open_lake("things")


def test_lakectl_settings_are_taken(lakefs: server.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str):
    for variable in ("LAKEFS_ENDPOINT", "LAKEFS_ACCESS_KEY_ID", "LAKEFS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    assert server.configured() is None

    file = tmp_path / "lakectl.yaml"
    file.write_text(
        f"server:\n  endpoint_url: {lakefs.endpoint}\n"
        f"credentials:\n  access_key_id: {lakefs.access_key_id}\n  secret_access_key: {lakefs.secret_access_key}\n"
    )
    monkeypatch.setenv("LAKECTL_CONFIG_FILE", str(file))
    open_lake(name, create=True).commit("main", {"a": b"1"}, "By file")

    monkeypatch.delenv("LAKECTL_CONFIG_FILE")
    monkeypatch.setenv("LAKECTL_SERVER_ENDPOINT_URL", lakefs.endpoint)
    with pytest.raises(LakeUnavailable, match="no keys"):
        open_lake(name)
    monkeypatch.setenv("LAKECTL_CREDENTIALS_ACCESS_KEY_ID", lakefs.access_key_id)
    monkeypatch.setenv("LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY", lakefs.secret_access_key)
    assert open_lake(name).read("main", "a") == b"1"


def test_no_folder_for_locks_is_no_obstacle(lake: Lake, home: Path):
    home.mkdir(exist_ok=True)
    (home / "lakefs").write_text("a file where a folder should be")

    lake.commit("main", {"a": b"1"}, "One", expect=lake.resolve("main"))
    with pytest.raises(LakeNotFound):
        lake.read("main", "b")
