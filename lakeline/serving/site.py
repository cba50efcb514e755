"""Where releases run: one interface, two places (processes on this machine, Kubernetes)."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from lakeline.lineage import person
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from lakeline.data.servingspec import Serving
    from lakeline.serving.release import Release, Variant


class Site(Protocol):
    """Where releases run. All methods can be called again after an interrupt, and come to the same end."""

    name: str
    """"local" or "kubernetes"."""

    def serving(self, model: str) -> Mapping[Variant, Release]:
        """Releases that are rolled out, by variant: what should serve, ready or not; empty if nothing does."""
        ...

    def url(self, model: str, variant: Variant | None = None) -> str:
        """Address that callers use (None), or that one variant alone answers at; without a slash at its end."""
        ...

    def hold(self, model: str, holder: str) -> AbstractContextManager[None]:
        """Keep everyone else from changing what serves a model, until left; the same holder may come back after a crash.

        Raises
        ------
        DeploymentUnderWay
            If somebody else holds it: says who, and since when.
        """
        ...

    def trial(self, release: Release, serving: Serving) -> AbstractContextManager[str]:
        """Start one server of a release apart from all traffic, and give its address; it ends when left.

        Raises
        ------
        VersionFailed
            If it doesn't become ready by its own fault: says why, in the server's own words.
        RolloutFailed, ServingError, RegistryError
            If it doesn't, and the version isn't known to be at fault.
        """
        ...

    def roll_out(self, release: Release, serving: Serving) -> None:
        """Have a release serve as its variant, in place of what does; no request is dropped.

        Raises
        ------
        VersionFailed
            If it isn't ready within `serving.deadline` by its own fault: says why. What served before still does, but the release is
            still wanted: go back to what shall serve instead, or withdraw it.
        RolloutFailed, ServingError, RegistryError
            If it isn't, and the version isn't known to be at fault: port, disk, memory, room, network, a store.
        """
        ...

    def go_back(self, release: Release, serving: Serving) -> None:
        """Have a release serve that did before, in place of one that failed.

        Of its servers, those that still serve are left as they are, whatever the settings say now. What failed makes room for the others.
        Raises as `roll_out` does.
        """
        ...

    def settled(self, release: Release, serving: Serving) -> bool:
        """Whether rolling a release out would change nothing: what is there is as it would make it, and serves.

        That is the release with its route, as the settings of here and now have it served. Who released it doesn't matter.
        """
        ...

    def withdraw(self, model: str, variant: Variant) -> None:
        """Serve a variant no longer; requests under way are answered."""
        ...

    def share(self, model: str, weight: float | None) -> None:
        """Share requests without a key out between the variants, `weight` to the challenger; None: all to production."""
        ...

    def tell(self, model: str, reason: str, message: str, *, warning: bool = False) -> None:
        """Tell whoever watches this place: an event of the Deployment, or a line of the local server's log.

        Parameters
        ----------
        reason
            In CamelCase, such as `RolledBack`.
        """
        ...


def open_site() -> Site:
    """Place that the settings name (LAKELINE_SERVING)."""
    if get_settings().serving == "kubernetes":
        from lakeline.serving.rollout.site import KubernetesSite

        return KubernetesSite()
    from lakeline.serving.local.site import LocalSite

    return LocalSite()


def holder(run: str, what: str) -> str:
    """Name to hold a model by: a run's tries are one holder, and two commands of one person are two.

    Parameters
    ----------
    run
        Id of the pipeline run; empty for a command.
    what
        What is being done, such as `deployment`.
    """
    return run or f"{what} of {person()} ({platform.node()}, process {os.getpid()})"


def authorization(model: str | None = None) -> dict[str, str]:
    """Header by which servers know us: LAKELINE_SERVING_TOKEN; empty where that isn't set.

    Parameters
    ----------
    model
        Whose servers are asked, if they are ours: on this machine they go on asking for the token that they were started with,
        whoever swaps a version for another. Not for an address that somebody names: it would be told the token.
    """
    settings = get_settings()
    token = settings.serving_token.get_secret_value() if settings.serving_token else None
    if token is None and model and settings.serving == "local":
        from lakeline.serving.local.folder import TOKEN, Folder

        token = Folder(model).read().place.get(TOKEN)
    return {"Authorization": f"Bearer {token}"} if token else {}
