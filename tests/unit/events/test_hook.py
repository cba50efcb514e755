"""The webhook in a real lakeFS, and what is sent and sent again, to a real receiver."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from lakeline.data.specfile import push
from lakeline.errors import EventsError, UsageError
from lakeline.events import Merge, fate, hook, parse, unseen
from lakeline.events.deliveries import HOOK_PATH
from lakeline.lake import CommitId, Lake, open_lake, server
from lakeline.settings import get_settings
from pipelines import events
from pipelines.cli import app
from tests.kubeflow import Kubeflow
from tests.unit.events.conftest import deliver, new_lake
from tests.unit.events.receiver import TOKEN, Receiver


def command(*words: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, list(words))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, json.loads(done.stdout)


@pytest.mark.lakefs
def test_merge_in_lakefs_starts_one_run(lakefs_with_hooks: server.Server, receiver: Receiver, pipelines_server: Kubeflow):
    assert lakefs_with_hooks.endpoint
    lake = new_lake()
    installed, changed = hook.install(lake.name)
    assert changed
    assert hook.install(lake.name) == (installed, False)
    commit = deliver(lake, "2013-01")

    bodies = receiver.wait(2)

    told, delivered = (parse(Merge, body) for body in bodies)
    assert [path for path, _ in receiver.taken] == ["/merge", "/merge"]
    assert (told.commit_id, delivered.commit_id) == (installed, commit)
    assert [events.on_merge(body).outcome for body in (*bodies, bodies[1])] == ["no delivery", "started", "claimed"]
    assert len(pipelines_server.runs) == 1


@pytest.mark.lakefs
def test_commit_straight_on_main_is_told_too(lakefs_with_hooks: server.Server, receiver: Receiver):
    from lakefs import Repository
    from lakefs.client import Client

    lake = new_lake()
    hook.install(lake.name)
    keys = {"username": lakefs_with_hooks.access_key_id, "password": lakefs_with_hooks.secret_access_key}
    main = Repository(lake.name, client=Client(host=lakefs_with_hooks.endpoint, **keys)).branch("main")
    main.object("clean/2013-01.parquet").upload(b"rows")
    main.commit("By hand, in the browser")

    event = parse(Merge, receiver.wait(2)[-1])

    assert event.event_type == "post-commit"
    assert fate(lake, event.commit_id) == "unseen"


@pytest.mark.lakefs
def test_lost_event_is_found(lakefs_with_hooks: server.Server, receiver: Receiver, pipelines_server: Kubeflow):
    assert lakefs_with_hooks.endpoint
    lake = new_lake()
    hook.install(lake.name)
    receiver.shutdown()
    receiver.server_close()  # nobody listens any more; the merge stands all the same

    commit = deliver(lake, "2013-01")

    assert [(one.commit, one.outcome) for one in events.catch_up(7, 0)] == [(commit, "started")]
    assert len(pipelines_server.runs) == 1


@pytest.mark.lakefs
def test_new_data_set_has_the_webhook_from_its_first_commit(lakefs: server.Server, receiver: Receiver):
    assert lakefs.endpoint
    commit, _ = push("bike-sharing")
    lake = open_lake("bike-sharing")

    assert f"url: {receiver.url}/merge" in lake.read(commit, HOOK_PATH).decode()
    assert hook.install("bike-sharing") == (commit, False)


@pytest.mark.lakefs
def test_address_that_has_changed_is_written_anew(lakefs: server.Server, receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    assert lakefs.endpoint
    assert receiver.url
    lake = new_lake()
    first, _ = hook.install(lake.name)
    monkeypatch.setenv("LAKELINE_EVENTS_URL", "http://elsewhere:12000/")
    get_settings.cache_clear()

    second, changed = hook.install(lake.name)

    assert changed
    assert lake.log("main", 1)[0].parents == (first,)
    assert "url: http://elsewhere:12000/merge" in lake.read(second, HOOK_PATH).decode()
    monkeypatch.setenv("LAKELINE_HOOK_URL", "http://as-lakefs-reaches-it:12000")
    get_settings.cache_clear()
    third, _ = hook.install(lake.name)
    assert "url: http://as-lakefs-reaches-it:12000/merge" in lake.read(third, HOOK_PATH).decode()


def test_git_tells_nobody(on_git: Lake, receiver: Receiver):
    assert receiver.url
    with pytest.raises(UsageError, match=r"tells nobody of a merge.*lakeline watch"):
        hook.install(on_git.name)
    assert not on_git.exists("main", HOOK_PATH)


def test_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAKELINE_EVENTS_URL", 'http://x"\n- evil: 1')
    get_settings.cache_clear()
    with pytest.raises(UsageError, match="LAKELINE_EVENTS_URL is"):
        get_settings()


def test_last_delivery_is_sent_again(on_git: Lake, receiver: Receiver):
    deliver(on_git, "2013-01")
    last = deliver(on_git, "2013-02")
    on_git.commit("main", {"note": b"1"}, "No delivery")

    code, said = command("event", "replay", on_git.name)

    ((path, body),) = receiver.taken
    assert (code, said["status"], said["answer"], said["commit"]) == (0, 200, "success", last)
    assert (path, parse(Merge, body).commit_id) == ("/merge", last)
    assert TOKEN not in json.dumps(said)
    assert [each.commit.id for each in unseen(on_git, 7)][-1] == last


def test_refusal_of_the_event_source_is_said(on_git: Lake, receiver: Receiver, monkeypatch: pytest.MonkeyPatch):
    deliver(on_git, "2013-01")
    monkeypatch.setenv("LAKELINE_EVENTS_TOKEN", "forged")
    get_settings.cache_clear()

    code, said = command("event", "replay", on_git.name)

    assert (code, said["status"], said["answer"]) == (1, 401, "Invalid Auth token")
    assert (receiver.taken, receiver.refused) == ([], 1)


@pytest.mark.parametrize(
    ("variable", "value", "kind", "said"),
    [
        ("LAKELINE_EVENTS_URL", None, UsageError, "where do events go"),
        ("LAKELINE_EVENTS_TOKEN", None, UsageError, "with which token"),
        ("LAKELINE_EVENTS_URL", "http://127.0.0.1:1", EventsError, "out of reach"),
    ],
)
def test_event_that_can_not_be_sent_is_explained(
    on_git: Lake, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, variable: str, value: str | None, kind: type[Exception], said: str
):
    deliver(on_git, "2013-01")
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    get_settings.cache_clear()

    with pytest.raises(kind, match=said):
        command("event", "replay", on_git.name)
    assert receiver.taken == []


def test_data_set_without_a_delivery_has_nothing_to_repeat(on_git: Lake, receiver: Receiver):
    assert receiver.url
    with pytest.raises(UsageError, match="nothing was delivered yet"):
        command("event", "replay", on_git.name)


def test_event_that_we_say_is_one_that_lakefs_could(on_git: Lake):
    commit: CommitId = deliver(on_git, "2013-01")

    event = parse(Merge, json.dumps(hook.event(on_git, on_git.log(commit, 1)[0])))

    assert (event.repository_id, event.commit_id, event.commit_metadata["arrivals"]) == (on_git.name, commit, "2013-01")
