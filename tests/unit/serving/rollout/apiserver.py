"""Stands in for the API server of Kubernetes and its controllers, where no cluster is at hand.

It keeps objects as they are given, after Kubernetes' own schemas have found nothing wrong with them; refuses what the Role in
kubernetes/serving does not allow; merges what is applied; and plays the controllers of Deployments, autoscalers and endpoints, whose
pods meet the fate that a test gives them.

What it leaves out: a server-side apply knows one manager, takes away what it named before and doesn't now, and replaces lists as a
whole. Defaults are not filled in. Pods come up at the next look. Of scheduling there is a
number of pods that find a node, and nothing runs.
tests/cluster has the real thing.
"""

from __future__ import annotations

import copy
import functools
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.unit.serving.rollout.controllers import Controllers, end

Object = dict[str, Any]
Key = tuple[str, str]
"""Plural and name of an object."""

ROLE = Path(__file__).resolve().parents[4] / "kubernetes" / "serving" / "accounts.yaml"
NAMESPACE = "lakeline-serving"
_RELEASE = "1.33"
_UNCHECKED = ("HTTPRoute", "Gateway")  # no kinds of Kubernetes' own


class ApiServer(ThreadingHTTPServer):
    """Objects by kind and name, all in one namespace; `calls` has each verb and resource that was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.RLock()
        self.objects: dict[Key, Object] = {}
        self.controllers = Controllers(self.objects, self.keep)
        self.calls: set[tuple[str, str, str]] = set()
        self.failures: list[int] = []
        """Status codes that the next requests are answered with."""
        self.ahead = timedelta()
        """Of the server's clock."""
        self.gateway = False
        """Whether it has the definitions of the Gateway API."""
        self.rules = [
            (group, resource, verb)
            for item in yaml.safe_load_all(ROLE.read_text())
            if item["kind"] in {"Role", "ClusterRole"}
            for rule in item["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        ]
        self._versions = 0

    @property
    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def get(self, plural: str, name: str) -> Object:
        """An object, for a test to look at."""
        with self.lock:
            self.controllers.settle()
            return copy.deepcopy(self.objects[plural, name])

    def named(self, plural: str) -> list[str]:
        """Names of a kind's objects, less those that end."""
        with self.lock:
            self.controllers.settle()
            there = [name for (kind, name), item in self.objects.items() if kind == plural and "deletionTimestamp" not in item["metadata"]]
            return sorted(there)

    def keep(self, plural: str, item: Object) -> Object:
        """Store an object as the API server does: with a version, and a new generation if its spec has changed."""
        self._versions += 1
        key = (plural, item["metadata"]["name"])
        before = self.objects.get(key, {"metadata": {}})
        metadata = item["metadata"]
        changed = before.get("spec") != item.get("spec")
        metadata["generation"] = before["metadata"].get("generation", 0) + changed
        metadata["resourceVersion"] = str(self._versions)
        metadata.setdefault("uid", f"uid-{self._versions}")
        metadata.setdefault("creationTimestamp", f"{self.now:%Y-%m-%dT%H:%M:%SZ}")
        if plural == "services":
            item["spec"].setdefault("clusterIP", "127.0.0.1")
        self.objects[key] = item
        return item


@contextmanager
def apiserver() -> Generator[ApiServer]:
    """Run one on a free port of this machine."""
    server = ApiServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def do_GET(self) -> None:
        self._serve("get")

    def do_POST(self) -> None:
        self._serve("create")

    def do_PUT(self) -> None:
        self._serve("update")

    def do_PATCH(self) -> None:
        self._serve("patch")

    def do_DELETE(self) -> None:
        self._serve("delete")

    def _serve(self, verb: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        with self.server.lock:
            try:
                if self.server.failures:
                    raise _Refused(self.server.failures.pop(0), "the server is busy")
                self._answer(200, self._do(verb, body))
            except _Refused as refused:
                self._answer(refused.status, {"kind": "Status", "status": "Failure", "message": str(refused), "code": refused.status})

    def _do(self, verb: str, body: Object) -> Object:
        parts = urlsplit(self.path)
        words = parts.path.strip("/").split("/")
        group = "" if words[0] == "api" else words[1]
        if "namespaces" not in words:
            if group != "gateway.networking.k8s.io" or not self.server.gateway:
                raise _Refused(404, "the server could not find the requested resource")
            return {"kind": "APIResourceList", "resources": [{"name": "httproutes"}, {"name": "gateways"}]}
        _, plural, *rest = words[words.index("namespaces") + 1 :]
        name, sub = [*rest, None, None][:2]
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self._allowed(group, f"{plural}/{sub}" if sub else plural, "list" if verb == "get" and not name else verb)
        self.server.controllers.settle()
        if verb == "create" or (verb == "patch" and "fieldManager" in query and (plural, name) not in self.server.objects):
            self._allowed(group, plural, "create")
            return self._create(plural, body)
        if name is None:
            wanted = dict(pair.split("=", 1) for pair in query.get("labelSelector", "").split(",") if pair)
            found = [item for (kind, _), item in self.server.objects.items() if kind == plural]
            return {"items": [item for item in found if wanted.items() <= item["metadata"].get("labels", {}).items()]}
        if (plural, name) not in self.server.objects:
            raise _Refused(404, f'{plural} "{name}" not found')
        return getattr(self, f"_{verb}")(plural, name, sub, body)

    def _allowed(self, group: str, resource: str, verb: str) -> None:
        if (group, resource, verb) not in self.server.rules:
            raise _Refused(403, f"pipeline-runner cannot {verb} resource {resource!r} in API group {group!r}")
        self.server.calls.add((group, resource, verb))

    def _create(self, plural: str, body: Object) -> Object:
        if (plural, body["metadata"]["name"]) in self.server.objects:
            raise _Refused(409, f'{plural} "{body["metadata"]["name"]}" already exists')
        self._check(body)
        return self.server.keep(plural, copy.deepcopy(body) | {"applied": copy.deepcopy(body)})

    def _get(self, plural: str, name: str, *_: Any) -> Object:
        return self.server.objects[plural, name]

    def _update(self, plural: str, name: str, _: Any, body: Object) -> Object:
        if body["metadata"]["resourceVersion"] != self.server.objects[plural, name]["metadata"]["resourceVersion"]:
            raise _Refused(409, "the object has been modified; please apply your changes to the latest version and try again")
        return self.server.keep(plural, body)

    def _patch(self, plural: str, name: str, sub: str | None, body: Object) -> Object:
        found = copy.deepcopy(self.server.objects[plural, name])
        if sub == "scale":
            found["spec"]["replicas"] = body["spec"]["replicas"]
            return self.server.keep(plural, found)
        self._check(body)
        merged = _merge(_without(found, found.get("applied", {}), body), body)
        return self.server.keep(plural, merged | {"applied": copy.deepcopy(body)})

    def _delete(self, plural: str, name: str, *_: Any) -> Object:
        if plural == "pods":
            end(self.server.objects[plural, name])
            return {"kind": "Status", "status": "Success"}
        del self.server.objects[plural, name]
        self.server.controllers.gone(plural, name)
        return {"kind": "Status", "status": "Success"}

    def _check(self, body: Object) -> None:
        wrong = _wrong(json.dumps(body))
        if wrong:
            raise _Refused(422, f"{body['kind']} is invalid: {wrong}")

    def _answer(self, status: int, content: Object) -> None:
        body = json.dumps({key: value for key, value in content.items() if key != "applied"}).encode()
        self.send_response_only(status)
        self.send_header("Date", format_datetime(self.server.now, usegmt=True))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@functools.cache
def _wrong(body: str) -> str | None:
    """What Kubernetes' schemas find wrong with an object; reading them takes a while."""
    import kubernetes_validate

    item = json.loads(body)
    if item["kind"] in _UNCHECKED:
        return None
    try:
        kubernetes_validate.validate(item, _RELEASE, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)
    return None


def _merge(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return old | {key: _merge(old.get(key), value) for key, value in new.items()}
    return copy.deepcopy(new)


def _without(found: Any, before: Any, now: Any) -> Any:
    """What is there, less what was applied before and isn't any more."""
    if not (isinstance(found, dict) and isinstance(before, dict) and isinstance(now, dict)):
        return found
    return {key: _without(value, before.get(key), now.get(key)) for key, value in found.items() if key not in before or key in now}
