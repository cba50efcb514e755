"""Who MLflow logs in as in a pod, where Kubeflow Pipelines' plugin may have set its variables as well."""

import os

import pytest

from lakeline.registry.store import _log_in
from lakeline.settings import Settings

OURS, OTHER = "http://mlflow.lakeline:5000", "http://mlflow.elsewhere:5000"


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("URI", "USERNAME", "PASSWORD", "TOKEN", "AUTH"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    monkeypatch.setenv("LAKELINE_MLFLOW_TRACKING_URI", OURS)
    monkeypatch.setenv("LAKELINE_MLFLOW_TRACKING_USERNAME", "lakeline")
    monkeypatch.setenv("LAKELINE_MLFLOW_TRACKING_PASSWORD", os.urandom(8).hex())
    return monkeypatch


def _user() -> str | None:
    _log_in(Settings().mlflow_uri)
    return os.environ.get("MLFLOW_TRACKING_USERNAME")


def test_pod_logs_in_as_its_settings_say(pod: pytest.MonkeyPatch):
    assert Settings().mlflow_uri == OURS
    assert _user() == "lakeline"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == os.environ["LAKELINE_MLFLOW_TRACKING_PASSWORD"]
    pod.delenv("MLFLOW_TRACKING_USERNAME")
    pod.delenv("MLFLOW_TRACKING_PASSWORD")


def test_password_is_not_given_to_the_server_of_somebody_else(pod: pytest.MonkeyPatch):
    pod.setenv("MLFLOW_TRACKING_URI", OTHER)

    assert _user() is None
    assert "MLFLOW_TRACKING_PASSWORD" not in os.environ


def test_what_the_plugin_logs_in_with_goes_first(pod: pytest.MonkeyPatch):
    pod.setenv("MLFLOW_TRACKING_URI", OURS)
    pod.setenv("MLFLOW_TRACKING_USERNAME", "plugin")

    assert _user() == "plugin"
    assert "MLFLOW_TRACKING_PASSWORD" not in os.environ
