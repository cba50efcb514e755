"""Build a registered version again from its lineage alone, and compare every metric to the last bit."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeline.errors import DataError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lakeline.data.spec import DatasetSpec
    from lakeline.registry import VersionInfo

_MOST_SHOWN = 5


@dataclass(frozen=True)
class Reproduction:
    """A version that was built again.

    Attributes
    ----------
    model, version, data_commit
        What was built again, and from which commit.
    metrics
        All that were compared, by name; they are those that were recorded.
    notes
        What is not as it was when the version was made, and yet made no difference.
    seconds
        How long it took.
    """

    model: str
    version: int
    data_commit: str
    metrics: dict[str, float]
    notes: list[str]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as JSON can hold it."""
        return asdict(self)


def reproduce(model: str, version: int) -> Reproduction:
    """Build a version again: split its commit, run its trial, fit, evaluate; then compare with what was recorded.

    Parameters
    ----------
    model
        Name of the model, which is that of its data set.
    version
        Number of the version.

    Returns
    -------
    Reproduction
        If every metric is the same, bit for bit: on the validation rows, on the training rows, and on the held-out rows
        overall and by slice.

    Raises
    ------
    DataError
        If a metric differs: says which, by how much, and what else is not as it was.
    RegistryError
        If there is no such version, it has no lineage, or the registry is out of reach.
    LakeNotFound
        If the lake does not have its commit.
    """
    from lakeline.data.specfile import pinned_spec
    from lakeline.lake import open_lake
    from lakeline.registry import version_info

    clock = time.perf_counter()
    info = version_info(model, version)
    lacks = [tag for tag in ("data_commit", "data_arrivals", "trial", "parameters") if tag not in info.tags]
    if lacks:
        raise RegistryError(f"{model} version {version} can't be built again: it was registered without {', '.join(lacks)}.")
    definition = pinned_spec(open_lake(model), info.data_commit)
    notes = _differences(info, definition.digest)
    with tempfile.TemporaryDirectory(prefix="lakeline-") as folder:
        now = _build(info, definition.spec, Path(folder))
    then = _recorded(info)
    compared = {name: value for name, value in then.items() if name in now}
    missing = sorted(set(now) ^ set(then))
    wrong = [f"{name} was {value!r} and is {now[name]!r}" for name, value in compared.items() if value != now[name]]
    wrong += [f"{name} is only {'here' if name in now else 'recorded'}" for name in missing]
    if wrong:
        more = f"; and {len(wrong) - _MOST_SHOWN} more" if len(wrong) > _MOST_SHOWN else ""
        why = f" What is not as it was then: {' '.join(notes)}" if notes else ""
        count = f"{len(wrong)} of {len(set(now) | set(then))} metrics differ"
        raise DataError(f"{model} version {version} is not reproduced: {count}: {'; '.join(wrong[:_MOST_SHOWN])}{more}.{why}")
    return Reproduction(model, version, info.data_commit, compared, notes, time.perf_counter() - clock)


def _differences(info: VersionInfo, digest: str) -> list[str]:
    from lakeline.lineage import code_version, image, packages

    pairs = [
        ("the digest of the spec", info.tags.get("spec_digest", digest), digest),
        ("the code", info.tags.get("code_version", ""), code_version()),
        ("the image", info.tags.get("image", ""), image()),
        ("the packages", info.tags.get("packages", packages()), packages()),
    ]
    return [f"{what} was {was or 'none'} and is {now or 'none'}." for what, was, now in pairs if was != now]


def _build(info: VersionInfo, spec: DatasetSpec, folder: Path) -> dict[str, float]:
    """Metrics of the version, built again in a folder."""
    from lakeline.data.split import split
    from lakeline.training.evaluate import compare
    from lakeline.training.fit import fit_best
    from lakeline.training.model import read_card
    from lakeline.training.search import try_out

    train, holdout, model = folder / "train.parquet", folder / "holdout.parquet", folder / "model"
    split(info.name, info.data_commit, info.tags["data_arrivals"], train, holdout)
    trial = try_out(spec, train, int(info.tags["trial"]), json.loads(info.tags["parameters"]))
    if trial.error:
        raise DataError(f"{info.name} version {info.version} is not reproduced: its trial fails: {trial.error}")
    fit_best(spec, info.data_commit, train, [trial], model)
    evaluation = compare(spec, model, holdout, None).to_dict()
    metrics = {f"validation_{name}": value for name, value in trial.metrics.items()}
    metrics |= {f"train_{name}": value for name, value in read_card(model).train.items()}
    return metrics | evaluation["candidate"] | _by_slice(evaluation)


def _recorded(info: VersionInfo) -> dict[str, float]:
    """Metrics that were recorded when the version was made, but those of the model that it was compared with."""
    from lakeline.registry.store import connect, speaking

    connect()
    with speaking():
        from mlflow.artifacts import load_dict

        evaluation = load_dict(f"runs:/{info.run_id}/evaluation.json")
    own = {name: value for name, value in info.metrics.items() if not name.startswith("production_")}
    return own | _by_slice(evaluation)


def _by_slice(evaluation: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"{name} of {each['slice']} {each['value']}": value for each in evaluation["slices"] for name, value in each["candidate"].items()
    }
