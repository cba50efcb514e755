"""`lakeline submit`, `lakeline upload` and `lakeline runs`: pipelines on a Kubeflow Pipelines server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.run import (
    ARRIVAL,
    DATASET,
    JSON,
    LEARN_FROM,
    MOST,
    PIPELINE,
    REF,
    TRIALS,
    VERSION,
    pipeline_arguments,
    refuse,
    serving_arguments,
)

if TYPE_CHECKING:
    from lakeline.data.spec import DatasetSpec
    from pipelines.show import Console


def submit(
    context: typer.Context,
    pipeline: PIPELINE,
    dataset: DATASET,
    arrival: ARRIVAL = None,
    most: MOST = None,
    ref: REF = "main",
    learn_from: LEARN_FROM = "*",
    trials: TRIALS = 0,
    version: VERSION = 0,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end; exit code 1 if it fails.")] = False,
    timeout: Annotated[float, typer.Option(min=0.1, help="--wait: minutes to wait at most; the run goes on after that.")] = 120.0,
    as_json: JSON = False,
) -> None:
    """Run a pipeline on the Kubeflow Pipelines server that KF_PIPELINES_ENDPOINT names.

    It takes what `lakeline run` takes, and runs the version of the pipeline that this code has, which is uploaded first if the server
    hasn't it:

      lakeline submit training --dataset NAME --wait

      lakeline submit continuous --dataset NAME --year 2022 --month 1

    With --wait, the registry (MLFLOW_TRACKING_URI) is asked for the verdict. JSON: pipeline, dataset, run_id, url, pipeline_version,
    and, with --wait, status, error, seconds, model, version, verdict, reasons and metrics; and other_run, if another run was bringing
    the arrivals in and was waited for.
    """
    from pipelines import remote
    from pipelines.local import SERVING_PIPELINES
    from pipelines.show import Console

    console = Console(as_json)
    if pipeline in SERVING_PIPELINES:
        arguments = serving_arguments(pipeline, dataset, version, arrival, context.args)
        what = str(version) if version else ""
    else:
        arguments = pipeline_arguments(pipeline, dataset, arrival, context.args, learn_from, trials, lambda: known_spec(dataset), most)
        what = ",".join(arguments["arrivals"]) if pipeline != "training" else ref
    if pipeline == "training":
        arguments |= {"ref": ref, "retrain": True}
    elif ref != "main":
        refuse(f"{pipeline} doesn't learn from a commit that is there, so --ref {ref} means nothing to it.")
    client = remote.connect()
    pinned = remote.ready(client, pipeline)
    run_id = remote.submit(client, pinned, arguments, f"{pipeline} {dataset} {what}".strip())
    result: dict[str, Any] = {
        "pipeline": pipeline,
        "dataset": dataset,
        "run_id": run_id,
        "url": remote.run_url(run_id),
        "pipeline_version": pinned.name,
    }
    console.say(f"[bold]{pipeline}[/bold] {' '.join(filter(None, (dataset, what)))}, version {pinned.name}: {result['url']}")
    if wait:
        result |= _wait(client, dataset, run_id, timeout, console)
        other = _other_run(dataset, arguments.get("arrivals"), run_id) if pipeline in ("data", "continuous") else None
        if other and result["status"] == "succeeded":
            console.say(f"Already being brought in by run {other}, which is waited for: {remote.run_url(other)}")
            result |= _wait(client, dataset, other, timeout, console) | {"other_run": other}
    if as_json:
        typer.echo(json.dumps(result))
    if wait and result["status"] != "succeeded":
        raise typer.Exit(1)


def known_spec(dataset: str) -> DatasetSpec:
    """Spec that says what arrivals there can be: the one here, or, of a data set that was written elsewhere, the lake's."""
    from lakeline.data.specfile import local_spec, pinned_spec
    from lakeline.errors import LakeError, UsageError
    from lakeline.lake import open_lake

    try:
        return local_spec(dataset).spec
    except UsageError as unknown:
        try:
            lake = open_lake(dataset)
        except LakeError:
            raise unknown from None
        return pinned_spec(lake, lake.resolve("main")).spec


def _other_run(dataset: str, arrivals: list[str] | None, run_id: str) -> str | None:
    """Id of the run that the arrivals were left to; None if there is none, or this shell can't ask the lake."""
    from lakeline.data.ingest import other_run
    from lakeline.errors import LakelineError
    from lakeline.lake import open_lake

    try:
        return other_run(open_lake(dataset), arrivals, run_id) if arrivals else None
    except LakelineError:
        return None


def _wait(client: Any, dataset: str, run_id: str, minutes: float, console: Console) -> dict[str, Any]:
    from lakeline.errors import RegistryError
    from lakeline.settings import get_settings
    from pipelines import outcome
    from pipelines.show import Steps, show_verdict

    with Steps(console) as steps:
        ending = outcome.wait(client, run_id, steps, minutes)
    result: dict[str, Any] = {"status": ending.status, "error": ending.error, "seconds": round(ending.seconds, 1)}
    made = None
    if get_settings().tracking_uri:
        try:
            made = outcome.verdict(dataset, run_id)
        except RegistryError as error:
            console.say(f"The verdict can't be read: {error}")
    else:
        console.say("The registry has the verdict: set MLFLOW_TRACKING_URI to have it shown here.")
    result |= {key: made[key] for key in ("verdict", "reasons", "metrics", "version", "failed_trials")} if made else {}
    show_verdict(result, console)
    return result


def upload(
    pipelines: Annotated[
        list[str] | None,
        typer.Argument(help="data, training, continuous, deployment, experiment; all of them if none is named.", show_default=False),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Upload pipelines to the server as new versions, named after the git commit; one that it has already stays as it is.

    JSON: for each pipeline its pipeline_id, version_id and name.
    """
    from pipelines import remote
    from pipelines.local import PIPELINES

    for name in pipelines or PIPELINES:
        if name not in PIPELINES:
            refuse(f"there is no pipeline {name!r}. There are {', '.join(PIPELINES)}.")
    client = remote.connect()
    versions = [remote.ready(client, name) for name in pipelines or PIPELINES]
    if as_json:
        typer.echo(
            json.dumps(
                {
                    version.pipeline: {"pipeline_id": version.pipeline_id, "version_id": version.version_id, "name": version.name}
                    for version in versions
                }
            )
        )
        return
    for version in versions:
        typer.echo(f"{remote.PREFIX}{version.pipeline} version {version.name}")


def runs(
    dataset: Annotated[str | None, typer.Option("--dataset", "-d", help="Runs of this data set only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")] = 20,
    as_json: JSON = False,
) -> None:
    """List the runs on the server, newest first.

    JSON: a list of name, status, started, seconds, run_id, url and recurring_run_id.
    """
    from rich.table import Table

    from pipelines import outcome, remote
    from pipelines.show import Console

    found = outcome.recent(remote.connect(), dataset, limit)
    if as_json:
        typer.echo(json.dumps([run.__dict__ for run in found]))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("name", "status", "started (UTC)", "seconds", "run"):
        table.add_column(title, overflow="fold", min_width=36 if title == "run" else None)  # an id is copied whole
    colours = {"succeeded": "green", "failed": "red"}
    for run in found:
        seconds = f"{run.seconds:,.0f}" if run.seconds is not None else ""
        table.add_row(
            run.name, f"[{colours.get(run.status, 'yellow')}]{run.status}[/]", run.started[:16].replace("T", " "), seconds, run.run_id
        )
    console = Console()
    console.rich.print(table) if found else console.say("No runs.")
