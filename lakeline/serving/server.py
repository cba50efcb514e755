"""The server process: loads one version, answers, and ends without dropping a request. `python -m lakeline.serving.server`."""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import socket
import sys
from typing import TYPE_CHECKING

from lakeline.errors import RolloutFailed, ServingError, describe, explain_uncaught
from lakeline.serving.environment import server_settings
from lakeline.serving.logs import Journal

if TYPE_CHECKING:
    from lakeline.serving.environment import ServerSettings
    from lakeline.serving.model import ServedModel


def main() -> None:
    """Serve what the environment says, until told to end."""
    gc.disable()  # while it starts, all that is made stays: looking through it is a tenth of the time
    parser = argparse.ArgumentParser(
        prog="python -m lakeline.serving.server", description="Serve one version of a model, as LAKELINE_SERVE_* say."
    )
    parser.add_argument("--fd", type=int, help="listening socket that is inherited, in place of LAKELINE_SERVE_HOST and _PORT")
    parser.add_argument("--report-fd", type=int, help="pipe to say on, in one line of JSON, that it serves, or why it can't")
    parser.add_argument("--alone", action="store_true", help="no server but this one's siblings accepts on the socket that is inherited")
    options = parser.parse_args()
    explain_uncaught()
    try:
        settings = server_settings()
        alone = options.alone or options.fd is None
        if settings.workers > 1:
            from lakeline.serving.workers import run_workers

            run_workers(settings, _listen(settings, options.fd), lambda: report(options.report_fd, settings), alone=alone)
        else:
            run(settings, _listen(settings, options.fd), options.report_fd, alone=alone, shared=options.fd is not None)
    except BaseException as error:
        report(options.report_fd, error=error)
        raise


def run(settings: ServerSettings, listening: socket.socket, report_fd: int | None, *, alone: bool, shared: bool) -> None:
    """Serve in this process.

    Parameters
    ----------
    settings
        What to serve.
    listening
        Where callers come in.
    report_fd
        Where it is said that it serves.
    alone, shared
        As `DrainingServer` has them.

    Raises
    ------
    RolloutFailed
        If the version isn't what it should be (VersionFailed), or its place isn't: then nothing was answered.
    """
    # One thread a server: requests, not one request, are what runs side by side; and numbers then add up in one order.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    journal = Journal(model=settings.model, version=settings.version, variant=settings.variant, pid=os.getpid())
    journal.adopt_all()
    token = settings.secret(listening.getsockname()[0])
    model = load(settings)
    from lakeline.serving.app import Application
    from lakeline.serving.draining import DrainingServer

    # What was loaded stays: each search for garbage would look through all of it, in the middle of requests.
    gc.collect()
    gc.freeze()
    gc.enable()
    # What a model imports only when it predicts must not change its folder, whose digest is checked at the next start.
    sys.dont_write_bytecode = True
    journal.adopt("uvicorn", "uvicorn.error", "asyncio", "mlflow")
    app = Application(settings, token, model, journal)
    DrainingServer(app, settings, journal, lambda: report(report_fd, settings), alone=alone, shared=shared).run_until_told(listening)


def load(settings: ServerSettings) -> ServedModel:
    """Load the version, and see that it is the one that was released and predicts what it did.

    Raises
    ------
    VersionFailed
        If it doesn't.
    RolloutFailed
        If its files are not there, or not those that were released: in the registry they may be.
    """
    from lakeline.registry.files import files_digest

    name = f"{settings.model} version {settings.version}"
    if not settings.folder.is_dir():
        raise RolloutFailed(f"{name}: there is no folder {settings.folder}. Its files must be fetched before it is served.")
    digest = files_digest(settings.folder)
    if digest != settings.digest:
        raise RolloutFailed(
            f"{name}: the files in {settings.folder} have the digest {digest[:12]}, not {settings.digest[:12]} as when it was released. "
            "Remove the folder, so that they are fetched again."
        )
    from lakeline.serving.model import load as load_model

    try:
        return load_model(settings.folder)
    except RolloutFailed as error:
        raise type(error)(f"{name}: {error}") from error


def report(report_fd: int | None, settings: ServerSettings | None = None, error: BaseException | None = None) -> None:
    """Say on the pipe, once, that this process serves, or why it doesn't."""
    if report_fd is None:
        return
    if error is None and settings is not None:
        said: dict[str, object] = {"ready": True, "pid": os.getpid(), "version": settings.version}
    else:
        said = {"ready": False, "error": describe(error) if error else "", "kind": type(error).__name__}
    with contextlib.suppress(OSError):  # closed: it was said before, or nobody listens any more
        os.write(report_fd, json.dumps(said).encode() + b"\n")
        os.close(report_fd)


def _listen(settings: ServerSettings, fd: int | None) -> socket.socket:
    if fd is not None:
        try:
            inherited = socket.socket(fileno=fd)
            inherited.getsockname()
        except OSError as error:
            raise ServingError(f"--fd {fd} is no listening socket: {error.strerror}") from error
        return inherited
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((settings.host, settings.port))
    except OSError as error:
        made.close()
        raise ServingError(f"can't listen to {settings.host} port {settings.port}: {error.strerror}. Choose another port.") from error
    return made


if __name__ == "__main__":
    main()
