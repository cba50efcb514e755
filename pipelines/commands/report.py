"""`lakeline report` and `lakeline ui`: look at what runs left."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipelines.commands.run import JSON


def report(
    run: Annotated[str | None, typer.Argument(help="Id of a run, or the start of one; by default the latest.", show_default=False)] = None,
    every: Annotated[bool, typer.Option("--list", "-l", help="List the runs on this machine, latest first.")] = False,
    opened: Annotated[bool, typer.Option("--open/--no-open", help="Open it in a browser, if there is one here.")] = True,
    as_json: JSON = False,
) -> None:
    """Open the report of a run, and print its path.

    --json prints run_id, pipeline, dataset, status, started (seconds since 1970), report and record (paths);
    with --list, an object whose `runs` are such objects. What isn't known is null. Nothing is opened then.
    """
    import json
    import sys

    from pipelines.reports import find, open_page, runs

    if every:
        found = runs()
        if as_json:
            typer.echo(json.dumps({"runs": found}))
        else:
            _show(found)
        return
    this = find(run)
    typer.echo(json.dumps(this) if as_json else this["report"])
    if opened and not as_json and sys.stdout.isatty():
        open_page(this["report"])


def ui(
    port: Annotated[
        int | None, typer.Option("--port", "-p", min=1, max=65535, help="Port; by default 5000 or the next free one.", show_default=False)
    ] = None,
    opened: Annotated[bool, typer.Option("--open/--no-open", help="Open it in a browser, if there is one here.")] = True,
) -> None:
    """Start MLflow's user interface on this machine: experiments, runs, models. Ctrl-C ends it.

    It listens on 127.0.0.1 only. What it says goes to mlflow-ui.log in LAKELINE_HOME.
    """
    import sys

    from pipelines.reports import open_page
    from pipelines.tracking import serve

    def ready(url: str) -> None:
        typer.echo(url)
        typer.echo("Ctrl-C ends it.", err=True)
        if opened and sys.stdout.isatty():
            open_page(url)

    typer.echo("Starting MLflow's user interface ...", err=True)
    serve(port, ready)


def _show(found: list[dict[str, Any]]) -> None:
    import time

    from rich.table import Table

    from pipelines.show import Console

    console = Console()
    if not found:
        console.say("No run yet. The first one: lakeline demo, or lakeline run --help.")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("run", "data set", "when", "status", "report"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "run")
    for each in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(each["started"]))
        table.add_row(each["run_id"], each["dataset"] or "–", when, each["status"] or "–", "yes" if each["report"] else "–")
    console.rich.print(table)
