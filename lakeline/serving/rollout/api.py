"""The few things that a rollout asks of Kubernetes, by its official client, with objects as they are in YAML."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import tenacity

from lakeline.errors import ServingError

if TYPE_CHECKING:
    from collections.abc import Sequence

Object = dict[str, Any]
"""An object of Kubernetes."""

KINDS = {
    "Deployment": ("/apis/apps/v1", "deployments"),
    "EndpointSlice": ("/apis/discovery.k8s.io/v1", "endpointslices"),
    "Event": ("/api/v1", "events"),
    "Gateway": ("/apis/gateway.networking.k8s.io/v1", "gateways"),
    "HTTPRoute": ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
    "HorizontalPodAutoscaler": ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "Pod": ("/api/v1", "pods"),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"),
    "Service": ("/api/v1", "services"),
}
"""Path and plural of each kind."""

MANAGER = "lakeline"
"""Field manager: who owns what we apply."""

_ATTEMPTS = 6
_TIMEOUT = (5, 30)  # seconds to connect, and to answer
_NOT_FOUND, _CONFLICT = 404, 409
_REFUSED = (401, 403)
_PASSING = (429, 500, 502, 503, 504)


class Conflict(ServingError):
    """Somebody else has made or changed the object in the meantime."""


def in_cluster() -> bool:
    """Whether this process runs in a pod."""
    return "KUBERNETES_SERVICE_HOST" in os.environ


class Api:
    """A namespace of the cluster that this pod is in, or that kubectl speaks to. What can pass is tried again."""

    def __init__(self, namespace: str) -> None:
        import urllib3

        from kubernetes import client, config

        configuration: Any = client.Configuration()
        try:
            if in_cluster():
                config.load_incluster_config(client_configuration=configuration)
            else:
                config.load_kube_config(config_file=os.environ.get("KUBECONFIG"), client_configuration=configuration)
        except config.ConfigException as error:
            raise ServingError(
                f"LAKELINE_SERVING is kubernetes, but no cluster is named here: {error} Name one with KUBECONFIG, "
                "or serve on this machine: LAKELINE_SERVING=local."
            ) from None
        configuration.retries = urllib3.Retry(0)  # which of them can pass is said below
        self._client: Any = client.ApiClient(configuration)
        self._ahead = timedelta()
        self.namespace = namespace

    def now(self) -> datetime:
        """Time by the API server's clock: one for all who ask, however wrong their own are."""
        return datetime.now(UTC) + self._ahead

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        """An object, or None if there is none."""
        return self._call("GET", self._path(kind, name, namespace), missing=True)

    def find(self, kind: str, labels: dict[str, str]) -> list[Object]:
        """Objects with these labels."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        return (self._call("GET", self._path(kind), query=[("labelSelector", selector)]) or {}).get("items", [])

    def apply(self, item: Object) -> Object:
        """Have an object be as it is said here; what others say of it stays (server-side apply)."""
        query = [("fieldManager", MANAGER), ("force", "true")]
        path = self._path(item["kind"], item["metadata"]["name"])
        return self._call("PATCH", path, item, query=query, content="application/apply-patch+yaml") or {}

    def create(self, item: Object) -> Object:
        """Make an object.

        Raises
        ------
        Conflict
            If there is one of that name.
        """
        return self._call("POST", self._path(item["kind"]), item, query=[("fieldManager", MANAGER)]) or {}

    def replace(self, item: Object) -> Object:
        """Put an object in place of the one that it was read as.

        Raises
        ------
        Conflict
            If that has changed since.
        """
        return self._call("PUT", self._path(item["kind"], item["metadata"]["name"]), item, query=[("fieldManager", MANAGER)]) or {}

    def scale(self, deployment: str, replicas: int) -> None:
        """Have a Deployment run so many pods. It isn't applied, for the number is the autoscaler's to change."""
        path = f"{self._path('Deployment', deployment)}/scale"
        self._call("PATCH", path, {"spec": {"replicas": replicas}}, content="application/merge-patch+json")

    def delete(self, kind: str, name: str, grace: int | None = None) -> None:
        """Remove an object and what it owns, if it is there."""
        body: Object = {"propagationPolicy": "Background"} | ({} if grace is None else {"gracePeriodSeconds": grace})
        self._call("DELETE", self._path(kind, name), body, missing=True)

    def knows(self, kind: str) -> bool:
        """Whether the cluster has this kind."""
        found = self._call("GET", KINDS[kind][0], missing=True) or {}
        return any(each["name"] == KINDS[kind][1] for each in found.get("resources", []))

    def _path(self, kind: str, name: str | None = None, namespace: str | None = None) -> str:
        prefix, plural = KINDS[kind]
        return f"{prefix}/namespaces/{namespace or self.namespace}/{plural}{f'/{name}' if name else ''}"

    def _call(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        query: Sequence[tuple[str, str]] = (),
        content: str = "application/json",
        missing: bool = False,
    ) -> Object | None:
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        again = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_random_exponential(0.2, max=5),
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, HTTPError) or (isinstance(error, ApiException) and error.status in _PASSING)
            ),
            reraise=True,
        )
        try:
            answer, _, headers = again(
                self._client.call_api,
                path,
                method,
                query_params=list(query),
                header_params={"Accept": "application/json", "Content-Type": content},
                body=body,
                response_type="object",
                auth_settings=["BearerToken"],
                _request_timeout=_TIMEOUT,
            )
        except ApiException as error:
            self._heard(error.headers or {})
            if error.status == _NOT_FOUND and missing:
                return None
            if error.status == _CONFLICT:
                raise Conflict(_said(error)) from None
            raise self._trouble(method, path, int(error.status or 0), _said(error)) from None
        except HTTPError as error:
            host = self._client.configuration.host
            raise ServingError(f"the API server of Kubernetes at {host} is out of reach: {error}") from None
        self._heard(headers)
        return answer

    def _heard(self, headers: Any) -> None:
        if "Date" in headers:
            self._ahead = parsedate_to_datetime(headers["Date"]) - datetime.now(UTC)

    def _trouble(self, method: str, path: str, status: int, said: str) -> ServingError:
        if status in _REFUSED:
            advice = (
                f" Role lakeline-deployer of namespace {self.namespace} says what a step may do there: `lakeline cluster deploy` makes it."
            )
            return ServingError(f"Kubernetes refuses {method} {path}: {said}{advice}")
        return ServingError(f"Kubernetes answers {method} {path} with {status}: {said}")


def _said(error: Any) -> str:
    """What the API server says of an error, without the rest of the answer."""
    try:
        return json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        return str(error.body or error.reason).strip()
