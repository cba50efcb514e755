"""Deployment: the version that has the alias `production` comes to serve, or what served stays.

A version that fails by its own fault (`VersionFailed`) loses the alias. Whatever else keeps it from serving is trouble of the place: the
alias stays, and the deployment is due until it has come to an end.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from lakeline.errors import (
    DeploymentUnderWay,
    LakelineError,
    LakeNotFound,
    RegistryError,
    RolloutFailed,
    UsageError,
    VersionFailed,
    describe,
)
from lakeline.registry.deployed import DEPLOYED_AT_TAG, end_deploying, example_of, record_deployed, record_deploying, standing, version_tags
from lakeline.registry.files import DIGEST_TAG, fetch_version
from lakeline.registry.moves import record_unrecorded, revert
from lakeline.registry.peek import PRODUCTION
from lakeline.serving.release import Release
from lakeline.serving.site import authorization, holder, open_site
from lakeline.serving.smoke import Smoke, smoke

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lakeline.data.servingspec import Serving
    from lakeline.registry.deployed import Standing
    from lakeline.serving.site import Site
    from lakeline.training.model import Example

__all__ = ["Wanted", "deploy", "preflight", "resolve"]

_LOOKS, _EVERY = 3, 2.0
"""Times that a version is tried which isn't reached at first, and seconds between: ways there may not all have heard of it yet."""


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
    release = replace(_release(model, found.production, found.tags), run=run, actor=found.actor)
    site = open_site()
    now = site.serving(model).get("production")
    if now is None or now.same_model != release.same_model or found.deployed != release.version or found.deploying is not None:
        return Wanted(release, "deploy")
    # Not what was wanted then, but what would be made now: a newer serving image is a reason too, and so is a Service that is gone.
    settled = site.settled(replace(release, route=now.route), serving_of(release))
    return Wanted(release, "serving" if settled else "deploy")


def _release(model: str, version: int, tags: Mapping[str, str]) -> Release:
    return Release(model, version, tags.get(DIGEST_TAG) or _digest(model, version), data_commit=tags.get("data_commit", ""))


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
    VersionFailed
        If it doesn't start, or doesn't answer as it should: says why. The alias is back then where it was; the version that was the
        last to serve keeps it.
    RolloutFailed
        If the place kept it from being tried: the alias stays.
    UsageError
        If the alias has moved on.
    DeploymentUnderWay
        If somebody else is deploying this model.
    """
    site, serving = open_site(), serving_of(release)
    with site.hold(release.model, holder(release.run, "deployment")):
        found = _standing(release)
        before = _before(site, release, found)
        rows = example_of(release.model, release.version)
        try:
            with site.trial(release, serving) as url:
                tried = _try(url, release, rows, serving)
                # A version that has served is the way back, whatever the one in its place was asked since.
                if tried.passed and before is not None and DEPLOYED_AT_TAG not in found.tags:
                    tried = _callers(url, release, before, serving, tried)
            tried.check("it was tried before it got any traffic: ")
        except DeploymentUnderWay:
            raise
        except VersionFailed as error:
            _refuse(site, release, before, found, str(error))
        except (LakelineError, OSError) as error:
            _leave(site, release, error, "Nothing was changed")
        return tried


def _refuse(site: Site, release: Release, before: Release | None, found: Standing, why: str) -> NoReturn:
    """Say why a version gets no traffic. One that was the last to serve keeps the alias: nothing is a better way back than it is."""
    if found.deployed == release.version:
        _failing(site, release, f"fails its tries: {why} Nothing was changed, and it keeps the alias.")
    _take_back(site, release, before, why)


def _failing(site: Site, release: Release, what: str) -> NoReturn:
    message = f"version {release.version}, which has served before, {what}"
    _tell(site, release.model, "Failing", message)
    raise VersionFailed(f"{release.model}: {message}")


def _leave(site: Site, release: Release, error: Exception, serves: str) -> NoReturn:
    """Say what kept a release from serving for which the version can't be blamed, that the alias stays, and how it goes on."""
    why, command = describe(error).rstrip("."), "run" if site.name == "local" else "submit"
    message = (
        f"version {release.version} is not deployed, through no fault of its own: {why}. {serves}; the alias stays at version "
        f"{release.version}, and the next deployment tries again: lakeline {command} deployment --dataset {release.model}"
    )
    _tell(site, release.model, "NotDeployed", message)
    raise RolloutFailed(f"{release.model}: {message}") from error


