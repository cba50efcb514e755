"""Run a pipeline on this machine and say what came out."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeline.data.arrivals import NEXT
from lakeline.errors import describe
from lakeline.lake.server import serving
from lakeline.registry.location import follow_and_say
from lakeline.registry.peek import sqlite_path
from lakeline.settings import get_settings
from lakeline.training.search import failures
from pipelines.local import SERVING_PIPELINES, LocalRun, read_json, run_locally
from pipelines.served import served
from pipelines.show import Console, Steps

if TYPE_CHECKING:
    from lakeline.data.spec import DatasetSpec


def current_spec(dataset: str, console: Console) -> DatasetSpec:
    """Spec of a data set as the lake has it, or the local one where the lake has none; says where the two differ."""
    from lakeline.data.specfile import local_spec, pinned_spec
    from lakeline.errors import LakeNotFound, UsageError
    from lakeline.lake import open_lake

    try:
        lake = open_lake(dataset)
    except LakeNotFound:
        return local_spec(dataset).spec
    pinned = pinned_spec(lake, lake.resolve("main"))
    try:
        local = local_spec(dataset)
    except UsageError:  # written elsewhere: the lake has all that a run needs
        return pinned.spec
    if local.digest != pinned.digest:
        console.say(f"The local spec of {dataset} differs from the lake's, which counts. To take it: lakeline dataset push {dataset}")
    return pinned.spec


def push_first(dataset: str, console: Console) -> None:
    """Push the local spec, if the lake has no repository of the data set."""
    from lakeline.data.specfile import push
    from lakeline.errors import LakeNotFound
    from lakeline.lake import open_lake

    try:
        open_lake(dataset)
    except LakeNotFound:
        commit, _ = push(dataset)
        console.say(f"Pushed the spec of {dataset} to a new repository of the lake (commit {commit[:10]}).")


def execute(pipeline: str, arguments: Mapping[str, Any], console: Console) -> dict[str, Any]:
    """Run a pipeline with its progress shown.

    Parameters
    ----------
    pipeline
        One of PIPELINES.
    arguments
        Its parameters.
    console
        Where progress is shown.

    Returns
    -------
    dict
        What `lakeline run --json` prints.
    """
    what = ", ".join(arguments.get("arrivals") or []) if pipeline != "training" else f"from {arguments['ref']}"
    what = f"version {arguments['version']}" if arguments.get("version") else what
    console.say(f"[bold]{pipeline}[/bold] {' '.join(filter(None, (arguments['dataset'], what)))}")
    if os.environ.get("MLFLOW_RUN_ID"):
        console.say(f"MLFLOW_RUN_ID is {os.environ['MLFLOW_RUN_ID']}, which is no run of this pipeline: it is left out.")
    store = sqlite_path(get_settings().mlflow_uri)
    if store is not None:
        follow_and_say(store)
    with serving(), Steps(console) as steps:
        run = run_locally(pipeline, arguments, steps)
    if pipeline in SERVING_PIPELINES:
        return served(run, arguments)
    return _result(run, arguments)


def _result(run: LocalRun, arguments: Mapping[str, Any]) -> dict[str, Any]:
    from lakeline.report.left import left_in_lake

    outputs = run.outputs
    record = _record(run) or left_in_lake(arguments["dataset"], arguments.get("arrivals") or [], outputs.get("ingest", {}))
    data, decision, evaluation = record.get("data", {}), record.get("decision", {}), record.get("evaluation", {})
    model = record.get("model", {})
    resolved, ingested = outputs.get("resolve", {}), outputs.get("ingest", {})
    arrivals = data.get("arrivals", [])
    record["run"] = record.get("run", {}) | {
        "id": run.id,
        "pipeline": run.pipeline,
        "dataset": arguments["dataset"],
        "status": run.status,
        "error": run.error,
        "seconds": run.seconds,
    }
    said = [_message(run, outputs, arguments, data.get("left_out") or [])]
    try:
        _report(run, record)
    except OSError as error:  # the run is what it is without it
        run.report.unlink(missing_ok=True)
        if run.status == "succeeded":  # or the error says why already
            said.append(f"The report can't be written: {describe(error)}")
    return {
        "pipeline": run.pipeline,
        "dataset": arguments["dataset"],
        "status": run.status,
        "error": run.error,
        "message": " ".join(filter(None, said)) or None,
        "data_commit": data.get("commit") or resolved.get("commit") or ingested.get("commit"),
        "arrivals": [arrival["id"] for arrival in arrivals],
        "rows_raw": _sum(arrivals, "rows_raw"),
        "rows_clean": _sum(arrivals, "rows_clean"),
        "trials": [trial | {"best": trial["number"] == record.get("best")} for trial in record["trials"]] if "trials" in record else None,
        "failed_trials": failures(record.get("trials") or []),
        "metrics": evaluation.get("candidate"),
        "production_metrics": evaluation.get("production"),
        "verdict": decision.get("verdict"),
        "reasons": decision.get("reasons"),
        "model": model.get("name"),
        "version": model.get("version"),
        "url": None,
        "run_id": run.id,
        "other_run": ingested.get("other") or None,
        "seconds": round(run.seconds, 2),
        "report": str(run.report) if run.report.is_file() else None,
        "log": str(run.log),
    }


def _sum(arrivals: Sequence[Mapping[str, Any]], rows: str) -> int | None:
    counts = [arrival.get(rows) for arrival in arrivals]
    return sum(counts) if counts and None not in counts else None


def _record(run: LocalRun) -> dict[str, Any]:
    """Record of the run, as its last step wrote it; data and training each write one, the later has it all."""
    for step in ("promote", "publish"):
        path = run.outputs.get(step, {}).get("record")
        if path and Path(path).is_file():
            return read_json(Path(path))
    return {}


def _report(run: LocalRun, record: dict[str, Any]) -> None:
    """Keep the report that the last step wrote; a run that failed or had nothing to do gets one here."""
    wrote = run.outputs.get("promote", {}).get("report") or run.outputs.get("publish", {}).get("report")
    if run.status == "succeeded" and wrote and Path(wrote).is_file():
        shutil.copyfile(wrote, run.report)
    else:
        from lakeline.report import build

        run.report.write_text(build(record), encoding="utf-8")
    (run.folder / "record.json").write_text(json.dumps(record), encoding="utf-8")


def _message(run: LocalRun, outputs: Mapping[str, Mapping[str, Any]], arguments: Mapping[str, Any], left_out: Sequence[str]) -> str | None:
    if run.status != "succeeded":
        return None
    said = list(left_out) if outputs.get("ingest", {}).get("Output") == "new" else []
    if outputs.get("ingest", {}).get("Output") == "repeated":
        polled = arguments.get("arrivals") == [NEXT]
        why = "The source has nothing that follows what the lake has" if polled else "The lake has these arrivals already"
        said.append(f"{why}; nothing was ingested.")
    if outputs.get("ingest", {}).get("other"):
        said.append(f"Already being brought in by run {outputs['ingest']['other']}; nothing was ingested. To wait for that one: --wait")
    if "trained" in (outputs.get(step, {}).get("Output") for step in ("resolve", "resolve-2")):
        said.append("A model was registered from this commit already; nothing was trained.")
    return " ".join(said) or None
