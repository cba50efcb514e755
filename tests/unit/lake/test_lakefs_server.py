"""The private lakeFS server: started by the first who needs it, stopped by the last, and said clearly when there is none."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lakeline.errors import LakeUnavailable
from lakeline.lake import open_lake, server
from lakeline.settings import get_settings

_USER = """
import sys; from pathlib import Path; from lakeline.lake import server
print(server.connect(Path(sys.argv[1])).endpoint, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def private(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a private server that may be started; skip where there is no program."""
    if shutil.which("lakefs") is None:
        pytest.skip("there is no `lakefs` program on the PATH")
    monkeypatch.setenv("LAKELINE_LAKE", "lakefs")
    get_settings.cache_clear()
    return home / "lakefs"


@pytest.fixture
def without_program(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the only folder of the PATH, which is empty, on a machine where nothing can be downloaded."""
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("LAKELINE_LAKE", "lakefs")
    programs = home / "bin"
    programs.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(programs))
    get_settings.cache_clear()
    return programs


def runs(folder: Path) -> bool:
    return server._running(folder, server._keys(folder)) is not None


def start_user(folder: Path) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen([sys.executable, "-c", _USER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.mark.lakefs
def test_lake_is_there_again_after_the_server_was_stopped(private: Path):
    try:
        head = open_lake("things", create=True).commit("main", {"a": b"1"}, "One")
        assert runs(private)
        assert server.release(private)
        assert not runs(private)
        assert not server.release(private)

        again = open_lake("things")
        assert again.resolve("main") == head
        assert again.read("main", "a") == b"1"
    finally:
        server.release(private)


@pytest.mark.lakefs
def test_lake_of_a_server_that_stopped_is_out_of_reach(private: Path):
    lake = open_lake("things", create=True)
    server.release(private)

    with pytest.raises(LakeUnavailable, match=r"can't be reached"):
        lake.resolve("main")


@pytest.mark.lakefs
def test_keys_are_for_their_owner_only(private: Path):
    server.connect(private)
    server.release(private)

    assert (private / "keys.json").stat().st_mode & 0o777 == 0o600
    assert private.stat().st_mode & 0o777 == 0o700
    keys = server._keys(private)
    assert keys.secret_access_key not in (private / "server.log").read_text()


@pytest.mark.lakefs
def test_last_user_stops_the_server(private: Path):
    first, endpoint = start_user(private)
    second, same = start_user(private)
    assert endpoint == same

    first.communicate("")
    assert runs(private)
    second.communicate("")
    assert not runs(private)


@pytest.mark.lakefs
def test_server_of_a_killed_user_is_taken_over(private: Path):
    killed, endpoint = start_user(private)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert runs(private)

    assert server.connect(private).endpoint == endpoint
    assert server.release(private)
    assert not runs(private)


@pytest.mark.lakefs
def test_server_runs_while_a_command_serves(private: Path):
    with server.serving():
        user, _ = start_user(private)
        user.communicate("")
        assert runs(private)
    assert not runs(private)


def test_serving_starts_nothing_for_git_or_a_configured_lakefs(home: Path, monkeypatch: pytest.MonkeyPatch):
    with server.serving():
        assert not home.exists()
    monkeypatch.setenv("LAKELINE_LAKE", "lakefs")
    monkeypatch.setenv("LAKECTL_SERVER_ENDPOINT_URL", "http://lakefs.example.org")
    get_settings.cache_clear()
    with server.serving():
        assert not home.exists()


def test_no_lakefs_at_all_says_what_to_do(without_program: Path):
    with pytest.raises(LakeUnavailable, match=r"no `lakefs` program is on the PATH, and it can't be downloaded .*LAKELINE_LAKE=git"):
        open_lake("things")
    server.release(get_settings().home / "lakefs")


def test_program_that_finds_the_disk_full_is_no_reason_to_name_another_lakefs(without_program: Path):
    fake = without_program / "lakefs"
    fake.write_text("#!/bin/sh\necho 'level=fatal error=\"open metadata/LOCK: no space left on device\"' >&2\nexit 1\n")
    fake.chmod(0o755)

    with pytest.raises(OSError, match="No space left on device"):
        open_lake("things")
    server.release(get_settings().home / "lakefs")


def test_program_that_does_not_start_is_quoted(without_program: Path):
    fake = without_program / "lakefs"
    fake.write_text("#!/bin/sh\necho first >&2\necho 'FATAL: no such luck' >&2\nexit 3\n")
    fake.chmod(0o755)

    with pytest.raises(LakeUnavailable, match=r"doesn't start: FATAL: no such luck \(log: .*server\.log\)"):
        open_lake("things")
    server.release(get_settings().home / "lakefs")