def _tell(site: Site, model: str, reason: str, message: str, *, warning: bool = True) -> None:
    with contextlib.suppress(LakelineError):  # who asked is told all the same
        site.tell(model, reason, message, warning=warning)


def _callers(url: str, release: Release, before: Release, serving: Serving, tried: Smoke) -> Smoke:
    """Try what callers of the version that serves send; what is predicted is the new version's own affair."""
    rows = example_of(before.model, before.version)
    if rows is None:
        return tried
    asked = smoke(url, authorization(release.model), release, replace(rows, predictions=[]), serving)
    if asked.passed:
        return tried
    whose = f"callers of version {before.version} would not be served: "
    return replace(asked, reasons=[whose + " ".join(asked.reasons)] if asked.reasons else [])


def deploy(release: Release) -> Smoke:
    """Have a release serve, and try it where callers reach it; if it fails, what served before does so again.

    Parameters
    ----------
    release
        From `resolve`.

    Raises
    ------
    VersionFailed
        If it was rolled back: says why. The alias is back then where it was.
    RolloutFailed
        If the place kept it from serving, and what served before goes on: the alias stays.
    UsageError
        If the alias has moved on.
    DeploymentUnderWay
        If somebody else is deploying this model.
    RegistryError
        If the registry is out of reach: before anything is changed, or where only the record is missing.
    """
    site, serving = open_site(), serving_of(release)
    with site.hold(release.model, holder(release.run, "deployment")):
        found = _standing(release)
        before = _before(site, release, found)
        rows = example_of(release.model, release.version)
        back = None if before is None else serving_of(before)
        record_unrecorded(release.model, release.version, None if before is None else before.version)
        record_deploying(release.model, release.version)
        now = site.serving(release.model).get("production")
        release = replace(release, route=now.route if now else None)
        try:
            site.roll_out(release, serving)
            tried = _try_in_place(site, release, rows, serving)
            tried.check()
        except DeploymentUnderWay:  # who has taken over decides what serves
            raise
        except VersionFailed as error:
            _roll_back(site, release, before, back, found, str(error))
        except Exception as error:
            by_hand = now is not None and now.same_model == release.same_model and found.deploying is None
            served, how = (release, serving) if found.deployed == release.version or by_hand else (before, back)
            serves = _stay(site, release, served, how)
            if not isinstance(error, (LakelineError, OSError)):
                raise
            _leave(site, release, error, serves)
        record_deployed(release.model, release.version, release.run, release.actor)
    said = f"Version {release.version} serves: {tried.requests} requests answered, p99 {tried.p99:.0f} ms."
    _tell(site, release.model, "Deployed", said, warning=False)
    return tried


def _standing(release: Release) -> Standing:
    """Where the model stands, if the alias still stands at the release."""
    found = standing(release.model)
    if found.production != release.version:
        raise UsageError(f"{release.model}: the alias {PRODUCTION!r} has moved on from version {release.version}. Nothing was changed.")
    return found


def _stay(site: Site, release: Release, served: Release | None, serving: Serving | None) -> str:
    """Have what served go on in place of a release that the place kept from serving, and say what serves."""
    missing = ""
    try:
        if served is not None and serving is not None:
            site.go_back(replace(served, route=release.route), serving)
        else:  # never seen to serve: it is not to come up later, untried
            site.withdraw(release.model, "production")
    except DeploymentUnderWay:
        raise
    except (LakelineError, OSError) as error:
        missing = describe(error)
    if served is not release and not missing:
        with contextlib.suppress(LakelineError):  # the deployment is due, whether that is recorded or not
            end_deploying(release.model)
    said = _serves(site, release.model, None if served is None else served.version, missing)
    return said[0].upper() + said[1:]


