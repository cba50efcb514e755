"""The last step of a run, and the record and report that it leaves."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeline.data.ingest import rows_left_out
from lakeline.data.specfile import pinned_spec
from lakeline.lake import CommitId, open_lake
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from lakeline.data.spec import DatasetSpec
    from lakeline.lake import Lake

REPORTS = "_lakeline/reports/"


def publish_and_report(
    dataset: str,
    branch: str,
    commit: str,
    arrivals: Sequence[str],
    checked: Sequence[str],
    run_id: str,
    trained_in: str,
    outputs: Mapping[str, str],
) -> str:
    """Publish a delivery (see `lakeline.data.publish.publish`) and write the run's record and report.

    Parameters
    ----------
    dataset, branch, commit, arrivals
        The delivery.
    checked
        Files with what `validate` found in the raw and in the clean rows.
    run_id, trained_in
        Id of the pipeline run; and of the one that trains from the commit, if one does.
    outputs
        Files to write: `report` (HTML), `record` (JSON).

    Returns
    -------
    str
        Commit on main that has the arrivals.
    """
    from lakeline.data.publish import publish

    reports = [json.loads(Path(path).read_text(encoding="utf-8")) for path in checked]
    published = publish(dataset, branch, commit, arrivals, reports, trained_in and (get_settings().run_id or trained_in))
    lake = open_lake(dataset)
    spec = pinned_spec(lake, published.commit).spec
    content = _data_record(lake, spec, published.commit, arrivals, arrivals)
    content["run"] = _run(run_id, "data", spec, None)
    _write(content, outputs["record"], outputs["report"])
    return published.commit


def promote_and_report(
    dataset: str,
    commit: str,
    version: int,
    evaluation: str,
    results: Sequence[str],
    best: str,
    run_id: str,
    outputs: Mapping[str, str],
) -> str:
    """Promote a version if its gates hold (see `lakeline.registry.promote`) and write the run's record and report.

    Parameters
    ----------
    dataset, commit, version
        The candidate and the commit that it learned from.
    evaluation
        File with what `evaluate` found.
    results, best
        The trials and the best of them, JSON.
    run_id
        Id of the pipeline run.
    outputs
        Files to write: `report` (HTML), `verdict` (Markdown), `record` (JSON).

    Returns
    -------
    str
        "promoted" or "held".
    """
    from lakeline.registry import evaluation_of, promote, version_info
    from lakeline.report import markdown

    scored = evaluation_of(dataset, version, json.loads(Path(evaluation).read_text(encoding="utf-8")))
    decision = promote(dataset, version, scored)
    lake = open_lake(dataset)
    spec = pinned_spec(lake, CommitId(commit)).spec
    info = version_info(dataset, version)
    content = _data_record(lake, spec, CommitId(commit), info.lineage["data_arrivals"].split(","), _latest_delivery(lake, commit))
    content |= {
        "run": _run(run_id, "training", spec, info.started),
        "trials": [json.loads(result) for result in results],
        "best": json.loads(best)["number"],
        "metric": {"name": spec.metric.name, "direction": spec.metric.direction},
        "target": {"column": spec.target.column, "unit": spec.target.unit},
        "evaluation": dict(scored),
        "decision": decision.to_dict(),
        "model": {
            "name": dataset,
            "version": version,
            "mlflow_run_id": info.run_id,
            "features": {"categorical": list(spec.features.categorical), "numeric": list(spec.features.numeric)},
        },
        "lineage": info.lineage,
    }
    _write(content, outputs["record"], outputs["report"])
    Path(outputs["verdict"]).write_text(markdown(content), encoding="utf-8")
    info.log_report(Path(outputs["report"]))
    return decision.verdict


def _run(run_id: str, pipeline: str, spec: DatasetSpec, started: float | None) -> dict[str, Any]:
    name = get_settings().run_id or run_id
    pipeline = next((known for known in ("continuous", "training") if name.startswith(known)), pipeline)
    run = {"id": name, "pipeline": pipeline, "dataset": spec.name, "title": spec.title, "status": "succeeded"}
    return run if started is None else run | {"started": started, "seconds": time.time() - started}


def _latest_delivery(lake: Lake, commit: str) -> list[str]:
    """Arrivals that the newest delivery up to a commit brought."""
    merges = (said.metadata for said in lake.log(commit) if "delivery" in said.metadata)
    return next((said["arrivals"].split(",") for said in merges), [])


def _data_record(lake: Lake, spec: DatasetSpec, commit: CommitId, arrivals: Sequence[str], delivery: Sequence[str]) -> dict[str, Any]:
    """Read what the lake says of arrivals, where from and how many rows, and of a delivery, which checks and what changed."""
    found: list[dict[str, Any]] = []
    validation: list[dict[str, Any]] = []
    changes: Mapping[str, Any] = {}
    for arrival in arrivals:
        path = f"{REPORTS}{arrival}.json"
        if not lake.exists(commit, path):
            continue
        told = json.loads(lake.read(commit, path))
        layers = {layer: told[layer] for layer in ("raw", "clean") if layer in told}
        if arrival in delivery:
            validation += [{"arrival": arrival, "layer": layer} | checks for layer, checks in layers.items()]
            changes = told.get("changes") or changes
        rows = {f"rows_{layer}": checks.get("rows") for layer, checks in layers.items()}
        found.append({"id": arrival, "source": told.get("source", "")} | rows)
    left_out = rows_left_out(lake, commit, delivery)
    return {
        "data": {"commit": commit, "status": "new", "arrivals": found, "changes": changes, "left_out": left_out},
        "validation": validation,
        "metric": {"name": spec.metric.name, "direction": spec.metric.direction},
        "target": {"column": spec.target.column, "unit": spec.target.unit},
    }


def _write(content: Mapping[str, Any], record: str, report: str) -> None:
    from lakeline.report import build

    Path(record).write_text(json.dumps(content), encoding="utf-8")
    Path(report).write_text(build(content), encoding="utf-8")
