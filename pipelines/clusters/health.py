"""Waits until what was deployed runs, and says of what doesn't, why."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.clusters import kubectl as k

_WORKLOADS = "deployments.apps,statefulsets.apps"
_CUSTOM = ("eventbus.argoproj.io", "eventsources.argoproj.io", "sensors.argoproj.io")
_EVERY = 3.0  # seconds
_LAST_LINES = 3


@dataclass(frozen=True)
class Workload:
    """A Deployment, a StatefulSet, or one of Argo Events' objects, and whether it is as it should be."""

    namespace: str
    kind: str
    name: str
    ready: bool
    said: str = ""

    def __str__(self) -> str:
        """As kubectl would name it."""
        return f"{self.namespace}/{self.name}"


def wait(namespaces: Sequence[str], timeout: float, say: Callable[[str], None]) -> list[Workload]:
    """Wait until every workload of the namespaces is healthy.

    Parameters
    ----------
    namespaces
        Where to look.
    timeout
        Seconds to wait.
    say
        Is told of each workload when it becomes healthy.

    Returns
    -------
    list of Workload
        All of them.

    Raises
    ------
    ClusterError
        If the time is over: says which are not healthy, and what their pods say.
    """
    end = time.monotonic() + timeout
    seen: set[str] = set()
    while True:
        found = look(namespaces)
        for workload in found:
            if workload.ready and str(workload) not in seen:
                seen.add(str(workload))
                say(f"{workload} is ready")
        waiting = [workload for workload in found if not workload.ready]
        if found and not waiting:
            return found
        if time.monotonic() > end:
            reasons = "\n".join(f"  {workload}: {why(workload)}" for workload in waiting) or "  nothing runs there"
            raise k.ClusterError(
                f"not healthy after {timeout:.0f} s:\n{reasons}\nCorrect that and run the same command again; it goes on from here."
            )
        time.sleep(_EVERY)


def look(namespaces: Sequence[str]) -> list[Workload]:
    """Workloads of the namespaces as they are now."""
    found: list[Workload] = []
    for namespace in namespaces:
        found += [_workload(item) for item in k.get(_WORKLOADS, namespace)]
        for kind in _CUSTOM:
            found += [_custom(item) for item in k.get(kind, namespace)]
    return found


def why(workload: Workload) -> str:
    """Why a workload isn't healthy: the reason that one of its pods gives, and the last lines of its log."""
    pods = [pod for pod in k.get("pods", workload.namespace) if _belongs(pod, workload)]
    for pod in pods:
        reason = _pod_reason(pod)
        if reason:
            return f"pod {pod['metadata']['name']}: {reason}"
    if not pods and workload.kind in {"Deployment", "StatefulSet"}:
        events = k.get("events", workload.namespace, "--sort-by=.lastTimestamp")
        told = [
            event["message"] for event in events if event["type"] == "Warning" and event["involvedObject"]["name"].startswith(workload.name)
        ]
        return f"it has no pod{': ' + told[-1] if told else ''}"
    return workload.said or "its pods run, but are not ready"


def _workload(item: dict[str, Any]) -> Workload:
    status, wanted = item.get("status", {}), item["spec"].get("replicas", 1)
    current = status.get("observedGeneration", 0) >= item["metadata"]["generation"]
    updated = status.get("updatedReplicas", 0) >= wanted and status.get("replicas", 0) <= max(wanted, status.get("updatedReplicas", 0))
    ready = status.get("readyReplicas", 0)
    said = f"{ready} of {wanted} pods are ready"
    metadata = item["metadata"]
    return Workload(metadata["namespace"], item["kind"], metadata["name"], not wanted or (current and updated and ready >= wanted), said)


def _custom(item: dict[str, Any]) -> Workload:
    conditions = item.get("status", {}).get("conditions") or []
    bad = next((condition for condition in conditions if condition.get("status") != "True"), None)
    said = f"{bad.get('type')}: {bad.get('message') or bad.get('reason') or 'not yet'}" if bad else "Argo Events has not looked at it yet"
    name = f"{item['kind'].lower()}/{item['metadata']['name']}"
    return Workload(item["metadata"]["namespace"], item["kind"], name, bool(conditions) and not bad, said)


def _belongs(pod: dict[str, Any], workload: Workload) -> bool:
    owners = pod["metadata"].get("ownerReferences") or []
    name = workload.name.rpartition("/")[2]
    return any(owner["name"] == name or owner["name"].rpartition("-")[0] == name for owner in owners)


def _pod_reason(pod: dict[str, Any]) -> str:
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    status = pod.get("status", {})
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        state, last = container.get("state", {}), container.get("lastState", {}).get("terminated")
        held = state.get("waiting") or {}
        if held.get("reason") in {None, "ContainerCreating", "PodInitializing"} and not last:
            continue
        if last and held:
            log = _log(namespace, name, container["name"], previous=True)
            ended = f"{container['name']} ended with exit code {last.get('exitCode')} ({last.get('reason')})"
            return f"{ended}, {container['restartCount']} restarts{log}"
        if held:
            return f"{container['name']}: {held['reason']}: {held.get('message', '')}".rstrip(": ")
    for condition in status.get("conditions") or []:
        if condition.get("status") == "False" and condition.get("reason") == "Unschedulable":
            return condition.get("message", "Unschedulable")
    running = [container for container in status.get("containerStatuses") or [] if "running" in container.get("state", {})]
    for container in running:
        if not container.get("ready"):
            return f"{container['name']} runs, but is not ready{_log(namespace, name, container['name'])}"
    if status.get("phase") == "Pending":
        events = [
            event["message"]
            for event in k.get("events", namespace)
            if event["involvedObject"]["name"] == name and event["type"] == "Warning"
        ]
        return events[-1] if events else "is being started"
    return ""


def _log(namespace: str, pod: str, container: str, previous: bool = False) -> str:
    try:
        which = ("--previous",) if previous else ()
        text = k.kubectl("--namespace", namespace, "logs", pod, f"--container={container}", f"--tail={_LAST_LINES}", *which)
    except k.ClusterError:
        return ""
    lines = [line.strip()[:200] for line in text.splitlines() if line.strip()]
    return ". It says last: " + " / ".join(lines) if lines else ""
