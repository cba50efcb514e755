"""Versions of a data set's model, and what the registry knows of each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from lakeline.errors import RegistryError
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel
    from mlflow.store.entities import PagedList

T = TypeVar("T")

LINEAGE = ("data_commit", "data_arrivals", "spec_digest", "split", "code_version", "image", "pipeline_run", "seed")
"""Tags of a run and of a version that say where it comes from."""

BEGUN = "begun_by"
"""Tag of a version and of its MLflow run: pipeline runs that were killed before another one took it over."""

FAILED_TRIALS = "failed_trials"
"""Tag of a version: how many trials of its search failed, and why."""

_PAGE = 1000
"""The most that one search for models may find."""


@dataclass(frozen=True)
class VersionInfo:
    """A version of a model.

    Attributes
    ----------
    name, version
        Name of the model, which is that of its data set, and number of the version.
    aliases
        Where it stands: `staging`, `production`, `previous`.
    metrics
        On the held-out rows (`rmse`, ...; `production_rmse`, ... of the model that it was compared with) and others.
    data_commit, lineage, tags
        Where it comes from (the commit, all that says so), and all that was recorded.
    verdict, reasons
        `promoted`, `held` or None if no gate has judged it yet; and why.
    created, started
        When it was registered, and when its run began, in seconds since 1970.
    run_id
        Id of its MLflow run.
    failed_trials
        How many trials of its search failed, and why; None if none did.
    """

    name: str
    version: int
    aliases: list[str]
    metrics: dict[str, float]
    data_commit: str
    lineage: dict[str, str]
    verdict: str | None
    reasons: list[str]
    created: float
    started: float
    run_id: str
    failed_trials: str | None
    tags: dict[str, str]

    @property
    def runs(self) -> list[str]:
        """Ids of the pipeline runs that made it: more than one if it was taken over from one that was killed."""
        return [self.lineage.get("pipeline_run", ""), *self.tags.get(BEGUN, "").split(",")]

    def to_dict(self) -> dict[str, Any]:
        """Give what a client reads, as JSON can hold it."""
        hidden = {"tags", "started"}
        return {name: value for name, value in vars(self).items() if name not in hidden}

    def log_report(self, path: Path) -> None:
        """Keep a run's report among the artifacts of its MLflow run.

        Raises
        ------
        RegistryError
            If the registry is out of reach.
        """
        from lakeline.registry.store import connect, speaking

        client = connect()
        with speaking():
            client.log_text(self.run_id, path.read_text(encoding="utf-8"), "report.html")


def registered_model(client: MlflowClient, name: str) -> RegisteredModel | None:
    """Find a model, or None.

    It is searched for: of one that isn't there, a server that asks for passwords says that permission is denied.
    """
    found = client.search_registered_models(f"name = '{name}'", max_results=1)
    return found[0] if found else None


def all_versions(client: MlflowClient, name: str | None = None) -> list[ModelVersion]:
    """Versions of a model, or of all."""
    return list(pages(client.search_model_versions, f"name = '{name}'" if name else None))


def pages(search: Callable[..., PagedList[T]], filter_string: str | None = None) -> Iterator[T]:
    """All that a search finds, over as many pages as that takes."""
    token = None
    while True:
        page = search(filter_string, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def version_by_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """Version that an alias stands at, or None."""
    found = registered_model(client, name)
    version = found.aliases.get(alias) if found else None
    return None if version is None else client.get_model_version(name, str(version))


def version_info(dataset: str, version: int) -> VersionInfo:
    """Tell of one version.

    Raises
    ------
    RegistryError
        If there is no such version: says which there are. If the registry is out of reach.
    """
    found = models(dataset)
    for info in found:
        if info.version == version:
            return info
    there = f"It has: {', '.join(str(info.version) for info in found)}." if found else "There is no model of that name."
    raise RegistryError(f"{dataset}: there is no version {version} in the registry. {there} See: lakeline models")


def models(name: str | None = None) -> list[VersionInfo]:
    """Tell of all versions of a model, or of all models, by name and version, oldest first.

    Raises
    ------
    RegistryError
        If the registry is out of reach.
    """
    from lakeline.registry.peek import sqlite_path
    from lakeline.registry.store import connect, speaking

    path = sqlite_path(get_settings().mlflow_uri)
    if path is not None and not path.exists():
        return []
    client = connect()
    with speaking():
        aliases: dict[tuple[str, str], list[str]] = {}
        for model in pages(client.search_registered_models):
            for alias, version in model.aliases.items():
                aliases.setdefault((model.name, str(version)), []).append(alias)
        infos = [_info(client, version, aliases.get((version.name, str(version.version)), [])) for version in all_versions(client, name)]
    return sorted(infos, key=lambda info: (info.name, info.version))


def _info(client: MlflowClient, version: ModelVersion, aliases: list[str]) -> VersionInfo:
    from mlflow.exceptions import MlflowException

    tags = dict(version.tags)
    created = version.creation_timestamp / 1000
    values: dict[str, float] = {}
    started = created
    try:
        run = client.get_run(str(version.run_id))
        values, started = dict(run.data.metrics), run.info.start_time / 1000
    except MlflowException as error:  # a run may have been deleted; its version is still there
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    return VersionInfo(
        name=version.name,
        version=int(version.version),
        aliases=sorted(aliases),
        metrics=values,
        data_commit=tags.get("data_commit", ""),
        lineage={key: tags[key] for key in LINEAGE if key in tags},
        verdict=tags.get("verdict"),
        reasons=json.loads(tags["verdict_reasons"]) if "verdict_reasons" in tags else [],
        created=created,
        started=started,
        run_id=str(version.run_id),
        failed_trials=tags.get(FAILED_TRIALS),
        tags=tags,
    )