def _roll_back(site: Site, release: Release, before: Release | None, serving: Serving | None, found: Standing, why: str) -> NoReturn:
    """Have what served before serve again, as its own spec says."""
    missing = ""
    if before is not None and serving is not None:
        try:
            site.go_back(replace(before, route=release.route), serving)
        except DeploymentUnderWay:
            raise
        except (LakelineError, OSError) as error:
            missing = describe(error)
    elif found.deployed == release.version:
        _failing(site, release, f"fails its tries, and there is no other to go back to: {why}")
    else:
        with contextlib.suppress(LakelineError):  # what failed loses the alias, whether it can be ended now or not
            site.withdraw(release.model, "production")
    _take_back(site, release, before, why, missing, rolled_out=True)


def _take_back(site: Site, release: Release, before: Release | None, why: str, missing: str = "", *, rolled_out: bool = False) -> NoReturn:
    """Move the alias back to what served before, and say why: in the registry, where the model is served, and in the run."""
    target = None if before is None else before.version
    try:
        stands = revert(release.model, release.version, target, why, release.actor)
        if rolled_out and not missing:
            end_deploying(release.model)
    except RegistryError as error:
        said = f"{release.model} version {release.version} has failed: {why} The alias could not be moved back: {error}"
        raise RegistryError(said) from error
    serves = _serves(site, release.model, target, missing)
    alias = "" if target is None or stands != target else ". It has the alias again" if missing else " and has the alias again"
    if stands not in (target, None):
        alias = f", and the alias has moved on to version {stands}"
    _tell(site, release.model, "RolledBack", f"version {release.version}: {why} Now {serves}{alias}.")
    raise VersionFailed(f"{release.model} version {release.version} was rolled back: {why} Now {serves}{alias}.")


def _serves(site: Site, model: str, target: int | None, missing: str) -> str:
    """Say what serves, as far as that can be seen."""
    if missing:
        return f"{'nothing' if target is None else f'version {target}'} is to serve again, but does not yet: {missing.rstrip('.')}"
    if target is None:
        return "nothing serves"
    try:
        now = site.serving(model).get("production")
    except LakelineError as error:
        return f"version {target} is to serve again; whether it does isn't known: {describe(error).rstrip('.')}"
    return f"version {target} serves" if now is not None and now.version == target else f"version {target} is to serve again"


def _try_in_place(site: Site, release: Release, example: Example | None, serving: Serving) -> Smoke:
    """Try a release where callers reach it, again where another answered for it or nobody did."""
    for _ in range(_LOOKS - 1):
        tried = _try(site.url(release.model), release, example, serving)
        if not tried.trouble:
            return tried
        time.sleep(_EVERY)
    return _try(site.url(release.model), release, example, serving)


def _try(url: str, release: Release, example: Example | None, serving: Serving) -> Smoke:
    if example is None:
        return Smoke(0, 0, 0.0, 0.0, [])
    return smoke(url, authorization(release.model), release, example, serving)


def _before(site: Site, release: Release, found: Standing) -> Release | None:
    """What served before, as was recorded: what is rolled out may be what an interrupted deployment has left untried."""
    now = site.serving(release.model).get("production")
    by_hand = found.deployed is None and found.deploying in (None, release.version)  # `lakeline serve` records nothing
    if now is not None and now.version != release.version and (by_hand or now.version == found.deployed):
        return replace(now, route=None)
    last = found.previous if found.deployed == release.version else found.deployed
    if last is None or last == release.version:
        return None
    tags = version_tags(release.model, last)
    if last != found.deployed and DEPLOYED_AT_TAG not in tags:  # `previous` may be a version that never came to serve
        return None
    return _release(release.model, last, tags)


def serving_of(release: Release) -> Serving:
    """How a model is served, as the spec of the commit says that it learned from; the defaults for a model made elsewhere."""
    from lakeline.data.servingspec import Serving
    from lakeline.data.specfile import pinned_spec
    from lakeline.lake import CommitId, open_lake

    if not release.data_commit:
        return Serving()
    try:
        lake = open_lake(release.model)
        return pinned_spec(lake, lake.resolve(CommitId(release.data_commit))).spec.serving
    except LakeNotFound:  # a registry that has seen another lake
        return Serving()
