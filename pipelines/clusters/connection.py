"""Leads from this machine to the services of a cluster: forwarded ports on 127.0.0.1, and the settings that go with them."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from pipelines.clusters import kubectl as k
from pipelines.clusters.manifests import IMAGES
from pipelines.clusters.wanted import PIPELINES, SERVICES

_PATIENCE = 30.0
_PAUSE = 0.5


@dataclass(frozen=True)
class Lead:
    """A service of the cluster, and the variable that says where it is."""

    variable: str
    namespace: str
    service: str
    port: int


LEADS = (
    Lead("KF_PIPELINES_ENDPOINT", PIPELINES, "ml-pipeline", 8888),
    Lead("KF_PIPELINES_UI_ENDPOINT", PIPELINES, "ml-pipeline-ui", 80),
    Lead("LAKECTL_SERVER_ENDPOINT_URL", SERVICES, "lakefs", 8000),
    Lead("MLFLOW_TRACKING_URI", SERVICES, "mlflow", 5000),
    Lead("LAKELINE_EVENTS_URL", SERVICES, "lakeline-eventsource-svc", 12000),
)
KEYS = {
    "LAKECTL_CREDENTIALS_ACCESS_KEY_ID": ("lakeline-lakefs", "LAKECTL_CREDENTIALS_ACCESS_KEY_ID"),
    "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY": ("lakeline-lakefs", "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY"),
    "MLFLOW_TRACKING_USERNAME": ("lakeline-mlflow", "MLFLOW_TRACKING_USERNAME"),
    "MLFLOW_TRACKING_PASSWORD": ("lakeline-mlflow", "MLFLOW_TRACKING_PASSWORD"),
    "LAKELINE_EVENTS_TOKEN": ("lakeline-events", "token"),
    "LAKELINE_SERVING_TOKEN": ("lakeline-serving", "LAKELINE_SERVING_TOKEN"),
}
"""Secret and key behind a variable."""


@contextmanager
def connected() -> Generator[dict[str, str]]:
    """Forward a port to each service that has a pod which is ready, for as long as the block runs.

    Yields
    ------
    dict
        Environment of a process that uses the cluster from here. It holds secrets: give it to a process, print none of it.

    Raises
    ------
    ClusterError
        If the cluster can't be reached, lacks Lakeline's Secrets, or a port doesn't open within half a minute.
    """
    settings = {"LAKELINE_LAKE": "lakefs", "LAKELINE_LAKEFS_STORAGE": _configured("LAKELINE_LAKEFS_STORAGE")}
    settings |= {variable: _secret(*place) for variable, place in KEYS.items()}
    settings |= {variable: _configured(variable) for variable in IMAGES if variable not in os.environ}  # what is compiled there runs there
    settings["LAKELINE_HOOK_URL"] = _configured("LAKELINE_EVENTS_URL")  # lakeFS' webhooks don't come from here
    with ExitStack() as stack:
        for lead in LEADS:
            if _ready(lead):
                settings[lead.variable] = f"http://127.0.0.1:{stack.enter_context(_forwarded(lead))}"
        yield settings


@contextmanager
def _forwarded(lead: Lead) -> Generator[int]:
    """Forward a free port; again whenever kubectl ends, as it does when the pod at the other end does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    place = ("--namespace", lead.namespace, "port-forward", "--address=127.0.0.1", f"service/{lead.service}", f"{port}:{lead.port}")
    command = [k.need("kubectl"), *place]
    over, starting = threading.Event(), threading.Lock()
    children: list[subprocess.Popen[bytes]] = []

    def keep() -> None:
        while True:
            with starting:
                if over.is_set():
                    return
                children[:] = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)]
            children[0].wait()
            over.wait(_PAUSE)

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    try:
        _wait(lead, port)
        yield port
    finally:
        with starting:
            over.set()
            for child in children:
                child.terminate()
        keeper.join(5)


def _ready(lead: Lead) -> bool:
    slices = k.get("endpointslices.discovery.k8s.io", lead.namespace, f"--selector=kubernetes.io/service-name={lead.service}")
    return any(end.get("conditions", {}).get("ready") for each in slices for end in each.get("endpoints") or [])


def _wait(lead: Lead, port: int) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise k.ClusterError(f"no way to service {lead.service} within {_PATIENCE:.0f} s. See: kubectl --namespace {lead.namespace} get pods")


def _configured(key: str) -> str:
    found = k.get("configmap", SERVICES, "lakeline")
    if not found:
        raise k.ClusterError(f"there is no ConfigMap lakeline in namespace {SERVICES}: Lakeline isn't on this cluster. See: make deploy")
    return str(found[0]["data"].get(key, ""))


def _secret(name: str, key: str) -> str:
    found = k.get("secret", SERVICES, name)
    value = (found[0].get("data") or {}).get(key) if found else None
    if value is None:
        raise k.ClusterError(f"Secret {name} in namespace {SERVICES} hasn't the key {key}. Make it: lakeline cluster secrets")
    return base64.b64decode(value).decode()


def run_connected(command: list[str]) -> int:
    """Run a command with the cluster's settings; its exit code.

    Raises
    ------
    ClusterError
        As `connected`; also if there is no such command.
    """
    with connected() as settings:
        try:
            return subprocess.call(command, env=os.environ | settings)
        except OSError as error:
            raise k.ClusterError(f"{command[0]}: {error.strerror}. Which command is to be run?") from error
