"""`lakeline serve`: a model's servers on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from pipelines.commands.run import JSON

if TYPE_CHECKING:
    from types import FrameType

    from lakeline.data.servingspec import Serving
    from lakeline.serving.local.site import LocalSite
    from lakeline.serving.release import Release

MODEL = Annotated[str, typer.Argument(help="Name of the model, which is that of its data set.", show_default=False)]


def serve(
    model: MODEL,
    version: Annotated[int | None, typer.Option(min=1, help="Version to serve; else the one with the alias production.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port, on this machine only; else as before, or 8080.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Server processes; else as many as before, or one.")] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Go on serving when this command has ended; in place of what serves.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End the servers of this model; requests under way are answered.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say what serves, and where.")] = False,
    as_json: JSON = False,
) -> None:
    """Serve a model on this machine, by the server that pods run too.

    For example:

      lakeline serve NAME                          until Ctrl-C

      lakeline serve NAME --version 3 --detach     from now on, in place of what serves; no request is dropped

      lakeline serve NAME --status

      lakeline serve NAME --stop

    With LAKELINE_SERVING_TOKEN set, callers must send it (Authorization: Bearer ...). Predictions are logged under LAKELINE_PREDICTIONS.
    Whoever swaps the version where these aren't set leaves them as they are; to have them no longer: --stop, and serve again.

    JSON (with --status, --stop or --detach): model, supervisor and foreground (process, or null), log, variants (production, and
    challenger in an A/B test: url, version, token (whether callers must send one), servers, started_anew, problem, route).
    """
    import json

    from lakeline.errors import UsageError
    from lakeline.serving.local.site import LocalSite
    from lakeline.serving.site import holder
    from pipelines.show import Console

    if stop + status + detach > 1 or ((stop or status) and (version or port or workers)):
        raise UsageError("--stop and --status go alone; --detach goes with --version, --port and --workers.")
    console, site = Console(as_json), LocalSite(port, workers)
    ended: list[str] = []
    if stop:
        ended = _servers(site.status(model))
        site.stop(model)
    elif detach:
        with site.hold(model, holder("", "lakeline serve")):
            _check_place(site, model, port)
            _announce(model, version)
            _roll_out(site, model, version)
    elif not status:
        _in_foreground(site, model, version, console)
        return
    found = site.status(model)
    if as_json:
        typer.echo(json.dumps(found))
    elif ended:
        console.say(f"Ended: {', '.join(ended)}.")
    else:
        _show(found, console)


def _in_foreground(site: LocalSite, model: str, version: int | None, console: Any) -> None:
    """Serve until somebody says to end; the servers end with this process, however it ends."""
    import contextlib
    import signal

    from lakeline.serving.site import holder

    def end(number: int, frame: FrameType | None) -> NoReturn:
        console.say("Ending: requests under way are answered.")
        raise typer.Exit

    with contextlib.ExitStack() as held:
        held.enter_context(site.hold(model, holder("", "lakeline serve")))
        _check_unserved(site, model)
        _announce(model, version)
        release = _release(model, version)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, end)
        with site.attend(model) as events:
            site.roll_out(release, _serving(release))
            held.close()
            console.say(f"{model} version {release.version} is served at {site.url(model)}. Ctrl-C ends it.")
            console.say(f"Its log: {site.status(model)['log']}")
            for event in events:
                console.rich.print(event["message"], markup=False)
    console.say("Somebody ended the servers.")


def _roll_out(site: LocalSite, model: str, version: int | None) -> None:
    """Have a version serve in place of what does, which does so again if it can't."""
    from dataclasses import replace

    from lakeline.errors import ServingError

    before = site.serving(model).get("production")
    release = replace(_release(model, version), route=before.route if before else None)
    try:
        site.roll_out(release, _serving(release))
    except ServingError:
        if before:
            site.roll_out(before, _serving(before))
        else:
            site.withdraw(model, "production")
        raise


