"""The supervisor as a process: found or started, one at a time, private, gone when there is nothing to do."""

import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lakeline.errors import ServingError, UsageError
from lakeline.serving.local import client, files, folder
from lakeline.serving.local.client import ask, connect, connect_or_start, environment_of_servers
from lakeline.serving.local.folder import PLACE, PREDICTIONS, TOKEN, ArmState, Folder, State
from lakeline.serving.local.processes import Identity, alive, identify, send, wait
from lakeline.serving.local.supervisor import Supervisor
from lakeline.serving.site import authorization
from lakeline.settings import get_settings
from tests.ferries import NAME, end_all

NOTHING = {"do": "withdraw", "variants": []}


@pytest.fixture
def here(home: Path) -> Iterator[Folder]:
    """Folder of a model; no process of its is left behind."""
    yield Folder(NAME)
    end_all(NAME)


def supervisor(here: Folder) -> Identity:
    """The one that there is."""
    process = here.read().supervisor
    assert process
    assert alive(process)
    return process


def test_many_who_need_a_supervisor_at_once_get_the_same(here: Folder):
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: ask(here, NOTHING, 30), range(16))) == [{}] * 16
    imports = "from lakeline.serving.local.client import ask; from lakeline.serving.local.folder import Folder"
    code = f"{imports}; print(ask(Folder({NAME!r}), {NOTHING!r}, 30))"
    others = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [other.communicate()[0] for other in others] == ["{}\n"] * 3

    process = supervisor(here)
    assert process.pid != os.getpid()
    assert os.getsid(process.pid) != os.getsid(0)
    assert stat.S_IMODE(here.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((here.path / "state.json").stat().st_mode) == 0o600
    if sys.platform == "linux":
        opened = {os.readlink(f"/proc/{process.pid}/fd/{name}") for name in os.listdir(f"/proc/{process.pid}/fd")}  # noqa: PTH115, PTH208
        files_of_ours = {path for path in opened if path.startswith("/") and not path.startswith(("/dev/", str(here.path)))}
        assert files_of_ours == set()
    assert wait(process, 15)  # there is nothing to do
    assert not Path(here.read().socket).exists()


def test_one_that_was_killed_is_followed_by_another(here: Folder):
    ask(here, NOTHING, 30)
    first = supervisor(here)
    send(first, signal.SIGKILL)
    assert wait(first, 10)
    assert Path(here.read().socket).exists()  # stale
    assert connect(here) is None

    ask(here, NOTHING, 30)

    assert supervisor(here) != first


def test_one_that_is_killed_while_it_is_asked_is_followed_by_one_that_answers(here: Folder):
    with connect_or_start(here) as line:
        first = supervisor(here)
        threading.Timer(0.3, send, (first, signal.SIGKILL)).start()
        assert line.receive(10) is None
    assert ask(here, NOTHING, 30) == {}


def test_home_with_a_long_name_is_no_obstacle(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAKELINE_HOME", str(home / ("long" * 40)))
    get_settings.cache_clear()
    try:
        assert ask(Folder(NAME), NOTHING, 30) == {}
        path = Path(Folder(NAME).read().socket)
        assert len(str(path)) < 100
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    finally:
        end_all(NAME)
    assert not path.parent.exists()


def test_one_that_does_not_start_is_told_of(here: Folder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(client, "MODULE", "no.such.module")
    monkeypatch.setattr(client, "_START", 0.5)

    with pytest.raises(ServingError, match=rf"ferries: no supervisor .* none starts\. Its log: {here.log}"):
        ask(here, NOTHING, 30)
    assert "No module named" in here.log.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_disk_that_is_full_is_named_and_room_is_all_that_is_needed_then(here: Folder):
    here.make()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", here.path], check=True)
    try:
        here.make()
        filler = here.path / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(b"x" * 2**20)

        with pytest.raises(ServingError, match=r"ferries: .* can't be written: No space left on device\. LAKELINE_HOME must be a folder"):
            ask(here, NOTHING, 30)

        filler.unlink()
        assert ask(here, NOTHING, 30) == {}
        filler.write_bytes(b"")
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(b"x" * 2**20)
        with pytest.raises(ServingError, match="No space left"):
            ask(here, {"do": "roll_out", "plan": {}, "settings": {}, "port": 0}, 30)
        supervisor(here)  # which goes on
        filler.unlink()
        end_all(NAME)
    finally:
        subprocess.run(["umount", "--lazy", here.path], check=True)


def test_state_that_nobody_can_read_is_told_from_none(here: Folder, home: Path):
    assert here.read() == State()
    here.make()
    state = here.path / "state.json"
    for text in ("", "{", "[]", '{"arms": 3}'):
        state.write_text(text)
        with pytest.raises(ServingError, match=f"{state} is damaged.*what serves ferries isn't known"):
            here.read()
    state.unlink()
    (home / "file").touch()
    here.path = home / "file"
    with pytest.raises(ServingError, match=r"can't be read: Not a directory\. LAKELINE_HOME"):
        here.read()
    here.path = state.parent


def test_servers_keep_their_place_whoever_swaps_them(here: Folder, home: Path, monkeypatch: pytest.MonkeyPatch):
    assert Supervisor(here.make())._environment({}) == {PREDICTIONS: str(home / "predictions")}
    here.write(State(arms={"production": ArmState(place={TOKEN: "sesame", PREDICTIONS: "s3://log"}), "challenger": ArmState()}))
    later = Supervisor(here)

    assert later._environment({"A": "b"}) == {"A": "b", TOKEN: "sesame", PREDICTIONS: "s3://log"}
    assert later._environment({TOKEN: "another"}) == {TOKEN: "another", PREDICTIONS: "s3://log"}
    assert authorization(NAME) == {"Authorization": "Bearer sesame"}
    assert authorization() == {}
    monkeypatch.setenv("LAKELINE_SERVING_TOKEN", "another")
    get_settings.cache_clear()
    assert authorization(NAME) == {"Authorization": "Bearer another"}


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden"])
def test_model_without_a_name_for_a_folder_is_refused(name: str):
    with pytest.raises(UsageError, match="is no name of a model"):
        Folder(name)


def test_name_of_a_model_leads_nowhere_else(home: Path):
    assert Folder("a/../../b c").path.parent == home.resolve() / "serving"


def test_servers_are_told_nothing_that_is_not_theirs(home: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("MLFLOW_TRACKING_PASSWORD", "LAKELINE_RUN_ID", "LAKELINE_SERVE_VERSION", "TMPDIR", "_KFP_RUNTIME", "KF_PIPELINES_TOKEN"):
        monkeypatch.setenv(name, "no")
    for name in ("AWS_ENDPOINT_URL", "LAKELINE_SERVE_MAX_ROWS"):
        monkeypatch.setenv(name, "yes")
    monkeypatch.setenv("LAKELINE_SERVING_TOKEN", "yes")
    monkeypatch.setenv("LAKELINE_PREDICTIONS", "log")
    get_settings.cache_clear()

    told = environment_of_servers()

    assert "no" not in told.values()
    assert [told[name] for name in ("AWS_ENDPOINT_URL", "LAKELINE_SERVE_MAX_ROWS", "LAKELINE_SERVE_TOKEN")] == ["yes"] * 3
    assert told["LAKELINE_SERVE_PREDICTIONS"] == str(Path("log").resolve())  # wherever a server is started
    assert told["PATH"] == os.environ["PATH"]

    monkeypatch.delenv("LAKELINE_SERVING_TOKEN")
    monkeypatch.delenv("LAKELINE_PREDICTIONS")
    get_settings.cache_clear()
    assert not PLACE & environment_of_servers().keys()  # that is for the supervisor to know


def test_files_are_kept_of_what_is_used_and_of_the_last_few(here: Folder):
    here.make()
    for number in range(8):
        (here.versions / f"{number}").mkdir()
        os.utime(here.versions / f"{number}", (number, number))

    files.trim(here, [str(here.versions / "0")])

    assert sorted(path.name for path in here.versions.iterdir()) == ["0", "4", "5", "6", "7"]


def test_log_that_is_long_is_set_aside_under_its_writers(here: Folder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(folder, "LOG_BYTES", 1000)
    here.make()
    writer = here.open_log()
    try:
        os.write(writer, b"x" * 1001 + b"\n")
        here.trim_log()
        os.write(writer, b"y\n")
    finally:
        os.close(writer)

    here.trim_log()

    assert here.log.read_text() == "y\n"
    assert (here.path / "log.1").stat().st_size == 1002


def test_identity_is_of_one_process():
    assert identify(os.getpid()) == identify(os.getpid())
    assert identify(os.getpid()) != identify(os.getppid())
