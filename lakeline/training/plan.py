"""Plan a training run: pin its commit, count its trials."""

import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from lakeline.data.specfile import pinned_spec
from lakeline.errors import UsageError
from lakeline.lake import CommitId, open_lake

MODEL_TAG = "model/"
"""Tags model/<version> stand at the commits that versions learned from."""


@dataclass(frozen=True)
class Plan:
    """What a training run will do."""

    commit: CommitId
    status: Literal["train", "trained", "empty"]
    trials: tuple[int, ...]
    started: float


def plan(dataset: str, ref: str, arrivals: str = "*", trials: int = 0, *, retrain: bool = True) -> Plan:
    """Pin a ref to a commit and number the trials of its search.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    ref
        Branch, tag or commit.
    arrivals
        Pattern of the arrivals to learn from.
    trials
        Number of trials; 0 takes what the spec says.
    retrain
        Train also if the lake says that a model was registered from this commit.

    Returns
    -------
    Plan
        With status "trained" if there is nothing to do, or "empty" if the commit has no arrivals yet and `retrain` is false: another
        run is bringing in the first ones.

    Raises
    ------
    UsageError
        If the commit has no arrival of that pattern, or `trials` is negative.
    LakeNotFound
        If there is no such data set or ref.
    """
    started = time.time()
    if trials < 0:
        raise UsageError(f"{dataset}: {trials} trials can't be made. Give 1 or more, or 0 for what the spec says.")
    lake = open_lake(dataset)
    commit = lake.resolve(ref)
    spec = pinned_spec(lake, commit).spec
    known = [entry.path.removeprefix("clean/").removesuffix(".parquet") for entry in lake.ls(commit, "clean/")]
    if not known and not retrain:
        return Plan(commit, "empty", (), started)
    if not any(fnmatchcase(arrival, arrivals) for arrival in known):
        has = f"It has: {', '.join(known)}." if known else f"It has none: bring some with `lakeline run data --dataset {dataset}`."
        raise UsageError(f"{dataset}: no arrival matches {arrivals!r} at commit {commit[:10]}. {has}")
    trained = not retrain and any(name.startswith(MODEL_TAG) and at == commit for name, at in lake.tags().items())
    return Plan(commit, "trained" if trained else "train", tuple(range(trials or spec.search.trials)), started)