def _check_unserved(site: LocalSite, model: str) -> None:
    from lakeline.errors import ServingError

    found = site.status(model)
    if found["foreground"]:
        where = f"in the foreground of process {found['foreground']}"
        raise ServingError(f"{model} is served on this machine already, {where}. To end it: Ctrl-C there, or lakeline serve {model} --stop")
    if _servers(found):
        raise ServingError(
            f"{model} is served on this machine already. To look at it: lakeline serve {model} --status. To serve a version in place "
            f"of the one that it is: lakeline serve {model} --version N --detach. To end it: lakeline serve {model} --stop"
        )


def _check_place(site: LocalSite, model: str, port: int | None) -> None:
    """Refuse what can't be promised: to outlive a command that all servers end with, and to move to another port."""
    from lakeline.errors import ServingError

    found = site.status(model)
    if found["foreground"]:
        raise ServingError(
            f"{model} is served in the foreground of process {found['foreground']}, and ends with it. End that one first (Ctrl-C, or "
            f"lakeline serve {model} --stop). To swap the version that it serves: lakeline promote {model} N --why ..."
        )
    now = found["variants"].get("production")
    if port and now and now["servers"] and now["url"] and not now["url"].endswith(f":{port}"):
        raise ServingError(f"{model} is served at {now['url']}, which stays while it is. End it first: lakeline serve {model} --stop")


def _announce(model: str, version: int | None) -> None:
    """Say at once what takes a while."""
    typer.echo(f"Starting {model} version {version} ..." if version else f"Starting {model}, the version in production ...", err=True)


def _release(model: str, version: int | None) -> Release:
    """A version as it can be served, pinned by the digest of its files."""
    import tempfile

    from lakeline.errors import UsageError
    from lakeline.lineage import person
    from lakeline.registry.deployed import standing, version_tags
    from lakeline.registry.files import DIGEST_TAG, fetch_version
    from lakeline.serving.release import Release

    number = version or standing(model).production
    if number is None:
        raise UsageError(
            f"{model}: no version has the alias production. See: lakeline models {model}. Say which: lakeline serve {model} --version N"
        )
    tags = version_tags(model, number)
    digest = tags.get(DIGEST_TAG)
    if digest is None:  # registered by something else than us
        with tempfile.TemporaryDirectory(prefix="lakeline-") as folder:
            digest = fetch_version(model, number, Path(folder))
    return Release(model, number, digest, data_commit=tags.get("data_commit", ""), actor=person())


def _serving(release: Release) -> Serving:
    from lakeline.serving.deployment import serving_of

    return serving_of(release)


def _servers(found: dict[str, Any]) -> list[str]:
    """Name the servers that there are."""
    servers = [server for variant in found["variants"].values() for server in variant["servers"]]
    return [f"version {server['version']} (process {server['process']})" for server in servers]


def _show(found: dict[str, Any], console: Any) -> None:
    from datetime import datetime

    if not found["variants"]:
        console.say(f"Nothing serves {found['model']} on this machine. Do: lakeline serve {found['model']}")
        return
    for name, variant in found["variants"].items():
        at = f" at {variant['url']}" if variant["url"] else ""
        who = "; callers must send the token" if variant["token"] else "; anybody on this machine may call"
        console.say(f"{name}: version {variant['version'] or 'none'}{at}{who if variant['servers'] else ''}")
        for server in variant["servers"]:
            since = datetime.fromtimestamp(server["since"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
            console.say(f"  process {server['process']}: version {server['version']}, {server['role']}, since {since}")
        if not variant["servers"]:
            console.say("  no process runs")
        for line in _notes(variant):
            console.rich.print(f"  {line}", markup=False)
    if found["supervisor"] is None:
        console.say(f"No supervisor runs: nobody starts a server anew that ends. Do: lakeline serve {found['model']} --detach")
    if found["foreground"]:
        console.say(f"It ends with process {found['foreground']}, in whose foreground it is served.")
    console.say(f"log: {found['log']}")


def _notes(variant: dict[str, Any]) -> Iterator[str]:
    if variant["started_anew"]:
        yield f"servers that ended by themselves were started anew {variant['started_anew']} times."
    if variant["problem"]:
        yield variant["problem"]
    if variant["route"]:
        yield f"passes {variant['route']['weight']:.0%} of the requests on to {variant['route']['peer']}."
