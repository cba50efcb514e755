"""`lakeline serve` and `lakeline predict`: a model's servers on this machine, and rows of a file to a server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from pipelines.commands.run import JSON

if TYPE_CHECKING:
    from types import FrameType

    from lakeline.data.servingspec import Serving
    from lakeline.serving.asking import Answered
    from lakeline.serving.local.site import LocalSite
    from lakeline.serving.release import Release

MODEL = Annotated[str, typer.Argument(help="Name of the model, which is that of its data set.", show_default=False)]

_PATIENCE = 2.0
"""Seconds after which a person is shown that something happens."""


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

    JSON (with --status, --stop or --detach): model, supervisor (process, or null), log, variants (production, and challenger in an A/B
    test: url, version, servers, started_anew, problem, route).
    """
    import json

    from lakeline.errors import UsageError
    from lakeline.serving.local.site import LocalSite
    from pipelines.show import Console

    if stop + status + detach > 1 or ((stop or status) and (version or port or workers)):
        raise UsageError("--stop and --status go alone; --detach goes with --version, --port and --workers.")
    console, site = Console(as_json), LocalSite(port, workers)
    if stop:
        site.stop(model)
    elif detach:
        with site.hold(model, _me()):
            _check_port(site, model, port)
            _roll_out(site, model, version)
    elif not status:
        _in_foreground(site, model, version, console)
        return
    found = site.status(model)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        _show(found, console)


def _in_foreground(site: LocalSite, model: str, version: int | None, console: Any) -> None:
    """Serve until somebody says to end; the servers end with this process, however it ends."""
    import contextlib
    import signal

    from lakeline.errors import ServingError

    release = _release(model, version)

    def end(number: int, frame: FrameType | None) -> NoReturn:
        console.say("Ending: requests under way are answered.")
        raise typer.Exit

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    with contextlib.ExitStack() as held:
        held.enter_context(site.hold(model, _me()))
        if any(variant["servers"] for variant in site.status(model)["variants"].values()):
            raise ServingError(
                f"{model} is served on this machine already. To look at it: lakeline serve {model} --status. To serve a version in place "
                f"of the one that it is: lakeline serve {model} --version N --detach. To end it: lakeline serve {model} --stop"
            )
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


def _check_port(site: LocalSite, model: str, port: int | None) -> None:
    from lakeline.errors import ServingError

    now = site.status(model)["variants"].get("production")
    if port and now and now["servers"] and now["url"] and not now["url"].endswith(f":{port}"):
        raise ServingError(f"{model} is served at {now['url']}, which stays while it is. End it first: lakeline serve {model} --stop")


def _release(model: str, version: int | None) -> Release:
    """A version as it can be served, pinned by the digest of its files."""
    import tempfile

    from lakeline.errors import UsageError
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
    return Release(model, number, digest, data_commit=tags.get("data_commit", ""), actor=_me())


def _serving(release: Release) -> Serving:
    from lakeline.serving.deployment import serving_of

    return serving_of(release)


def _me() -> str:
    from lakeline.lineage import person

    return f"lakeline serve of {person()}"


def _show(found: dict[str, Any], console: Any) -> None:
    from datetime import datetime

    if not found["variants"]:
        console.say(f"Nothing serves {found['model']} on this machine. Do: lakeline serve {found['model']}")
        return
    for name, variant in found["variants"].items():
        at = f" at {variant['url']}" if variant["url"] else ""
        console.say(f"{name}: version {variant['version'] or 'none'}{at}")
        for server in variant["servers"]:
            since = datetime.fromtimestamp(server["since"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
            console.say(f"  process {server['process']}: version {server['version']}, {server['role']}, since {since}")
        if not variant["servers"]:
            console.say("  no process runs")
        for line in _notes(variant):
            console.rich.print(f"  {line}", markup=False)
    if found["supervisor"] is None:
        console.say(f"No supervisor runs: nobody starts a server anew that ends. Do: lakeline serve {found['model']} --detach")
    console.say(f"log: {found['log']}")


def _notes(variant: dict[str, Any]) -> Iterator[str]:
    if variant["started_anew"]:
        yield f"servers that ended by themselves were started anew {variant['started_anew']} times."
    if variant["problem"]:
        yield variant["problem"]
    if variant["route"]:
        yield f"passes {variant['route']['weight']:.0%} of the requests on to {variant['route']['peer']}."


def predict(
    model: MODEL,
    file: Annotated[Path, typer.Argument(help="Rows: CSV with a header, Parquet, JSON, or JSON lines.", show_default=False)],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where they go (.csv, .parquet, .json); else stdout.")] = None,
    url: Annotated[str | None, typer.Option(help="Address of the server; else that of this model here.")] = None,
    as_json: JSON = False,
) -> None:
    """Have a server predict the rows of a file: one number for each, in their order.

    For example:

      lakeline predict NAME rows.parquet

      lakeline predict NAME rows.csv --output predictions.csv --url http://127.0.0.1:8080

    Columns that the model doesn't take stay here. The token, if the server wants one, is LAKELINE_SERVING_TOKEN.

    JSON: model, url, rows, versions (those that answered), predictions (unless they go to --output).
    """
    import json

    from lakeline.errors import UsageError
    from lakeline.serving.asking import predict as ask
    from lakeline.serving.site import authorization, open_site

    if output and output.suffix.lower() not in _WRITERS:
        raise UsageError(f"{output}: predictions are written to a file whose name ends with {', '.join(_WRITERS)}.")
    address = url.rstrip("/") if url else open_site().url(model)
    predictions: list[float] = []
    versions: set[str] = set()
    for answered in _shown(ask(address, authorization(), file)):
        predictions += answered.predictions
        versions |= {answered.version} if answered.version else set()
    if output:
        _WRITERS[output.suffix.lower()](output, predictions)
    told = {"model": model, "url": address, "rows": len(predictions), "versions": sorted(versions)}
    if as_json:
        typer.echo(json.dumps(told if output else told | {"predictions": predictions}))
    elif output:
        by = f" by version {', '.join(told['versions'])}" if versions else ""
        typer.echo(f"{len(predictions):,} predictions{by}: {output}")
    else:
        for value in predictions:
            typer.echo(repr(value))


def _shown(answers: Iterator[Answered]) -> Iterator[Answered]:
    """Show a person how far it is, if that takes longer than they like to wait."""
    import time

    from rich.console import Console
    from rich.status import Status

    console, began, rows = Console(stderr=True), time.monotonic(), 0
    shown = Status("", console=console)
    try:
        for answered in answers:
            rows += len(answered.predictions)
            if console.is_terminal and time.monotonic() - began > _PATIENCE:
                shown.update(f"{rows:,} rows predicted")
                shown.start()
            yield answered
    finally:
        shown.stop()


def _write_csv(path: Path, predictions: list[float]) -> None:
    path.write_text("prediction\n" + "".join(f"{value!r}\n" for value in predictions))


def _write_json(path: Path, predictions: list[float]) -> None:
    import json

    path.write_text(json.dumps({"predictions": predictions}) + "\n")


def _write_parquet(path: Path, predictions: list[float]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"prediction": pa.array(predictions, pa.float64())}), path)


_WRITERS = {".csv": _write_csv, ".json": _write_json, ".parquet": _write_parquet}
