"""What becomes of a promotion: its deployment, followed to its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lakeline.errors import PipelinesError
from lakeline.registry.deployed import Standing, find_standing

if TYPE_CHECKING:
    from pipelines.local import Progress

_INTERVAL = 5.0


def await_deployment(model: str, version: int, minutes: float, on_progress: Callable[[Progress], None]) -> dict[str, Any]:
    """Wait until a version serves, or it is known that it won't.

    Parameters
    ----------
    model, version
        What was promoted.
    minutes
        How long to wait at most.
    on_progress
        Called as steps of the deployment begin and end.

    Returns
    -------
    dict
        pipeline, dataset, version, run_id, url, status ("succeeded" or "failed"), error, seconds.

    Raises
    ------
    PipelinesError
        If neither is so by then.
    RegistryError
        If the registry is out of reach.
    """
    from lakeline.registry.moves import history
    from lakeline.registry.records import moved_at
    from pipelines import outcome, remote
    from pipelines.deployments import deployments

    client = remote.connect()
    began = time.monotonic()
    until = began + minutes * 60
    promoted = moved_at(history(model), version)
    while True:
        at, runs = find_standing(model), deployments(client, model)
        # While another version is rolled out, what serves now says little: that one goes live, or what its deployment found comes back.
        if at is not None and at.production == version and not at.pending and not any(run.under_way for run in runs):
            return _result(model, version, None, None, began)
        run = next((run for run in runs if run.version == version and (promoted is None or run.created > promoted)), None)
        if run is not None:
            ending = outcome.wait(client, run.run_id, on_progress, max((until - time.monotonic()) / 60, 0))
            after = find_standing(model)
            error = f"{ending.error}{_yet(after, version)}" if ending.error else _elsewhere(after, version)
            return _result(model, version, run.run_id, error, began)
        if at is None or at.production != version:
            return _result(model, version, None, _elsewhere(at, version), began)
        if time.monotonic() > until:
            raise PipelinesError(_late(model, version, minutes, [run.run_id for run in runs if run.under_way]))
        time.sleep(_INTERVAL)


def _late(model: str, version: int, minutes: float, others: list[str]) -> str:
    if others:
        return f"{model} version {version}: another deployment is still under way after {minutes:g} minutes (run {others[0]})."
    return (
        f"{model} version {version}: no deployment began within {minutes:g} minutes. The catch-up starts one whose event was lost; "
        'docs/EVENTS.md, "See each hop", says where to look.'
    )


def _yet(at: Standing | None, version: int) -> str:
    kept = at is not None and at.production == version and at.pending
    return " (The version still has the alias: the catch-up may deploy it yet.)" if kept else ""


def _elsewhere(at: Standing | None, version: int) -> str | None:
    """What is against the version's serving, if something is."""
    if at is None or at.production is None:
        return "the alias production stands nowhere: the version was taken out of production, and none was there before."
    if at.production != version:
        return f"the alias production has moved on to version {at.production}."
    if at.deploying not in (None, version):
        return f"its deployment succeeded, but the rollout of version {at.deploying} was begun and came to no end."
    return f"its deployment succeeded, but version {at.deployed} serves." if at.pending else None


def _result(model: str, version: int, run_id: str | None, error: str | None, began: float) -> dict[str, Any]:
    from pipelines.remote import run_url

    return {
        "pipeline": "deployment",
        "dataset": model,
        "version": version,
        "run_id": run_id,
        "url": run_url(run_id) if run_id else None,
        "status": "failed" if error else "succeeded",
        "error": error,
        "seconds": round(time.monotonic() - began, 1),
    }
