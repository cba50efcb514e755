"""What must hold after a fault, and after the next run. Each function runs in a process of its own and returns what doesn't hold."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.campaign.rows import NAME

Facts = dict[str, Any]
"""What the lake, the registry and the home say, less what differs from run to run: ids of commits and of runs, times."""


def facts() -> Facts:
    """Look at everything."""
    from lakeline.lake import open_lake
    from lakeline.registry import history, models
    from lakeline.registry.peek import PRODUCTION

    lake = open_lake(NAME)
    infos = models(NAME)
    return {
        "files of main": {entry.path: entry.digest for entry in lake.ls("main") if not entry.path.startswith("_")},
        "merges": sum("delivery" in commit.metadata for commit in lake.log("main")),
        "branches": [branch.name for branch in lake.branches()],
        "tags": sorted(lake.tags()),
        "versions": [[info.version, info.verdict, info.aliases, round(info.metrics.get("rmse", -1), 9)] for info in infos],
        "arrivals learned from": [info.lineage.get("data_arrivals") for info in infos],
        "moves of production": [[move.origin, move.target, move.kind] for move in history(NAME) if move.alias == PRODUCTION]
        if infos
        else [],
        "runs under way": _under_way() if infos else [],
        "left behind": _left(),
    }


def _under_way() -> list[str]:
    from lakeline.registry.store import connect

    client = connect()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, max_results=1000)
    return sorted(run.info.run_name or "?" for run in runs if run.info.status == "RUNNING")


def whole(allowed: list[list[str]], before: int) -> list[str]:
    """Check what holds at any moment: main is whole and can be trained from; what is in production was judged and has its way back.

    Parameters
    ----------
    allowed
        Arrivals that main may have.
    before
        Version that was in production before; 0 where nothing is trained.
    """
    from lakeline.lake import open_lake

    wrong = _whole_main(allowed) + _database()
    if not wrong:
        wrong += _trainable(open_lake(NAME).resolve("main"))
    return wrong + (_production(before) if before else [])


def _whole_main(allowed: list[list[str]]) -> list[str]:
    import pyarrow.parquet as pq

    from lakeline.lake import open_lake

    lake = open_lake(NAME)
    wrong: list[str] = []
    paths = [entry.path for entry in lake.ls("main")]
    layers = {layer: [Path(path).stem for path in paths if path.startswith(f"{layer}/")] for layer in ("raw", "clean")}
    for layer, arrivals in layers.items():
        if arrivals not in allowed:
            wrong.append(f"main has the {layer} rows of {arrivals}, not one of {allowed}")
    notes = [f"_lakeline/{kind}/{arrival}.json" for arrival in layers["clean"] for kind in ("arrivals", "reports")]
    wrong += [f"main has no {path}" for path in notes if path not in paths]
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            try:
                here = lake.download("main", path, Path(folder) / "file")
                if path.endswith(".parquet") and not pq.read_table(here).num_rows:
                    wrong.append(f"{path} on main has no rows")
            except Exception as error:
                wrong.append(f"{path} on main can't be read: {error}")
    return wrong


def _trainable(commit: Any) -> list[str]:
    from lakeline.data.split import split
    from lakeline.training.fit import fit
    from lakeline.training.search import run_trial

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            split(NAME, commit, "*", folder / "train.parquet", folder / "holdout.parquet")
            trial = run_trial(NAME, commit, folder / "train.parquet", 0)
            fit(NAME, commit, folder / "train.parquet", [trial.to_json()], folder / "model")
        except Exception as error:
            return [f"main can't be trained from: {type(error).__name__}: {error}"]
    return []


def _production(before: int) -> list[str]:
    from lakeline.registry import models

    infos = {info.version: info for info in models(NAME)}
    at = {alias: info for info in infos.values() for alias in info.aliases}
    if "production" not in at:
        return ["no version is in production"]
    production, previous = at["production"], at.get("previous")
    wrong: list[str] = []
    if production.verdict != "promoted":
        wrong.append(f"version {production.version} is in production with the verdict {production.verdict}")
    if production.version != before and (previous is None or previous.version != before):
        stands = "nowhere" if previous is None else f"at {previous.version}"
        wrong.append(f"version {production.version} is in production after {before}, and previous stands {stands}")
    return wrong


def _database() -> list[str]:
    from lakeline.registry.peek import sqlite_path
    from lakeline.settings import get_settings

    path = sqlite_path(get_settings().mlflow_uri)
    if path is None or not path.exists():
        return []
    with closing(sqlite3.connect(path)) as database:
        said = database.execute("PRAGMA integrity_check").fetchone()[0]
    return [] if said == "ok" else [f"MLflow's database is damaged: {said}"]


def _left() -> list[str]:
    """Files that no run may leave in the home."""
    from lakeline.settings import get_settings

    home = get_settings().home
    patterns = ("runs/*/tmp", "runs/*/warm", "lake/.new-*", "lake/*/lakeline.lock.holder", "lake/*/refs/**/*.lock", "lake/*/*.lock")
    found = {str(path.relative_to(home)) for pattern in patterns for path in home.glob(pattern)}
    return sorted(name for name in found if not name.endswith("lakeline.lock"))  # the kernel's lock is on the file, not the file


def as_if_nothing(expected: Facts) -> list[str]:
    """Check that the home is as if no fault had been, that doctor is content, and that the way back can be gone."""
    found = facts()
    wrong = [f"{name}: {_short(found[name])} instead of {_short(wanted)}" for name, wanted in expected.items() if found[name] != wanted]
    return wrong + _doctor() + _way_back()


def settled(arrivals: list[str]) -> list[str]:
    """Check what holds after runs that were under way at once: as `as_if_nothing`, but which of them came first is open."""
    from lakeline.lake import open_lake
    from lakeline.registry import models

    found = facts()
    wrong = [f"{name}: {_short(found[name])}" for name in ("runs under way", "left behind") if found[name]]
    if found["branches"] != ["main"]:
        wrong.append(f"branches: {found['branches']}")
    tags = [tag for tag in found["tags"] if tag.startswith(f"{NAME}/")]
    if tags != [f"{NAME}/{arrival}" for arrival in arrivals]:
        wrong.append(f"tags of arrivals: {tags}")
    infos = models(NAME)
    wrong += [f"version {info.version} has the verdict {info.verdict}" for info in infos if info.verdict is None]
    if infos and not any(info.data_commit == open_lake(NAME).resolve("main") for info in infos):
        wrong.append("no version learned from main")
    commits = [info.data_commit for info in infos]
    twice = sorted({commit[:10] for commit in commits if commits.count(commit) > 1})
    if twice:
        wrong.append(f"several versions learned from {', '.join(twice)}")
    return wrong + _doctor() + _way_back()


def _doctor() -> list[str]:
    from pipelines.diagnose import diagnose

    return [f"doctor: {finding.what}: {finding.said}" for finding in diagnose() if finding.state == "fails"]


def _way_back() -> list[str]:
    from lakeline.errors import LakelineError
    from lakeline.registry import history, roll_back
    from lakeline.registry.deployed import find_standing, standing

    at = find_standing(NAME)
    if at is None or (at.previous is None and at.production == 1):
        return []
    try:
        back = roll_back(NAME, "the campaign tries the way back")
    except LakelineError as error:
        return [f"the way back from {at.production} to {at.previous} can't be gone: {error}"]
    after = standing(NAME)
    if (after.production, back) != (at.previous, at.previous):
        moves = [[move.alias, move.origin, move.target] for move in history(NAME)]
        return [f"rollback from {at.production} went to {after.production}, not to {at.previous}, after {moves}"]
    return []


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 300 else f"{text[:299]}…"


def by_hand(versions: list[int]) -> list[str]:
    """Check what holds when persons have moved the alias at once: production and previous are two versions, and history says the same."""
    from lakeline.registry import history, models
    from lakeline.registry.deployed import standing
    from lakeline.registry.peek import PRODUCTION
    from lakeline.registry.records import unmade

    at = standing(NAME)
    moves = history(NAME)
    not_made = unmade(moves, at.production, versions)
    made = [move for move in moves if move.alias == PRODUCTION and move not in not_made]
    wrong = [f"version {info.version} has the verdict {info.verdict}" for info in models(NAME) if info.verdict is None]
    if at.production not in versions or at.previous not in versions or at.production == at.previous:
        wrong.append(f"production is {at.production}, previous {at.previous}")
    if made[-1].target != at.production:
        wrong.append(f"production is {at.production}, and history says {made[-1].target}")
    return wrong + _database() + _doctor()
