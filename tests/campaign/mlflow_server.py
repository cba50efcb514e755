"""MLflow's own server, forked like everything else here: killed when a fault says so, and started again on the same files."""

from __future__ import annotations

import http.client
import socket
import time

from tests.campaign.place import Place
from tests.campaign.processes import Forked

_READY = 120.0


class MlflowServer:
    """A server on the database and the artifacts of a home.

    Attributes
    ----------
    environment
        Of those who are to use it.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self.environment = place.environment | {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{self._port}"}
        self._process: Forked | None = None

    @property
    def pid(self) -> int:
        """Process to kill."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        home = self._place.home
        environment = self._place.environment | {
            "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{home}/mlflow.db",
            "_MLFLOW_SERVER_REGISTRY_STORE": f"sqlite:///{home}/mlflow.db",
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": f"{home}/served-artifacts",
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        }
        self._process = Forked(self._serve, environment, self._place.logs, f"mlflow-{self._port}")
        deadline = time.monotonic() + _READY
        while not self._healthy():
            if time.monotonic() > deadline:
                raise RuntimeError(f"MLflow's server doesn't start: {self._process.wait(0).said[-500:]}")
            time.sleep(0.05)

    def gone(self) -> bool:
        """Whether it was killed."""
        return self._process is None or self._process.ended()

    def end(self) -> None:
        """Kill it, if it wasn't."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def _serve(self) -> None:
        import uvicorn
        from mlflow.server.fastapi_app import app

        uvicorn.run(app, host="127.0.0.1", port=self._port, log_level="critical")

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        except OSError:
            return False
        finally:
            connection.close()
