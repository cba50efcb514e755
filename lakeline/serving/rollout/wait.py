"""Waits until pods serve, and ends early where one says that it never will."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lakeline.errors import RolloutFailed
from lakeline.serving.rollout import health, names, objects

if TYPE_CHECKING:
    from collections.abc import Callable

    from lakeline.serving.release import Release, Variant
    from lakeline.serving.rollout.api import Api, Object

EVERY = 1.0
HEARD = 1.0
"""Seconds that nodes and gateways may take to hear of a change of a Service's pods."""


def rolled_out(api: Api, release: Release, rollout: str, least: int, deadline: float, check: Callable[[], None]) -> None:
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

    Raises
    ------
    RolloutFailed
        If a pod can't come up, or the time is over: says why.
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
        why = next(filter(None, (health.final(pod, api.now()) for pod in pods)), None)
        if why:
            raise _failed(release, why)
        if time.monotonic() > end:
            raise _failed(release, _late(found, pods, deadline))
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


def started(api: Api, release: Release, pod: str, deadline: float, check: Callable[[], None]) -> str:
    """Wait until a pod on its own serves; its address.

    Raises
    ------
    RolloutFailed
        If it can't come up, or the time is over: says why.
    """
    end = time.monotonic() + deadline
    while True:
        check()
        found = api.get("Pod", pod)
        if found is None:
            raise _failed(release, f"somebody has removed pod {pod}")
        if health.ready(found):
            ip = found["status"]["podIP"]
            return f"http://{f'[{ip}]' if ':' in ip else ip}:{names.PORT}"
        why = health.final(found, api.now())
        if why:
            raise _failed(release, why)
        if time.monotonic() > end:
            raise _failed(release, _late(None, [found], deadline))
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


def _late(deployment: Object | None, pods: list[Object], deadline: float) -> str:
    said = [found.why for found in map(health.trouble, pods) if found]
    if not said and deployment:
        said = list(filter(None, [health.refused(deployment)]))
    ready = sum(map(health.ready, pods))
    reason = "; ".join(dict.fromkeys(said)) or "its server runs, but doesn't say that it is ready" if pods or said else "it has no pod"
    return f"not ready after {deadline:.0f} s ({ready} of {len(pods)} pods are): {reason}"


def _failed(release: Release, why: str) -> RolloutFailed:
    return RolloutFailed(f"{release.model} version {release.version} doesn't come up as {release.variant}: {why}")
