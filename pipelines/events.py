"""What an event starts on Kubeflow Pipelines: one run for each delivery, however often, late or not at all the event comes."""

# pyright: basic, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# kfp's client is made of what its server's API is described with: to a type checker all of it is unknown.

from __future__ import annotations

import hashlib
import itertools
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from lakeline.errors import LakeConflict, LakelineError, LakeNotFound, describe
from lakeline.events.deliveries import HOOK_PATH, SHORT, Unseen, claim, fate, fates, unseen
from lakeline.events.payload import Arrival, MalformedEvent, Merge, parse
from lakeline.lake import CommitId, list_lakes, open_lake
from lakeline.lake.base import MAIN
from lakeline.liveness import under_way
from lakeline.settings import get_settings
from pipelines.reactions import SAID, UNDER_WAY, Reaction, start

if TYPE_CHECKING:
    from kfp import Client

    from lakeline.lake import Lake

WAIT = 60.0
"""Seconds that a claimed run has to appear before the catch-up takes it for lost: more than the start of one can take."""

_DATA_CLAIM = "run/data/"
_INTERVAL = 2.0
_KUBEFLOWS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""Ids of runs as Kubeflow Pipelines makes them."""
_LOOKED_AT = 5
_NAMED = 3
_TRIES = 3


def training_of(dataset: str, commit: str) -> dict[str, Any]:
    """Arguments of the training pipeline for a delivery; where a model was registered from it, the run finds nothing to do."""
    return {"dataset": dataset, "ref": commit, "arrivals": "*", "trials": 0, "retrain": False}


def run_name(dataset: str, commit: str) -> str:
    """Name of the run that a delivery starts."""
    return f"training {dataset} {commit[:SHORT]}"


def on_merge(text: str) -> Reaction:
    """Start the training run of a commit on main, if it is a delivery whose run nobody has.

    Parameters
    ----------
    text
        The event, as lakeFS' webhook says it.

    Raises
    ------
    MalformedEvent
        If it is none, or of a commit or data set that the lake hasn't got.
    LakelineError
        If the lake or Kubeflow Pipelines can't be spoken to: the event may be tried again.
    """
    event = parse(Merge, text)
    try:
        lake = open_lake(event.repository_id)
        found = fate(lake, event.commit_id)
    except LakeNotFound as error:
        raise MalformedEvent(f"merge event of what isn't there: {error}") from error
    if found != "unseen":
        return _nothing("merge", lake, event.commit_id, found)
    from pipelines import remote

    client = remote.connect()
    version = remote.ready(client, "training")  # what can fail, fails before the claim
    if not claim(lake, CommitId(event.commit_id)):
        return _nothing("merge", lake, event.commit_id, "claimed")
    return _started("merge", client, version, lake.name, event.commit_id)


def on_arrival(text: str) -> Reaction:
    """Start the data run of arrivals that the source has.

    Parameters
    ----------
    text
        The event: `{"dataset": ..., "arrivals": [...]}`, with "version" where the sender can tell one state of the files
        from another. One run is started for each version; without one, for each time that none of these arrivals is under way.

    Raises
    ------
    MalformedEvent, UsageError
        If it is none, or of a data set or of arrivals that can't be.
    LakelineError
        If the lake or Kubeflow Pipelines can't be spoken to: the event may be tried again.
    """
    from lakeline.data.arrivals import NEXT, arrival_parameters
    from lakeline.data.specfile import pinned_spec
    from pipelines import remote

    event = parse(Arrival, text)
    try:
        lake = open_lake(event.dataset)
    except LakeNotFound as error:
        raise MalformedEvent(f"arrival event of what isn't there: {error}") from error
    spec = pinned_spec(lake, MAIN).spec
    if event.arrivals != [NEXT]:
        for arrival in event.arrivals:
            arrival_parameters(spec, arrival)
    arrivals = sorted(set(event.arrivals))
    shown = ", ".join(arrivals) if len(arrivals) <= _NAMED else f"{arrivals[0]} to {arrivals[-1]} ({len(arrivals)} arrivals)"
    name = f"data {lake.name} {shown}"
    client = remote.connect()
    version = remote.ready(client, "data")
    run = _claim_data(client, lake, arrivals, event.version, name)
    if run is None:
        return Reaction("arrival", lake.name, None, "under way", name, None, f"{lake.name}: {SAID['under way']}.")
    run_id = remote.submit(client, version, {"dataset": lake.name, "arrivals": arrivals}, run)
    return Reaction("arrival", lake.name, None, "started", run, run_id, f"{run}: started.")


def catch_up(days: float, wait: float = WAIT) -> Iterator[Reaction]:
    """Start the runs of deliveries that no event has started: lost ones, those whose claim came to nothing, and those that failed.

    Only data sets whose webhook is installed are looked at; in git, all. A delivery whose run has ended without a model, for MLflow was
    away or it was killed, is due still, be it that of the run that merged it; it gets three runs in all: then somebody should know why.

    A claim without a run is looked at again after a while, for the run may be just about to start; then its next attempt is
    claimed, so that two catch-ups at once start one run as well.

    Parameters
    ----------
    days
        How old deliveries may be.
    wait
        Seconds until the second look.

    Yields
    ------
    Reaction
        "started" or "claimed" for each delivery that had no run; "failed" for a data set, or a delivery, that can't be
        dealt with now. The others are dealt with all the same.
    """
    from pipelines import remote

    client = remote.connect()
    later: list[tuple[Lake, Unseen, list[str]]] = []
    for dataset in list_lakes():
        try:
            lake = open_lake(dataset)
            for delivery in _asked_for(lake, days):
                runs = remote.find_runs(client, run_name(dataset, delivery.commit.id))
                if not (delivery.attempts or delivery.own or runs):
                    yield _start(client, lake, delivery)
                elif _may_be_due(client, delivery, runs):
                    later.append((lake, delivery, runs))
        except LakelineError as error:
            yield _failed(dataset, None, error)
    if later:
        time.sleep(wait)
    for lake, delivery, runs in later:
        try:
            now = next((each for each in unseen(lake, days) if each.commit.id == delivery.commit.id), None)
            if now == delivery and remote.find_runs(client, run_name(lake.name, delivery.commit.id)) == runs:
                yield _start(client, lake, delivery)
        except LakelineError as error:
            yield _failed(lake.name, delivery.commit.id, error)


def _asked_for(lake: Lake, days: float) -> list[Unseen]:
    return unseen(lake, days) if lake.store == "git" or lake.exists(MAIN, HOOK_PATH) else []


def _may_be_due(client: Client, delivery: Unseen, runs: Sequence[str]) -> bool:
    """Whether a delivery has no run under way, and had fewer than it may have."""
    from pipelines import remote

    if len(runs) + bool(delivery.own) >= _TRIES or (delivery.own and not _has_ended(delivery.own, delivery.commit.time)):
        return False
    with remote.speaking():
        return not any(client.get_run(run_id).state in UNDER_WAY for run_id in runs)


def _has_ended(run_id: str, merged: datetime) -> bool:
    """Whether the run that merged a delivery has ended; that of a machine which nobody here can ask, after a day."""
    known = under_way(run_id) if _KUBEFLOWS.fullmatch(run_id) or (get_settings().runs / run_id).is_dir() else None
    return datetime.now(UTC) - merged > timedelta(days=1) if known is None else not known


def _start(client: Client, lake: Lake, delivery: Unseen) -> Reaction:
    from pipelines import remote

    commit = delivery.commit.id
    try:
        version = remote.ready(client, "training")
        if not claim(lake, commit, delivery.attempts + 1):
            return _nothing("catch-up", lake, commit, "claimed")
        return _started("catch-up", client, version, lake.name, commit)
    except LakelineError as error:
        return _failed(lake.name, commit, error)


def _started(event: str, client: Client, version: Any, dataset: str, commit: str) -> Reaction:
    name = run_name(dataset, commit)
    run_id = start(client, version, training_of(dataset, commit), name)
    return Reaction(event, dataset, commit, "started", name, run_id, f"{name}: started.")


def _nothing(event: str, lake: Lake, commit: str, found: Any) -> Reaction:
    message = f"{lake.name} {commit[:SHORT]}: {SAID[found]}."
    return Reaction(event, lake.name, commit, found, run_name(lake.name, commit), None, message)


def _failed(dataset: str, commit: str | None, error: LakelineError) -> Reaction:
    return Reaction("catch-up", dataset, commit, "failed", run_name(dataset, commit) if commit else "", None, describe(error))


def _claim_data(client: Client, lake: Lake, arrivals: Sequence[str], version: str | None, name: str) -> str | None:
    """Take on the next run of arrivals; its name, or None if somebody else has.

    The claims of one version, or of events without one, are numbered, and so are the names of their runs. There is no next one as long
    as the last one's run may be about to start; with a version none once that run was started, without one as long as it is under way.
    """
    digest = hashlib.sha256("\n".join([version or "", *arrivals]).encode()).hexdigest()
    first = f"{_DATA_CLAIM}{digest[:SHORT]}"
    tags = lake.tags()
    last = next(number for number in itertools.count() if _numbered(first, number + 1) not in tags)
    if last and _holds(client, _run_of_claim(name, last), ended=version is not None):
        return None
    try:
        made = lake.tag(_numbered(first, last + 1), MAIN)
    except LakeConflict:  # it stands at the commit that main was at then
        return None
    return _run_of_claim(name, last + 1) if made else None


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}.{number}"


def _run_of_claim(name: str, number: int) -> str:
    return name if number == 1 else f"{name} ({number})"


def _holds(client: Client, name: str, *, ended: bool) -> bool:
    """Whether a claim holds: its run is there, and under way unless one that has `ended` counts too."""
    from pipelines import remote

    until = time.monotonic() + WAIT
    while not (found := remote.find_runs(client, name)[:_LOOKED_AT]):
        if time.monotonic() > until:  # its start has failed
            return False
        time.sleep(_INTERVAL)
    with remote.speaking():
        return ended or any(client.get_run(run_id).state in UNDER_WAY for run_id in found)


def standing(dataset: str) -> Mapping[str, Any]:
    """Count the deliveries of a data set by what has become of them, and name the last one."""
    counts: dict[str, int] = {}
    last: dict[str, Any] | None = None
    for commit, found in fates(open_lake(dataset)):
        counts[found] = counts.get(found, 0) + 1
        last = last or {"commit": commit.id, "time": commit.time.isoformat(), "outcome": found, "run": run_name(dataset, commit.id)}
    return {"dataset": dataset, "deliveries": sum(counts.values()), "outcomes": counts, "last": last}
