"""Why a pod doesn't serve: in the words of what ran in it, of the node, or of the scheduler."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from lakeline.errors import VersionFailed
from lakeline.serving.rollout.pod import SERVE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lakeline.serving.rollout.api import Object

_CANT_START = {
    *("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"),
    *("CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
}
_CRASHED = frozenset(128 + number for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL))
"""Exit codes of a container that was ended by what its own code did."""
_BORNE = 30.0
"""Seconds that a registry, or whoever makes a Secret, may be late."""
_TRIES = 3
"""Of a container that says of itself that another try may help."""
_LAST = 500  # characters of what it said


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a pod, and for how long that is to be borne."""

    why: str
    patience: float | None = None
    """Seconds after the pod was made for which it may yet pass; None: as long as anybody waits."""
    own: bool = False
    """Whether the version is at fault, and not the place."""
    room: bool = False
    """Whether all that it lacks is a node with room."""


def ready(pod: Object) -> bool:
    """Whether a pod's server is ready, and isn't ending; whether Services lead there is its gates' to say."""
    return "deletionTimestamp" not in pod["metadata"] and any(
        each["type"] == "ContainersReady" and each["status"] == "True" for each in pod.get("status", {}).get("conditions") or []
    )


def crashed(pod: Object) -> bool:
    """Whether one of its containers has ended badly, now or before, and it isn't ready since."""
    return not ready(pod) and any(ended for _, ended in _ended(pod))


def trouble(pod: Object) -> Trouble | None:
    """What keeps a pod from serving.

    Parameters
    ----------
    pod
        As the API server has it.

    Returns
    -------
    Trouble | None
        None while nothing speaks against its becoming ready, or it is: what has befallen it before has passed.
    """
    return None if ready(pod) else _trouble(pod)


def _trouble(pod: Object) -> Trouble | None:
    status, name = pod.get("status", {}), pod["metadata"]["name"]
    if status.get("reason") in {"Evicted", "NodeLost", "Shutdown", "NodeShutdown", "Preempting"}:
        return Trouble(f"pod {name}: {status['reason']}: {status.get('message', '')}".rstrip(": "))
    for container, ended in _ended(pod):
        told = _told(ended)
        tries = container.get("restartCount", 0) + ("terminated" in container.get("state", {}))
        over = told.get("retry") is not True or tries >= _TRIES or pod["spec"].get("restartPolicy") == "Never"
        said = told.get("message") or ended.get("reason") or "it left no word"
        how = f"killed for using more memory than it may ({ended['reason']})" if ended.get("reason") == "OOMKilled" else str(said)
        why = f"pod {name}: {container['name']} ended with exit code {ended.get('exitCode')}: {how}"
        return Trouble(why, 0 if over else None, own=container["name"] == SERVE and _own(ended, told))
    for container in _containers(pod):
        waiting = container.get("state", {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason in _CANT_START:
            return Trouble(f"pod {name}: {container['name']}: {reason}: {waiting.get('message', '')}".rstrip(": "), _BORNE)
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            why = f"pod {name}: {condition.get('reason')}: {condition.get('message', '')}".rstrip(": ")
            return Trouble(f"{why} {_asked(pod)}", room=True) if condition.get("reason") == "Unschedulable" else Trouble(why)
    if status.get("phase") in {"Failed", "Succeeded"}:
        return Trouble(f"pod {name} has ended: {status.get('reason') or status['phase']} {status.get('message', '')}".rstrip(), 0)
    return None


def refused(deployment: Object) -> str | None:
    """Why a Deployment's pods can't even be made: a quota, or a rule of the cluster."""
    for condition in deployment.get("status", {}).get("conditions") or []:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return str(condition.get("message") or condition.get("reason"))
    return None


def final(pod: Object, now: datetime) -> Trouble | None:
    """What is wrong with a pod and won't pass any more."""
    found = trouble(pod)
    if found is None or found.patience is None:
        return None
    age = (now - datetime.fromisoformat(pod["metadata"]["creationTimestamp"])).total_seconds()
    return found if age >= found.patience else None


def late(pod: Object, now: datetime, deadline: float) -> Trouble | None:
    """What is wrong with a pod for which nobody waits any longer; None if it is ready.

    A server that has run for most of the time and isn't ready is at fault. One that couldn't be started until late is not.
    """
    found, name = trouble(pod), pod["metadata"]["name"]
    if found or ready(pod):
        return found
    running = next((each["state"]["running"] for each in _containers(pod) if each["name"] == SERVE and "running" in each["state"]), None)
    if running is None:
        return Trouble(f"pod {name}: its server hasn't been started yet")
    since = datetime.fromisoformat(running.get("startedAt") or pod["metadata"]["creationTimestamp"])
    return Trouble(f"pod {name}: its server runs, but doesn't say that it is ready", own=(now - since).total_seconds() >= deadline / 2)


def _asked(pod: Object) -> str:
    asked = pod["spec"]["containers"][0]["resources"]["requests"]
    return (
        f"Each server asks for cpu {asked['cpu']} and memory {asked['memory']}, and while versions change there are more of them: "
        "make room on a node, or ask for less (serving.cpu, serving.memory and serving.replicas in the spec)."
    )


def _containers(pod: Object) -> list[Object]:
    status = pod.get("status", {})
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _ended(pod: Object) -> Iterator[tuple[Object, Object]]:
    """Containers that ended badly, each with how."""
    for container in _containers(pod):
        for state in (container.get("state", {}), container.get("lastState", {})):
            ended = state.get("terminated")
            if ended and ended.get("exitCode", 0) != 0:
                yield container, ended
                break


def _own(ended: Object, told: dict[str, Any]) -> bool:
    """Whether a server ended by its version's fault: it said so, needed more memory than its spec gives it, or crashed."""
    return told.get("type") == VersionFailed.__name__ or ended.get("reason") == "OOMKilled" or ended.get("exitCode") in _CRASHED


def _told(ended: Object) -> dict[str, Any]:
    """A container's last words: what `lakeline.errors` writes, or the end of its log."""
    text = str(ended.get("message") or "").strip()
    try:
        told: Any = json.loads(text)
    except ValueError:
        told = None
    if isinstance(told, dict) and "message" in told:
        return told
    return {"message": " / ".join(line.strip() for line in text.splitlines() if line.strip())[-_LAST:]}
