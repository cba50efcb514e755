"""Leads requests to a model's variants: by the weights of a gateway's route, or by how many servers each variant has."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lakeline.errors import RolloutFailed, ServingError
from lakeline.serving.release import VARIANTS, Variant
from lakeline.serving.rollout import names, objects, traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from lakeline.serving.rollout.api import Api, Object

PATIENCE = 30.0
"""Seconds until a gateway has said what it thinks of a route."""


class Sharing:
    """Who answers what. The weight is kept with the Service of the model, so that everybody finds it there.

    Parameters
    ----------
    gateway
        Namespace and name of the gateway, with a slash between; empty without one.
    """

    def __init__(self, api: Api, gateway: str) -> None:
        self._api = api
        self._gateway = gateway

    def deployments(self, model: str) -> dict[Variant, Object]:
        """Deployments of a model that are there."""
        found: dict[Variant, Object] = {}
        for variant in VARIANTS:
            deployment = self._api.get("Deployment", names.own(model, variant))
            if deployment:
                found[variant] = deployment
        return found

    def weight(self, model: str) -> float | None:
        """Fraction of requests that the challenger is to have; None without a test."""
        return objects.weight_of(self._api.get("Service", names.base(model)))

    def share(self, model: str, weight: float | None, check: Callable[[], None]) -> None:
        """Share requests out anew; with numbers of servers, these are there before requests come."""
        found = self.deployments(model)
        if weight is not None and len(found) < len(VARIANTS):
            missing = next(variant for variant in VARIANTS if variant not in found)
            raise ServingError(f"{model}: nothing serves as {missing}, so that there is nothing to share requests with. Roll it out first.")
        if weight is None:
            self.lead(model, None)
        for deployment in found.values():
            least = self.scale(deployment, weight)
            if weight is not None and not self._gateway:
                self._wait(deployment, least, check)
        if weight is not None:
            self.lead(model, weight)

    def scale(self, deployment: Object, weight: float | None) -> int:
        """Bound the number of a Deployment's pods as the spec says; fix it where numbers share requests out. Returns the least."""
        least, most = self.bounds(deployment, weight)
        release = objects.release_of(deployment)
        self._api.apply(objects.autoscaler(release.model, release.variant, least, most))
        if not least <= deployment["spec"].get("replicas", 1) <= most:
            self._api.scale(deployment["metadata"]["name"], least)
        return least

    def bounds(self, deployment: Object, weight: float | None) -> tuple[int, int]:
        """Least and greatest number of a Deployment's pods: one number where numbers share requests out."""
        if weight is None or self._gateway:
            return _bounds(deployment)
        release = objects.release_of(deployment)
        production = deployment if release.variant == "production" else self.deployments(release.model).get("production", deployment)
        number = traffic.servers(weight, *_bounds(production))[release.variant]
        return number, number

    def lead(self, model: str, weight: float | None) -> None:
        """Have requests for the model go to its variants."""
        for each in self.ways(model, weight):
            applied = self._api.apply(each)
            if each["kind"] == "HTTPRoute":
                self._accepted(applied)

    def ways(self, model: str, weight: float | None) -> list[Object]:
        """What requests for the model come by: its Service, and the route of a gateway."""
        both = weight is not None and not self._gateway
        service = objects.service(model, None, names.selector(model, None if both else "production"), weight)
        return [service, *([objects.route(model, self._gateway, traffic.weights(weight))] if self._gateway else [])]

    def address(self) -> str:
        """Address of the gateway's first door, as its status says; empty if it doesn't."""
        namespace, _, name = self._gateway.partition("/")
        found = self._api.get("Gateway", name, namespace) or {}
        addresses = found.get("status", {}).get("addresses") or []
        if not addresses:
            return ""
        door = found["spec"]["listeners"][0]
        scheme, host = door["protocol"].lower(), addresses[0]["value"]
        default = {"http": 80, "https": 443}.get(scheme)
        return f"{scheme}://{f'[{host}]' if ':' in host else host}{'' if door['port'] == default else ':' + str(door['port'])}"

    def _wait(self, deployment: Object, replicas: int, check: Callable[[], None]) -> None:
        name, deadline = deployment["metadata"]["name"], deployment["spec"]["progressDeadlineSeconds"]
        end = time.monotonic() + deadline
        while True:
            check()
            status = (self._api.get("Deployment", name) or {}).get("status", {})
            if status.get("availableReplicas", 0) == status.get("replicas") == replicas:
                return
            if time.monotonic() > end:
                ready = status.get("availableReplicas", 0)
                raise RolloutFailed(f"{name}: {ready} of {replicas} servers are ready after {deadline} s. Requests are shared as before.")
            time.sleep(1)

    def _accepted(self, route: Object) -> None:
        """Wait until the gateway has taken the route as it is now."""
        name, end = route["metadata"]["name"], time.monotonic() + PATIENCE
        while True:
            found = self._api.get("HTTPRoute", name) or {}
            parents = found.get("status", {}).get("parents") or []
            said = [condition for parent in parents for condition in parent.get("conditions") or []]
            current = [each for each in said if each.get("observedGeneration", 0) >= route["metadata"]["generation"]]
            if current and all(each["status"] == "True" for each in current if each["type"] in {"Accepted", "ResolvedRefs"}):
                return
            if time.monotonic() > end:
                bad = "; ".join(f"{each['type']}: {each.get('message', '')}" for each in current if each["status"] != "True")
                raise RolloutFailed(
                    f"gateway {self._gateway} has not taken the route of {name} within {PATIENCE:.0f} s: {bad or 'it says nothing'}. "
                    f"See: kubectl --namespace {self._api.namespace} describe httproute {name}"
                )
            time.sleep(0.5)


def _bounds(deployment: Object) -> tuple[int, int]:
    return int(objects.told(deployment, "replicas")), int(objects.told(deployment, "maximum-replicas"))
