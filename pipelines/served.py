"""What came out of a run that is about what serves: a deployment, or the judgement of an A/B test."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.local import LocalRun


def served(run: LocalRun, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Say what came out.

    Parameters
    ----------
    run
        What the run left.
    arguments
        Parameters of its pipeline.

    Returns
    -------
    dict
        What `lakeline run --json` prints; the report is kept in the run's folder.
    """
    found = _deployment(run) if run.pipeline == "deployment" else _experiment(run, arguments)
    report = found.pop("from", None)
    if run.status == "succeeded" and report and Path(report).is_file():
        shutil.copyfile(report, run.report)
    nothing = dict.fromkeys(
        ("data_commit", "rows_raw", "rows_clean", "trials", "failed_trials", "metrics", "production_metrics", "verdict", "reasons", "url")
    )
    return {
        **nothing,
        "pipeline": run.pipeline,
        "dataset": arguments["dataset"],
        "status": run.status,
        "error": run.error,
        "message": None,
        "arrivals": [],
        "model": arguments["dataset"],
        "version": None,
        **found,
        "run_id": run.id,
        "seconds": round(run.seconds, 2),
        "report": str(run.report) if run.report.is_file() else None,
        "log": str(run.log),
    }


@contextlib.contextmanager
def standing_told(model: str) -> Generator[None]:
    """Have an interrupt say where the alias stands, and what serves: one may have moved, and the other not yet."""
    from lakeline.errors import Interrupted, LakelineError

    try:
        yield
    except Interrupted as error:
        error.left = f"To see what was left: lakeline history {model}"
        with contextlib.suppress(LakelineError):
            error.left = _left(model)
        raise


def _left(model: str) -> str:
    from lakeline.registry.deployed import standing
    from lakeline.serving.local.site import LocalSite
    from lakeline.settings import get_settings

    found = standing(model)
    said = f"The alias production of {model} stands {'nowhere' if found.production is None else f'at version {found.production}'}"
    if get_settings().pipelines_endpoint:
        return f"{said}. To follow its deployment: lakeline runs. To start it: lakeline submit deployment --dataset {model}"
    servers = LocalSite().status(model)["variants"].get("production", {}).get("servers", [])
    versions = sorted({server["version"] for server in servers if server["role"] == "serving"})
    serves = f"version {', '.join(map(str, versions))} serves" if versions else "nothing serves on this machine"
    if found.pending:
        return f"{said}; {serves}. To go on: lakeline run deployment --dataset {model}. To go back: lakeline rollback {model} --why ..."
    return f"{said}; {serves}. To go on, run the same command again."


def _deployment(run: LocalRun) -> dict[str, Any]:
    from lakeline.serving.release import Release
    from lakeline.serving.site import open_site

    resolved, deployed = run.outputs.get("resolve-model", {}), run.outputs.get("deploy", {})
    if "release" not in resolved:
        return {}
    release = Release.from_json(resolved["release"])
    found: dict[str, Any] = {"version": release.version, "data_commit": release.data_commit or None}
    if run.status != "succeeded":
        return found
    found["url"] = open_site().url(release.model)
    if resolved["Output"] == "serving":
        return found | {"message": f"Version {release.version} serves already; nothing was changed."}
    shown = json.loads(deployed["Output"])
    said = f"{shown['requests']} requests where callers reach it: {shown['failed']} failed, p99 {shown['p99']:.0f} ms."
    return found | {"verdict": "deployed", "reasons": [said], "from": deployed.get("report")}


def _experiment(run: LocalRun, arguments: Mapping[str, Any]) -> dict[str, Any]:
    assessed = run.outputs.get("assess-experiment", {})
    if "Output" not in assessed:
        return {}
    verdict, why = assessed["Output"], assessed["why"]
    if verdict == "start":
        began = f"A test of version {arguments['challenger']} is under way. See: lakeline experiment status {arguments['dataset']}"
        return {"version": arguments["challenger"], "message": began if run.status == "succeeded" else None}
    if verdict == "none":
        return {"message": why, "from": assessed.get("report")}
    found = json.loads(Path(assessed["record"]).read_text(encoding="utf-8"))["assessment"]
    concluded = run.outputs.get("conclude-experiment") or run.outputs.get("conclude-experiment-2") or {}
    shown = {"verdict": concluded.get("Output", verdict), "reasons": found["reasons"], "version": found["challenger"]["version"]}
    return shown | {"message": _next(shown), "from": assessed.get("report")}


def _next(shown: Mapping[str, Any]) -> str | None:
    """What a person does now: on this machine nothing but `lakeline watch` hears of the alias' move."""
    if shown["verdict"] != "promoted":
        return None
    return f"Version {shown['version']} has the alias production. To have it serve, unless lakeline watch does: lakeline run deployment."
