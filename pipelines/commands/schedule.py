"""`lakeline schedule`: pipelines that run again and again on a Kubeflow Pipelines server."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer

from pipelines.commands.run import ARRIVAL, JSON, LEARN_FROM, MOST, TRIALS, default_dataset, pipeline_arguments, refuse, serving_arguments
from pipelines.commands.submit import known_spec


def schedule(
    context: typer.Context,
    pipeline: Annotated[
        Literal["data", "training", "continuous", "deployment", "experiment"] | None,
        typer.Argument(help="What to run; left out, the schedules are listed.", show_default=False),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", "-d", envvar="LAKELINE_DATASET", help="Name of the data set.", show_default="the one that datasets/DEFAULT names"
        ),
    ] = None,
    cron: Annotated[
        str | None, typer.Option(help="When, in UTC: second minute hour day month weekday, such as '0 30 6 * * *': daily at 06:30.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="End the schedule.")] = False,
    arrival: ARRIVAL = None,
    most: MOST = None,
    learn_from: LEARN_FROM = "*",
    trials: TRIALS = 0,
    retrain: Annotated[bool, typer.Option("--retrain", help="training: also if a model was registered from the commit before.")] = False,
    as_json: JSON = False,
) -> None:
    """Have the server run a pipeline again and again; one schedule for each pipeline and data set.

    Look for new arrivals every hour, and train where there are any:

      lakeline schedule continuous --dataset NAME --arrival next --cron "0 0 * * * *"

    Judge an A/B test every hour:

      lakeline schedule experiment --dataset NAME --cron "0 0 * * * *"

    Setting it again replaces it (also to have it run newer code: a schedule keeps the version it was set with); --off ends it.
    A run that is under way then goes on; so long its schedule is listed as disabled. Runs don't overlap, and what was missed
    while the server was down is not made up for.

    JSON: a list of name, pipeline, dataset, cron, enabled, pipeline_version_id, arguments and recurring_run_id.
    """
    from pipelines import remote, schedules
    from pipelines.local import SERVING_PIPELINES

    client = None
    if pipeline is None:
        if cron or off or arrival or context.args:
            refuse("which pipeline? lakeline schedule data|training|continuous|experiment ...")
        client = remote.connect()
    else:
        name = dataset or default_dataset()
        if off == (cron is not None):
            refuse("give --cron to set a schedule, or --off to end it.")
        if off:
            client = remote.connect()
            ended = schedules.end(client, pipeline, name)
            typer.echo(f"Ended {ended} schedule{'s' if ended != 1 else ''} of {pipeline} {name}.", err=as_json)
        else:
            arguments: dict[str, Any] = (
                serving_arguments(pipeline, name, 0, arrival, context.args)
                if pipeline in SERVING_PIPELINES
                else pipeline_arguments(pipeline, name, arrival, context.args, learn_from, trials, lambda: known_spec(name), most)
            )
            if pipeline == "training":
                arguments |= {"ref": "main", "retrain": retrain}
            when = schedules.check_cron(cron or "")
            client = remote.connect()
            schedules.put(client, remote.ready(client, pipeline), arguments, when)
    found = [known for known in schedules.listed(client) if dataset in (None, known.dataset)]
    if as_json:
        typer.echo(json.dumps([known.__dict__ for known in found]))
        return
    for known in found:
        typer.echo(f"{known.name:<32} {known.cron:<20} {'' if known.enabled else 'disabled'}")
    if not found:
        typer.echo("No schedules.")
