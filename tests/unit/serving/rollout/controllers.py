"""Plays the controllers of Kubernetes for the double of its API server: pods of Deployments, autoscalers, endpoints, the kubelet."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from typing import Any

Object = dict[str, Any]
Fate = Callable[[Object], None]
"""What becomes of a pod: changes its status."""


def serves(pod: Object) -> None:
    """It becomes ready, which Services hear of unless a gate keeps it from them."""
    ready = "False" if pod["spec"].get("readinessGates") else "True"
    conditions = [{"type": "ContainersReady", "status": "True"}, {"type": "Ready", "status": ready}]
    pod["status"] = {"phase": "Running", "podIP": "127.0.0.1", "conditions": conditions}


def starts(pod: Object) -> None:
    """It runs, and never says that it is ready."""
    conditions = [{"type": kind, "status": "False"} for kind in ("ContainersReady", "Ready")]
    running = {"name": "server", "restartCount": 0, "state": {"running": {"startedAt": pod["metadata"]["creationTimestamp"]}}}
    pod["status"] = {"phase": "Running", "conditions": conditions, "containerStatuses": [running]}


def crashes(
    message: str,
    container: str = "server",
    *,
    kind: str = "VersionFailed",
    code: int = 1,
    retry: bool = False,
    restarts: int = 1,
    reason: str = "Error",
) -> Fate:
    """It ends with last words as `lakeline.errors` writes them; without a message, with none."""

    def fate(pod: Object) -> None:
        told = json.dumps({"type": kind, "message": message, "known": True, "retry": retry}) if message else ""
        ended = {"terminated": {"exitCode": code, "reason": reason, "message": told}}
        held = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
        never = pod["spec"].get("restartPolicy") == "Never"
        status = {"name": container, "restartCount": 0 if never else restarts}
        status |= {"state": ended} if never else {"state": held, "lastState": ended}
        which = "initContainerStatuses" if container == "fetch" else "containerStatuses"
        pod["status"] = {"phase": "Failed" if never else "Pending", which: [status]}

    return fate


def waits(reason: str, message: str) -> Fate:
    """Its server can't even be started: no image, no Secret."""

    def fate(pod: Object) -> None:
        waiting = {"name": "server", "restartCount": 0, "state": {"waiting": {"reason": reason, "message": message}}}
        pod["status"] = {"phase": "Pending", "containerStatuses": [waiting]}

    return fate


def finds_no_node(pod: Object) -> None:
    """No node has room for it."""
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient cpu.",
    }
    pod["status"] = {"phase": "Pending", "conditions": [condition]}


def evicted(pod: Object) -> None:
    """Its node has thrown it out."""
    pod["status"] = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}


