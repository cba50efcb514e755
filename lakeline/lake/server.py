"""A private lakeFS server on this machine, for those who have none: started when needed, stopped by the last who uses it."""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path

from lakeline.errors import LakeUnavailable
from lakeline.lake.lock import locked

_READY = 60.0
_STOPPED = 10.0
_POLL = 0.05
_MIB = 2**20
_CONFIGURE = "Name one (LAKECTL_SERVER_ENDPOINT_URL or LAKEFS_ENDPOINT, or ~/.lakectl.yaml), or use the git store: LAKELINE_LAKE=git"


@dataclass(frozen=True)
class Keys:
    """What the private server was set up with; kept for as long as its data."""

    access_key_id: str
    secret_access_key: str
    encryption: str
    token: str


@dataclass(frozen=True)
class Server:
    """A running lakeFS and how to speak to it."""

    endpoint: str
    access_key_id: str
    secret_access_key: str


_leases: dict[Path, int] = {}
_started: dict[Path, subprocess.Popen[bytes]] = {}


def configured() -> dict[str, str] | None:
    """Return how the lakeFS client is to be called for the lakeFS that the environment names.

    Returns
    -------
    dict or None
        Arguments of `lakefs.Client`; empty where the client finds its own (LAKECTL_* variables, ~/.lakectl.yaml);
        None if no lakeFS is named.

    Raises
    ------
    LakeUnavailable
        LAKEFS_ENDPOINT is set without its keys.
    """
    if os.environ.get("LAKECTL_SERVER_ENDPOINT_URL"):
        return {}
    if endpoint := os.environ.get("LAKEFS_ENDPOINT"):
        keys = {"username": "LAKEFS_ACCESS_KEY_ID", "password": "LAKEFS_SECRET_ACCESS_KEY"}
        missing = [name for name in keys.values() if not os.environ.get(name)]
        if missing:
            raise LakeUnavailable(f"LAKEFS_ENDPOINT is set ({endpoint}), but not {' and '.join(missing)}. Set it too.")
        return {"host": endpoint, **{argument: os.environ[name] for argument, name in keys.items()}}
    file = Path(os.environ.get("LAKECTL_CONFIG_FILE") or Path.home() / ".lakectl.yaml")
    return {} if file.is_file() else None


@contextlib.contextmanager
def serving() -> Generator[None]:
    """Keep the private server running during a block, if the settings mean it; for a command whose steps are processes of their own."""
    from lakeline.settings import get_settings

    settings = get_settings()
    if settings.lake != "lakefs" or configured() is not None:
        yield
        return
    folder = settings.home / "lakefs"
    connect(folder)
    try:
        yield
    finally:
        release(folder)


