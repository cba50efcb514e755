"""`doctor --cluster` and `cluster connect`, with a stand-in for kubectl: there is no cluster where these tests run.

The stand-in answers `get` from a file of objects, and forwards a port to a small server of its own. tests/cluster/ does the same
with the real one.
"""

import base64
import json
import os
import secrets
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.cluster import LAKE, LAKE_SECRET, PREDICTIONS, PREDICTIONS_SECRET, REGISTRY, REGISTRY_SECRET, SERVING, SERVING_SECRET
from pipelines.clusters import connection
from pipelines.clusters.connection import connected, run_connected
from pipelines.clusters.kubectl import ClusterError

STAND_IN = """#!{python}
import http.server, json, sys
objects = json.load(open({objects!r}))
words = [word for word in sys.argv[1:]]
if words[0] == "config":
    print(json.dumps({{"current-context": "here", "clusters": [{{"cluster": {{"server": "https://here"}}}}]}}))
elif "port-forward" in words:
    local = int(words[-1].split(":")[0])
    http.server.ThreadingHTTPServer(("127.0.0.1", local), http.server.BaseHTTPRequestHandler).serve_forever()
elif words[:2] == ["get", "--raw"]:
    print(objects["raw"] if "healthz" in words[2] else "ok")
elif words[0] == "get":
    kinds = words[1].split(",")
    namespace = words[words.index("--namespace") + 1] if "--namespace" in words else None
    name = next((word for word in words[2:] if not word.startswith("-") and word != namespace), None)
    found = [it for it in objects["items"] if it["kind"].lower() in [kind.split(".")[0].rstrip("s") for kind in kinds]]
    name = next((word.split("=")[-1] for word in words if word.startswith("--selector=kubernetes.io/service-name")), name)
    found = [it for it in found if namespace in (None, it["metadata"]["namespace"]) and name in (None, it["metadata"]["name"])]
    print(json.dumps({{"items": found}}) if found else "")
else:
    sys.exit("unexpected: " + " ".join(words))
"""

TOKEN = secrets.token_hex()

Stand = Callable[..., None]


def _object(kind: str, namespace: str, name: str, data: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in (data or {}).items()} if kind == "Secret" else data
    return {"kind": kind, "metadata": {"namespace": namespace, "name": name, "generation": 1}, "data": encoded} | more


def _service(namespace: str, name: str, *, ready: bool = True) -> dict[str, Any]:
    """An EndpointSlice: what Kubernetes knows of the pods behind a service."""
    return _object("EndpointSlice", namespace, name, endpoints=[{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}])


def _whole() -> list[dict[str, Any]]:
    keys = dict([LAKE_SECRET, REGISTRY_SECRET, PREDICTIONS_SECRET])
    made = [_object("Secret", space, name, dict.fromkeys(names, "x")) for name, names in keys.items() for space in ("kubeflow", "lakeline")]
    made.append(_object("Secret", "lakeline", "lakeline-events", {"token": TOKEN}))
    spaces = ("kubeflow", "lakeline", "lakeline-serving")
    made += [_object("Secret", space, SERVING_SECRET[0], {"LAKELINE_SERVING_TOKEN": TOKEN}) for space in spaces]
    made.append(_object("Secret", "lakeline-serving", "serving-mlflow", dict.fromkeys(REGISTRY_SECRET[1], "x")))
    made += [_object("ConfigMap", space, "lakeline", dict.fromkeys((*LAKE, *REGISTRY, *SERVING, *PREDICTIONS), "x")) for space in spaces]
    defaults = {"workflowDefaults": "spec: {templateDefaults: {retryStrategy: {limit: '2', retryPolicy: Always}}}"}
    made.append(_object("ConfigMap", "kubeflow", "workflow-controller-configmap", defaults))
    good = {"observedGeneration": 1, "updatedReplicas": 1, "replicas": 1, "readyReplicas": 1}
    made.append(_object("Deployment", "lakeline", "lakefs", spec={"replicas": 1}, status=good))
    return made


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    def make(items: list[dict[str, Any]]) -> None:
        objects = tmp_path / "objects.json"
        objects.write_text(json.dumps({"raw": json.dumps({"tag_name": "2.17.0"}), "items": items}))
        program = tmp_path / "bin" / "kubectl"
        program.parent.mkdir(exist_ok=True)
        program.write_text(STAND_IN.format(python=sys.executable, objects=str(objects)))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")

    return make


def _doctor() -> tuple[int, dict[str, list[tuple[str, str]]]]:
    done = CliRunner().invoke(app, ["doctor", "--cluster", "--json"])
    found: dict[str, list[tuple[str, str]]] = {}
    for finding in json.loads(done.stdout)["findings"]:
        found.setdefault(finding["what"], []).append((finding["state"], finding["said"]))
    return done.exit_code, found


def _without(kind: str, name: str) -> list[dict[str, Any]]:
    return [it for it in _whole() if (it["kind"], it["metadata"]["name"]) != (kind, name)]


def test_whole_cluster_is_good(stand: Stand):
    stand(_whole())

    code, found = _doctor()

    assert code == 0
    assert {state for said in found.values() for state, _ in said} == {"good"}
    assert found["cluster"] == [("good", "here (https://here)")]
    assert "2.17.0" in found["Kubeflow Pipelines"][0][1]