class Controllers:
    """Bring pods to where the objects want them, one round at each look.

    Attributes
    ----------
    fates
        What becomes of the pods of a version (a label), if they don't serve.
    accepted
        What gateways say of routes.
    room
        Pods that find a node, those that end among them; None: any number.
    quota
        What the cluster says of more pods, if it allows none.
    """

    def __init__(self, objects: dict[tuple[str, str], Object], keep: Callable[[str, Object], Object]) -> None:
        self.fates: dict[str, Fate] = {}
        self.accepted = True
        self.room: int | None = None
        self.quota = ""
        self._objects = objects
        self._keep = keep
        self._made = 0

    def settle(self) -> None:
        """One round of all controllers."""
        for item in self._of("horizontalpodautoscalers"):
            target = self._objects.get(("deployments", item["spec"]["scaleTargetRef"]["name"]))
            if target:
                wanted = target["spec"].get("replicas", 1)
                bounded = min(max(wanted, item["spec"]["minReplicas"]), item["spec"]["maxReplicas"])
                if bounded != wanted:
                    self._change("deployments", target, bounded)
        for item in self._of("pods"):
            if "deletionTimestamp" in item["metadata"]:
                self._ending(item)
                continue
            self._run(item)
        for item in self._of("deployments"):
            self._deployment(item)
        for item in self._of("services"):
            self._endpoints(item)
        for item in self._of("httproutes"):
            kinds = ("Accepted", "ResolvedRefs")
            generation, status = item["metadata"]["generation"], "True" if self.accepted else "False"
            said = [{"type": kind, "status": status, "observedGeneration": generation, "message": "no such gateway"} for kind in kinds]
            item["status"] = {"parents": [{"conditions": said}]}

    def gone(self, plural: str, name: str) -> None:
        """What an object owned goes with it."""
        owned = {"deployments": "pods", "services": "endpointslices"}.get(plural)
        for key in [key for key, item in self._objects.items() if key[0] == owned and item.get("owner") == name]:
            if owned == "pods":
                end(self._objects[key])
            else:
                del self._objects[key]

    def _deployment(self, item: Object) -> None:
        """One round of a rolling update."""
        wanted, template = item["spec"].get("replicas", 1), item["spec"]["template"]
        rolling = item["spec"]["strategy"]["rollingUpdate"]
        least, most = wanted - rolling["maxUnavailable"], wanted + math.ceil(wanted * int(rolling["maxSurge"].rstrip("%")) / 100)
        own = [each for each in self._of("pods") if each.get("owner") == item["metadata"]["name"] and _stays(each)]
        new = [each for each in own if each["metadata"]["labels"] == template["metadata"]["labels"]]
        old = [each for each in own if each not in new]
        lacking = min(wanted - len(new), most - len(own))
        if not self.quota:
            new += [self._pod(item["metadata"]["name"], template) for _ in range(lacking)]
        for each in new[wanted:]:
            end(each)
        new = new[:wanted]
        ready = [each for each in (*new, *old) if _ready(each)]
        dispensable = [each for each in old if not _ready(each)] + [each for each in old if _ready(each)][: max(0, len(ready) - least)]
        for each in dispensable:
            end(each)
        old = [each for each in old if each not in dispensable]
        refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": self.quota}
        item["status"] = {
            "observedGeneration": item["metadata"]["generation"],
            "updatedReplicas": len(new),
            "replicas": len(new) + len(old),
            "availableReplicas": sum(map(_ready, (*new, *old))),
            "conditions": [refused] if self.quota and lacking > 0 else [],
        }

    def _run(self, pod: Object) -> None:
        """What becomes of a pod, once it has found a node."""
        taken = sum(each.get("placed", False) for each in self._of("pods"))
        if not pod.get("placed") and self.room is not None and taken >= self.room:
            finds_no_node(pod)
            return
        pod["placed"] = True
        self.fates.get(pod["metadata"]["labels"]["lakeline.dev/version"], serves)(pod)

    def _ending(self, pod: Object) -> None:
        """A pod that ends is there for a while, and its server ends well."""
        pod["left"] -= 1
        if not pod["left"]:
            del self._objects["pods", pod["metadata"]["name"]]

    def _pod(self, owner: str, template: Object) -> Object:
        self._made += 1
        metadata = copy.deepcopy(template["metadata"]) | {"name": f"{owner}-{self._made}"}
        pod = self._keep("pods", {"kind": "Pod", "metadata": metadata, "spec": copy.deepcopy(template["spec"]), "owner": owner})
        self._run(pod)
        return pod

    def _endpoints(self, service: Object) -> None:
        chosen = service["spec"]["selector"].items()
        name = service["metadata"]["name"]
        ends = [
            {"conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": each["metadata"]["name"]}}
            for each in self._of("pods")
            if chosen <= each["metadata"]["labels"].items() and _ready(each) and _stays(each)
        ]
        metadata = {"name": f"{name}-slice", "labels": {"kubernetes.io/service-name": name}}
        self._keep("endpointslices", {"metadata": metadata, "endpoints": ends, "owner": name})

    def _change(self, plural: str, item: Object, replicas: int) -> None:
        changed = copy.deepcopy(item)
        changed["spec"]["replicas"] = replicas
        self._keep(plural, changed)

    def _of(self, plural: str) -> list[Object]:
        return [item for (kind, _), item in list(self._objects.items()) if kind == plural]


def end(pod: Object) -> None:
    """Have a pod end: it is seen to for some rounds yet."""
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    pod["status"] = {"phase": "Succeeded"}
    pod["left"] = 20


def _stays(pod: Object) -> bool:
    return "deletionTimestamp" not in pod["metadata"]


def _ready(pod: Object) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in pod.get("status", {}).get("conditions", []))