def connect(folder: Path) -> Server:
    """Return the private server of a folder, which runs at least until this process ends or calls `release`.

    Every process that uses the server holds a shared lock on a file; whoever gets the exclusive one at its end was the last.
    The kernel drops the locks of a process that is killed.

    Parameters
    ----------
    folder
        Where the server keeps its data, keys and log.

    Raises
    ------
    LakeUnavailable
        There is no `lakefs` program and none can be downloaded, or it doesn't start.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder not in _leases:
        lease = os.open(folder / "users.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lease, fcntl.LOCK_SH)
        _leases[folder] = lease
        atexit.register(release, folder)
    with locked(folder / "start.lock", "the private lakeFS server", _READY):
        keys = _keys(folder)
        port = _running(folder, keys) or _start(folder, keys)
    return Server(f"http://127.0.0.1:{port}", keys.access_key_id, keys.secret_access_key)


def release(folder: Path) -> bool:
    """Use the private server no more, and stop it if nobody else does.

    Returns
    -------
    bool
        Whether it was stopped.
    """
    folder = folder.absolute()
    lease = _leases.pop(folder, None)
    if lease is None:
        return False
    os.close(lease)
    with contextlib.suppress(OSError):
        alone = os.open(folder / "users.lock", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _stop(folder)
        finally:
            os.close(alone)
    return False


def program() -> str:
    """Return the `lakefs` program: on the PATH, or the one that the official `lakefs` package has or downloads.

    Raises
    ------
    LakeUnavailable
        There is none to be had.
    """
    if found := shutil.which("lakefs"):
        return found
    default = socket.getdefaulttimeout()
    try:
        from lakefs.__main__ import find_or_download_binary

        socket.setdefaulttimeout(_READY)  # the package waits for ever on a network that swallows packets
        with contextlib.redirect_stdout(sys.stderr):
            return find_or_download_binary("lakefs")
    except (ImportError, RuntimeError, ValueError, OSError) as error:
        raise LakeUnavailable(
            "there is no lakeFS: none is configured, no `lakefs` program is on the PATH, "
            f"and it can't be downloaded ({error}). {_CONFIGURE}"
        ) from error
    finally:
        socket.setdefaulttimeout(default)


def _keys(folder: Path) -> Keys:
    file = folder / "keys.json"
    if not file.exists():
        keys = Keys(*(secrets.token_hex(size) for size in (10, 20, 16, 8)))
        draft = file.with_suffix(".new")
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
            json.dump(asdict(keys), out)
        draft.rename(file)
    return Keys(**json.loads(file.read_text(encoding="utf-8")))


def _start(folder: Path, keys: Keys) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LAKEFS_", "LAKECTL_"))}
    environment |= {
        "LAKEFS_DATABASE_TYPE": "local",
        "LAKEFS_DATABASE_LOCAL_PATH": str(folder / "metadata"),
        "LAKEFS_BLOCKSTORE_TYPE": "local",
        "LAKEFS_BLOCKSTORE_LOCAL_PATH": str(folder / "objects"),
        "LAKEFS_COMMITTED_LOCAL_CACHE_DIR": str(folder / "cache"),
        "LAKEFS_AUTH_ENCRYPT_SECRET_KEY": keys.encryption,
        "LAKEFS_INSTALLATION_USER_NAME": "lakeline",
        "LAKEFS_INSTALLATION_ACCESS_KEY_ID": keys.access_key_id,
        "LAKEFS_INSTALLATION_SECRET_ACCESS_KEY": keys.secret_access_key,
        "LAKEFS_INSTALLATION_FIXED_ID": keys.token,  # its health check answers with it: proof that it is this one
        "LAKEFS_LISTEN_ADDRESS": f"127.0.0.1:{port}",
        "LAKEFS_STATS_ENABLED": "false",
        "LAKEFS_SECURITY_CHECK_LATEST_VERSION": "false",
        "LAKEFS_SECURITY_AUDIT_CHECK_URL": "off",
    }
    config = folder / "config.yaml"
    config.write_text("{}\n", encoding="utf-8")  # or it would read config.yaml of the folder it is started in
    log = folder / "server.log"
    with log.open("wb") as out:
        command = [program(), "--config", str(config), "run"]
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )
    _started[folder] = process
    (folder / "server.json").write_text(json.dumps({"pid": process.pid, "port": port}), encoding="utf-8")
    deadline = time.monotonic() + _READY
    while time.monotonic() < deadline and process.poll() is None:
        if _healthy(port, keys):
            return port
        time.sleep(_POLL)
    process.kill()
    process.wait()
    last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2][-300:]
    if "no space left on device" in last.lower() or shutil.disk_usage(folder).free < _MIB:  # then not even the log is whole
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    raise LakeUnavailable(f"the private lakeFS server doesn't start: {last or 'it says nothing'} (log: {log}). {_CONFIGURE}")


def _running(folder: Path, keys: Keys) -> int | None:
    try:
        port = int(json.loads((folder / "server.json").read_text(encoding="utf-8"))["port"])
    except (OSError, ValueError, KeyError):
        return None
    return port if _healthy(port, keys) else None


def _healthy(port: int, keys: Keys) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/_health")
        answer = connection.getresponse()
        return answer.status == http.client.OK and keys.token in answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _alive(folder: Path, pid: int) -> bool:
    process = _started.get(folder)
    if process is not None and process.pid == pid:
        return process.poll() is None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _stop(folder: Path) -> bool:
    keys = _keys(folder)
    port = _running(folder, keys)
    if port is None:
        return False
    noted = json.loads((folder / "server.json").read_text(encoding="utf-8"))
    pid = int(noted["pid"])  # it answers with our token: the pid isn't somebody else's
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOPPED
    while time.monotonic() < deadline and _alive(folder, pid):
        time.sleep(_POLL)
    if _alive(folder, pid):
        os.kill(pid, signal.SIGKILL)
    (folder / "server.json").unlink(missing_ok=True)
    return True