def test_who_changes_what_serves_and_waits_for_room_is_told_of(stand: Stand):
    spec = {"holderIdentity": "run-7", "renewTime": "2026-01-01T00:00:00Z"}
    lease = _object("Lease", "lakeline-serving", "prices", spec=spec)
    lease["metadata"]["annotations"] = {"lakeline.dev/waits-for": "pod prices-production-1: Unschedulable: Insufficient cpu"}
    stand([*_whole(), lease, _object("Lease", "lakeline-serving", "weather", spec={"holderIdentity": ""})])

    code, found = _doctor()

    assert code == 0
    ((state, said),) = found["deployments"]
    assert state == "note"
    assert said.startswith("prices: run-7 (last sign of life 2026-01-01T00:00:00Z) waits for room: pod prices-production-1: Unschedulable")


@pytest.mark.parametrize(
    ("policy", "said"), [("retryPolicy: OnError", "non-zero is never tried again"), ("limit: '2'", "pod is lost is not tried again")]
)
def test_controller_that_does_not_retry_is_told_of(stand: Stand, policy: str, said: str):
    items = _without("ConfigMap", "workflow-controller-configmap")
    defaults = {"workflowDefaults": f"spec: {{templateDefaults: {{retryStrategy: {{{policy}}}}}}}"}
    stand([*items, _object("ConfigMap", "kubeflow", "workflow-controller-configmap", defaults)])

    code, found = _doctor()

    assert code == 1
    assert found["retries"][0][0] == "fails"
    assert said in found["retries"][0][1]


def test_missing_key_and_ill_service_are_told_of(stand: Stand):
    items = [it for it in _without("Secret", "lakeline-mlflow") if it["kind"] != "Deployment"]
    half = _object("Secret", "kubeflow", "lakeline-mlflow", {"MLFLOW_TRACKING_USERNAME": "x"})
    stand([*items, half, _object("Deployment", "lakeline", "mlflow", spec={"replicas": 1}, status={"observedGeneration": 1})])

    code, found = _doctor()

    assert code == 1
    assert "lacks MLFLOW_TRACKING_PASSWORD" in found["settings of steps"][0][1]
    assert found["services"][0] == ("fails", "lakeline/mlflow: it has no pod")


@pytest.mark.parametrize(
    ("kind", "namespace", "name", "what", "said"),
    [
        ("Secret", "kubeflow", "lakeline-serving", "settings of steps", "lacks LAKELINE_SERVING_TOKEN: a step's pod would not start"),
        ("ConfigMap", "kubeflow", "lakeline", "settings of steps", "LAKELINE_SERVING_IMAGE"),
        (
            "Secret",
            "lakeline-serving",
            "lakeline-serving",
            "settings of servers",
            "a server's pod would not start. Run: lakeline cluster sec",
        ),
        ("Secret", "lakeline-serving", "serving-mlflow", "settings of servers", "lacks MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_USERNAME"),
        ("ConfigMap", "lakeline-serving", "lakeline", "settings of servers", "lacks MLFLOW_TRACKING_URI"),
    ],
)
def test_what_serving_a_model_lacks_is_told_of(stand: Stand, kind: str, namespace: str, name: str, what: str, said: str):
    stand([it for it in _whole() if (it["kind"], it["metadata"]["namespace"], it["metadata"]["name"]) != (kind, namespace, name)])

    code, found = _doctor()

    assert code == 1
    assert found[what][0][0] == "fails"
    assert said in found[what][0][1]


def test_command_finds_the_services_and_their_keys_in_its_environment(stand: Stand, tmp_path: Path):
    services = [_service(lead.namespace, lead.service) for lead in connection.LEADS]
    stand([*_whole(), *services])
    seen = tmp_path / "seen.json"
    look = (
        "import json, os, socket, sys; from urllib.parse import urlsplit as u; e = dict(os.environ); json.dump(e, open(sys.argv[1], 'w'));"
    )
    ask = "[socket.create_connection(('127.0.0.1', u(e[n]).port)) for n in ('KF_PIPELINES_ENDPOINT', 'MLFLOW_TRACKING_URI')]; sys.exit(7)"

    assert run_connected([sys.executable, "-c", look + ask, str(seen)]) == 7

    environment = json.loads(seen.read_text())
    assert environment["LAKELINE_LAKE"] == "lakefs"
    assert environment["LAKELINE_EVENTS_TOKEN"] == TOKEN
    assert environment["LAKECTL_SERVER_ENDPOINT_URL"].startswith("http://127.0.0.1:")


def test_service_that_is_not_there_or_not_ready_is_left_out(stand: Stand):
    stand([*_whole(), _service("lakeline", "mlflow"), _service("lakeline", "lakefs", ready=False)])

    with connected() as settings:
        assert "LAKECTL_SERVER_ENDPOINT_URL" not in settings
        assert "MLFLOW_TRACKING_URI" in settings
        assert "LAKELINE_EVENTS_URL" not in settings


def test_cluster_without_lakeline_says_so(stand: Stand):
    stand(_without("ConfigMap", "lakeline"))

    with pytest.raises(ClusterError, match="make deploy"), connected():
        pass


def test_missing_secret_says_how_to_make_it(stand: Stand):
    stand(_without("Secret", "lakeline-events"))

    with pytest.raises(ClusterError, match="lakeline cluster secrets"), connected():
        pass


def test_port_that_does_not_open_is_given_up(stand: Stand, monkeypatch: pytest.MonkeyPatch):
    stand([*_whole(), _service("lakeline", "mlflow")])
    monkeypatch.setattr(connection, "_PATIENCE", 0.5)
    monkeypatch.setattr(connection.k, "need", lambda _: "false")

    with pytest.raises(ClusterError, match="no way to service mlflow"), connected():
        pass
