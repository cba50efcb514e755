"""Waits until pods serve, and ends early where one says that it never will."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lakeline.errors import RolloutFailed, VersionFailed
from lakeline.serving.rollout import health, names, objects

if TYPE_CHECKING:
    from collections.abc import Callable

    from lakeline.serving.release import Release, Variant
    from lakeline.serving.rollout.api import Api, Object

EVERY = 1.0
HEARD = 1.0
"""Seconds that nodes and gateways may take to hear of a change of a Service's pods."""


def rolled_out(
    api: Api, release: Release, rollout: str, least: int, deadline: float, check: Callable[[], None], lacking: Callable[[str], None]
) -> None:
    """Wait until a release's pods serve in place of all others.

    Parameters
    ----------
    rollout
        Label of their template.
    least
        How many there must be.
    deadline
        Seconds.
    check
        Raises when we may not go on.
    lacking
        Called at each look with what it waits for, while that is room for a pod.

    Raises
    ------
    VersionFailed
        If a pod can't come up by the version's fault, or has run and isn't ready when the time is over: says why.
    RolloutFailed
        If it can't for another reason.
    """
    name, end = names.own(release.model, release.variant), time.monotonic() + deadline
    while True:
        check()
        found = api.get("Deployment", name)
        if found is None:
            raise _failed(release, f"somebody has removed its Deployment {name}")
        pods = _pods(api, release, rollout)
        if _complete(found, least) and _alone(api, release.model, release.variant, pods):
            time.sleep(HEARD)
            return
        _give_up(api, release, pods, found, deadline, over=time.monotonic() > end)
        scarce = [each.why for each in map(health.trouble, pods) if each and each.room] or [health.refused(found)]
        if scarce[0]:
            lacking(scarce[0])
        time.sleep(EVERY)


def serves(api: Api, release: Release, deployment: Object, least: int) -> bool:
    """Whether a release's pods serve, at least so many of them, and no others do; whatever number the autoscaler is about to make it."""
    status = deployment.get("status", {})
    return (
        status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        and status.get("updatedReplicas", 0) == status.get("replicas", 0)
        and status.get("availableReplicas", 0) >= least
        and _alone(api, release.model, release.variant, _pods(api, release, objects.rollout_of(deployment)))
    )


def started(api: Api, release: Release, pod: str, deadline: float, check: Callable[[], None], lacking: Callable[[str], None]) -> str:
    """Wait until a pod on its own serves; its address. Parameters and errors are those of `rolled_out`."""
    end = time.monotonic() + deadline
    while True:
        check()
        found = api.get("Pod", pod)
        if found is None:
            raise _failed(release, f"somebody has removed pod {pod}")
        if health.ready(found):
            ip = found["status"]["podIP"]
            return f"http://{f'[{ip}]' if ':' in ip else ip}:{names.PORT}"
        _give_up(api, release, [found], None, deadline, over=time.monotonic() > end)
        scarce = health.trouble(found)
        if scarce and scarce.room:
            lacking(scarce.why)
        time.sleep(EVERY)


def _complete(deployment: Object, least: int) -> bool:
    status, wanted = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    return (
        status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        and wanted >= least
        and status.get("updatedReplicas", 0) >= wanted
        and status.get("replicas", 0) <= status.get("updatedReplicas", 0)
        and status.get("availableReplicas", 0) >= wanted
    )


def _pods(api: Api, release: Release, rollout: str) -> list[Object]:
    own = api.find("Pod", names.selector(release.model, release.variant) | {names.ROLLOUT: rollout})
    return [pod for pod in own if "deletionTimestamp" not in pod["metadata"]]  # those that end may be of the last time it served


def _alone(api: Api, model: str, variant: Variant, pods: list[Object]) -> bool:
    """Whether requests for the variant go to these pods and no others."""
    slices = api.find("EndpointSlice", {"kubernetes.io/service-name": names.own(model, variant)})
    behind = {
        end["targetRef"]["name"]
        for each in slices
        for end in each.get("endpoints") or []
        if end.get("conditions", {}).get("ready") and "targetRef" in end
    }
    return bool(behind) and behind <= {pod["metadata"]["name"] for pod in pods}


def _give_up(api: Api, release: Release, pods: list[Object], deployment: Object | None, deadline: float, *, over: bool) -> None:
    """Raise if one of a release's pods never comes up, or the time is over."""
    now = api.now()
    for found in filter(None, (health.final(pod, now) for pod in pods)):
        raise _failed(release, found.why, own=found.own)
    if not over:
        return
    late = [found for found in (health.late(pod, now, deadline) for pod in pods) if found]
    refused = health.refused(deployment) if deployment else None
    said = [found.why for found in late] or [refused or ("others still answer in their place" if pods else "it has no pod")]
    ready = sum(map(health.ready, pods))
    why = f"not ready after {deadline:.0f} s ({ready} of {len(pods)} pods are): {'; '.join(dict.fromkeys(said))}"
    raise _failed(release, why, own=any(found.own for found in late))


def _failed(release: Release, why: str, *, own: bool = False) -> RolloutFailed:
    kind = VersionFailed if own else RolloutFailed
    return kind(f"{release.model} version {release.version} doesn't come up as {release.variant}: {why}")
