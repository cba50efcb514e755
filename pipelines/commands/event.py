"""`lakeline event`: what the cluster does about events, and ways to see and repeat them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""React to events: commits on main, new files at the source (docs/EVENTS.md).

    What comes out is JSON, with --json and without. Exit codes: 0 done, or nothing to do; 1 failed, so that another try makes sense;
    2 malformed, so that none does.
    """,
)

EVENT = Annotated[str, typer.Argument(metavar="JSON", help="The event's body.", show_default=False)]
DATASET = Annotated[str | None, typer.Argument(help="Name of the data set.", show_default="the one that datasets/DEFAULT names")]
JSON = Annotated[bool, typer.Option("--json", help="As without: one JSON object on stdout, a line each if there are several.")]


@app.command()
def merge(event: EVENT, as_json: JSON = False) -> None:
    """React to a commit on main of a data set: start the training run of a delivery, once.

    EVENT is what lakeFS' webhook says.

    JSON: event, dataset, commit, outcome (started, claimed, trained, trained by its own run, no delivery), run, run_id, message.
    """
    from pipelines.events import on_merge

    _print(on_merge(event).to_dict())


@app.command()
def arrival(event: EVENT, as_json: JSON = False) -> None:
    """React to new files at the source: start the data run that brings them into the lake.

    For example:

      lakeline event arrival '{"dataset": "DATASET", "arrivals": ["next"]}'

    JSON: as `merge`; outcome started, or "under way".
    """
    from pipelines.events import on_arrival

    _print(on_arrival(event).to_dict())


@app.command()
def alias(event: EVENT, as_json: JSON = False) -> None:
    """React to a move of the alias production: start the deployment of the version that it was moved to, once.

    EVENT is what the gate passes on, for example:

      lakeline event alias '{"delivery": "0f0f…", "model": "NAME", "alias": "production", "version": "3"}'

    While another deployment is under way, its end is waited for.

    JSON: as `merge`; outcome started, claimed, "under way", deployed, or superseded if the alias has moved on.
    """
    from pipelines.deployments import on_alias

    _print(on_alias(event).to_dict())


@app.command("catch-up")
def catch_up(
    days: Annotated[float, typer.Option(min=0, help="How old deliveries may be.")] = 7,
    wait: Annotated[float, typer.Option(min=0, help="Seconds that a claimed run has to appear before it counts as lost.")] = 60,
    as_json: JSON = False,
) -> None:
    """Start the runs whose event was lost, or that were claimed and never started: of deliveries, and of moves of the alias production.

    Deliveries from before `lakeline lake init` are left alone, and so is a version whose deployment was tried three times.
    One JSON object a line for each that had no run: as `merge`. Exit code 1 if one of them, or a data set, can't be dealt with now.
    """
    from itertools import chain

    from pipelines import deployments, events

    failed = False
    for reaction in chain(events.catch_up(days, wait), deployments.catch_up(wait)):
        _print(reaction.to_dict())
        failed |= reaction.outcome == "failed"
    raise typer.Exit(1 if failed else 0)


@app.command()
def gate() -> None:
    """Serve the gate that takes MLflow's webhooks, and passes on what MLflow has signed to the event source.

    LAKELINE_GATE_SECRET is the webhook's secret, LAKELINE_GATE_PREVIOUS the one before, LAKELINE_GATE_HOST and LAKELINE_GATE_PORT where
    it listens (127.0.0.1, 8080); LAKELINE_EVENTS_URL and LAKELINE_EVENTS_TOKEN lead to the event source. SIGTERM ends it.
    """
    from lakeline.events.gate import serve

    serve()


@app.command()
def replay(dataset: DATASET = None, as_json: JSON = False) -> None:
    """Send the event of a data set's last delivery again, as lakeFS does: to LAKELINE_EVENTS_URL, with LAKELINE_EVENTS_TOKEN.

    JSON: dataset, commit, url, status and answer of the event source, event. Exit code 1 if it doesn't take it.
    """
    from lakeline.errors import UsageError
    from lakeline.events import deliveries, hook
    from lakeline.lake import open_lake
    from pipelines.commands.run import default_dataset

    lake = open_lake(dataset or default_dataset())
    commit = next(deliveries(lake), None)
    if commit is None:
        raise UsageError(f"{lake.name}: nothing was delivered yet. Bring arrivals in: lakeline run data --dataset {lake.name}")
    event = hook.event(lake, commit)
    url, status, answer = hook.send(event)
    _print({"dataset": lake.name, "commit": commit.id, "url": url, "status": status, "answer": answer, "event": event})
    if not 200 <= status < 300:  # noqa: PLR2004
        raise typer.Exit(1)


@app.command()
def status(dataset: DATASET = None, as_json: JSON = False) -> None:
    """Count deliveries by what has become of them, as the lake says it: of one data set, or of all.

    JSON: datasets (dataset, deliveries, outcomes: how many are trained, trained by their own run, claimed or unseen; last).
    """
    from lakeline.lake import list_lakes
    from pipelines.events import standing

    _print({"datasets": [standing(name) for name in ([dataset] if dataset else list_lakes())]})


def _print(content: Any) -> None:
    import json

    typer.echo(json.dumps(content, default=dict))
