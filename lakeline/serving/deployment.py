"""Deployment: the version that has the alias `production` comes to serve, or what served stays and the alias goes back."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from lakeline.errors import LakeNotFound, RolloutFailed, UsageError
from lakeline.registry.deployed import example_of, record_deployed, standing, version_tags
from lakeline.registry.files import DIGEST_TAG, fetch_version
from lakeline.registry.peek import PRODUCTION
from lakeline.serving.release import Release
from lakeline.serving.site import authorization, open_site
from lakeline.serving.smoke import Smoke, smoke

if TYPE_CHECKING:
    from lakeline.data.servingspec import Serving
    from lakeline.serving.site import Site

__all__ = ["Wanted", "deploy", "preflight", "resolve"]


@dataclass(frozen=True)
class Wanted:
    """What is to be served, and whether anything has to be done for it: `deploy`, or `serving` if it does already."""

    release: Release
    status: Literal["deploy", "serving"]


def resolve(model: str, version: int = 0, run: str = "") -> Wanted:
    """Pin what the alias `production` says to a version and the digest of its files.

    Parameters
    ----------
    model
        Its name.
    version
        Version that the alias is thought to stand at; 0: whichever it is.
    run
        Id of the pipeline run.

    Raises
    ------
    UsageError
        If the alias stands nowhere, or at another version.
    RegistryError
        If the registry is out of reach, or the version's files are not those that were registered.
    """
    found = standing(model)
    if found.production is None:
        raise UsageError(f"{model}: no version has the alias {PRODUCTION!r}, so there is nothing to deploy. See: lakeline models {model}")
    if version not in (0, found.production):
        raise UsageError(f"{model}: the alias {PRODUCTION!r} stands at version {found.production}, not {version}: it has moved on.")
    tags = found.tags
    digest = tags.get(DIGEST_TAG) or _digest(model, found.production)
    release = Release(model, found.production, digest, data_commit=tags.get("data_commit", ""), run=run, actor=found.actor)
    now = open_site().serving(model).get("production")
    done = now is not None and now.same_model == release.same_model and found.deployed == release.version
    return Wanted(release, "serving" if done else "deploy")


def _digest(model: str, version: int) -> str:
    with tempfile.TemporaryDirectory(prefix="lakeline-") as folder:
        return fetch_version(model, version, Path(folder))


def preflight(release: Release) -> Smoke:
    """Start a server of a release apart from all traffic, and try it; a version that fails loses the alias.

    It is tried with its own example, whose predictions are known, and with that of the version that serves: who calls that one
    must be answered by this one too.

    Parameters
    ----------
    release
        From `resolve`.

    Raises
    ------
    RolloutFailed
        If it doesn't start, or doesn't answer as it should: says why. The alias is back then where it was.
    """
    site, serving = open_site(), serving_of(release)
    before = _before(site, release)
    try:
        with site.trial(release, serving) as url:
            tried = _try(url, release, serving)
            if tried.passed and before is not None:
                tried = _callers(url, release, before, serving, tried)
    except RolloutFailed as error:
        _take_back(site, release, before, str(error))
    if not tried.passed:
        _take_back(site, release, before, f"it was tried before it got any traffic: {' '.join(tried.reasons)}")
    return tried


def _callers(url: str, release: Release, before: Release, serving: Serving, tried: Smoke) -> Smoke:
    """Try what callers of the version that serves send; what is predicted is the new version's own affair."""
    rows = example_of(before.model, before.version)
    if rows is None:
        return tried
    asked = smoke(url, authorization(), release, replace(rows, predictions=[]), serving)
    if asked.passed:
        return tried
    return replace(asked, reasons=[f"callers of version {before.version} would not be served: {' '.join(asked.reasons)}"])


def deploy(release: Release) -> Smoke:
    """Have a release serve, and try it where callers reach it; if it fails, what served before does so again.

    Parameters
    ----------
    release
        From `resolve`.

    Raises
    ------
    RolloutFailed
        If it was rolled back, or the alias has moved on: says why.
    DeploymentUnderWay
        If somebody else is deploying this model.
    """
    site, serving = open_site(), serving_of(release)
    with site.hold(release.model, release.run or release.actor):
        if standing(release.model).production != release.version:
            raise RolloutFailed(
                f"{release.model}: the alias {PRODUCTION!r} has moved on from version {release.version}. Nothing was changed."
            )
        now = site.serving(release.model).get("production")
        before = _before(site, release)
        release = replace(release, route=now.route if now else None)
        try:
            site.roll_out(release, serving)
            tried = _try(site.url(release.model), release, serving)
        except RolloutFailed as error:
            _roll_back(site, release, before, serving, str(error))
        if not tried.passed:
            _roll_back(site, release, before, serving, " ".join(tried.reasons))
        record_deployed(release.model, release.version, release.run, release.actor)
    site.tell(release.model, "Deployed", f"Version {release.version} serves: {tried.requests} requests answered, p99 {tried.p99:.0f} ms.")
    return tried


def _roll_back(site: Site, release: Release, before: Release | None, serving: Serving, why: str) -> NoReturn:
    if before is not None:
        try:
            site.roll_out(replace(before, route=release.route), serving)
        except RolloutFailed as error:
            why = f"{why} Bringing version {before.version} back isn't done yet: {error}"
    elif standing(release.model).deployed == release.version:
        message = f"version {release.version}, which has served before, fails its tries, and there is no other to go back to: {why}"
        site.tell(release.model, "Failing", message, warning=True)
        raise RolloutFailed(f"{release.model}: {message}")
    else:
        site.withdraw(release.model, "production")
    _take_back(site, release, before, why)


def _take_back(site: Site, release: Release, before: Release | None, why: str) -> NoReturn:
    """Move the alias back to what serves, and say why: in the registry, where the model is served, and in the run."""
    from lakeline.registry.moves import revert

    target = None if before is None else before.version
    revert(release.model, release.version, target, why, release.actor)
    serves = "nothing serves" if target is None else f"version {target} serves and has the alias again"
    site.tell(release.model, "RolledBack", f"version {release.version}: {why} Now {serves}.", warning=True)
    raise RolloutFailed(f"{release.model} version {release.version} was rolled back: {why} Now {serves}.")


def _try(url: str, release: Release, serving: Serving) -> Smoke:
    example = example_of(release.model, release.version)
    if example is None:
        return Smoke(0, 0, 0.0, 0.0, [])
    return smoke(url, authorization(), release, example, serving)


def _before(site: Site, release: Release) -> Release | None:
    """What served before: also where a try that was interrupted has begun to replace it."""
    now = site.serving(release.model).get("production")
    if now is not None and now.version != release.version:
        return replace(now, route=None)
    found = standing(release.model)
    last = found.previous if found.deployed == release.version else found.deployed
    if last is None or last == release.version:
        return None
    tags = version_tags(release.model, last)
    return Release(release.model, last, tags.get(DIGEST_TAG) or _digest(release.model, last), data_commit=tags.get("data_commit", ""))


def serving_of(release: Release) -> Serving:
    """How a model is served, as the spec of the commit says that it learned from; the defaults for a model made elsewhere."""
    from lakeline.data.servingspec import Serving
    from lakeline.data.specfile import pinned_spec
    from lakeline.lake import CommitId, open_lake

    if not release.data_commit:
        return Serving()
    try:
        return pinned_spec(open_lake(release.model), CommitId(release.data_commit)).spec.serving
    except LakeNotFound:
        return Serving()
