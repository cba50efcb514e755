"""`lakeline cluster secrets`: random, kept, completed, made anew together with what follows from them, and seen by nobody."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
import secrets as random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lakeline.errors import UsageError
from pipelines.clusters import kubectl as k
from pipelines.clusters import secrets, wanted

FAKE = Path(__file__).with_name("fake_kubectl.py")
KUBECONFIG = os.environ.get("LAKELINE_TEST_CLUSTER") and os.environ.get("KUBECONFIG")
"""A cluster is touched where `make test-cluster` was asked for, and nowhere else."""


@dataclass
class Cluster:
    """Namespaces that stand for lakeline, kubeflow and lakeline-serving, and every call that kubectl got."""

    services: str
    pipelines: str
    serving: str
    calls: Path
    real: bool
    state: Path

    def secret(self, name: str, namespace: str | None = None) -> dict[str, str]:
        """Values of a Secret, as the API server has them: in the first of its namespaces, if none is said."""
        first = next(each.namespaces[0] for each in secrets.wanted("kind") if each.name == name)
        found = k.get("secret", namespace or first, name)[0]
        return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}

    def remove(self, name: str, key: str | None = None) -> None:
        """Take a Secret away, or one key of it."""
        if self.real and key is None:
            k.kubectl("--namespace", self.services, "delete", "secret", name)
        elif self.real:
            patch = json.dumps({"data": {key: None}})
            k.kubectl("--namespace", self.services, "patch", "secret", name, "--type=merge", f"--patch={patch}")
        else:
            state = json.loads(self.state.read_text())
            own = f"{self.services}/{name}"
            _ = state["secrets"].pop(own) if key is None else state["secrets"][own]["data"].pop(key)
            self.state.write_text(json.dumps(state))


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """Namespaces of this test's own on the cluster that KUBECONFIG names; without one, a stand-in for kubectl."""
    mark = random.token_hex(3)
    found = Cluster(
        f"secrets-{mark}-a", f"secrets-{mark}-b", f"secrets-{mark}-c", tmp_path / "calls", bool(KUBECONFIG), tmp_path / "state.json"
    )
    program = [shutil.which("kubectl") or "kubectl"] if KUBECONFIG else [sys.executable, "-I", "-S", str(FAKE)]
    script = tmp_path / "bin" / "kubectl"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho "$@" >>"{found.calls}"\nexec {" ".join(program)} "$@"\n')
    script.chmod(0o755)
    found.state.write_text(json.dumps({"namespaces": [found.services, found.pipelines, found.serving], "secrets": {}}))
    monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_KUBECTL_STATE", str(found.state))
    spaces = {wanted.SERVICES: found.services, wanted.PIPELINES: found.pipelines, wanted.SERVING: found.serving}
    here = {
        overlay: tuple(
            dataclasses.replace(each, namespaces=tuple(spaces[own] for own in each.namespaces)) for each in wanted.wanted(overlay)
        )
        for overlay in ("kind", "production")
    }
    monkeypatch.setattr(secrets, "wanted", here.__getitem__)
    monkeypatch.setattr(secrets, "SERVICES", found.services)
    for namespace in spaces.values():
        if KUBECONFIG:
            subprocess.run(["kubectl", "create", "namespace", namespace], check=True, capture_output=True)
    yield found
    if KUBECONFIG:
        subprocess.run(["kubectl", "delete", "namespace", *spaces.values(), "--wait=false"], check=True, capture_output=True)


def test_first_time_makes_all(cluster: Cluster):
    outcomes = secrets.ensure()

    assert {outcome.did for outcome in outcomes} == {"made"}
    for each in secrets.wanted("kind"):
        for namespace in each.namespaces:
            assert set(cluster.secret(each.name, namespace)) == set(each.keys)


def test_second_time_changes_nothing(cluster: Cluster):
    secrets.ensure()
    before = {each.name: cluster.secret(each.name) for each in secrets.wanted("kind")}

    assert {outcome.did for outcome in secrets.ensure()} == {"kept"}
    assert {each.name: cluster.secret(each.name) for each in secrets.wanted("kind")} == before


def test_servers_and_clients_are_told_the_same(cluster: Cluster):
    secrets.ensure()

    database, lakefs, mlflow = cluster.secret("postgres"), cluster.secret("lakefs-server"), cluster.secret("mlflow-server")
    assert f":{database['LAKEFS_PASSWORD']}@" in lakefs["LAKEFS_DATABASE_POSTGRES_CONNECTION_STRING"]
    assert f":{database['MLFLOW_AUTH_PASSWORD']}@" in mlflow["MLFLOW_AUTH_DATABASE_URI"]
    steps = cluster.secret("lakeline-lakefs", cluster.pipelines)
    assert steps == cluster.secret("lakeline-lakefs")
    assert lakefs["LAKEFS_INSTALLATION_SECRET_ACCESS_KEY"] == steps["LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY"]
    identities = {each["name"]: each for each in json.loads(cluster.secret("objectstore")["s3.json"])["identities"]}
    assert identities["mlflow"]["credentials"][0]["secretKey"] == mlflow["AWS_SECRET_ACCESS_KEY"]
    assert {action.partition(":")[2] for action in identities["mlflow"]["actions"]} == {"mlflow"}
    assert identities["arrivals"]["credentials"][0]["accessKey"] == cluster.secret("lakeline-arrivals")["AWS_ACCESS_KEY_ID"]
    assert identities["anonymous"] == {"name": "anonymous", "actions": ["Read:arrivals"]}


def test_values_are_random_and_long(cluster: Cluster):
    secrets.ensure()

    values = [value for each in secrets.wanted("kind") for key, value in cluster.secret(each.name).items() if each.keys[key] in _RANDOM]
    assert len(set(values)) == len(values) > 8
    assert min(len(value) for value in values) >= 20
    assert [value for value in values if not re.fullmatch(r"[A-Za-z0-9]+", value)] == []


def test_missing_key_is_added_and_the_others_stay(cluster: Cluster):
    secrets.ensure()
    before = cluster.secret("mlflow-server")
    cluster.remove("mlflow-server", "MLFLOW_FLASK_SERVER_SECRET_KEY")

    changed = [outcome for outcome in secrets.ensure() if outcome.did != "kept"]

    assert [(outcome.name, outcome.did, outcome.keys) for outcome in changed] == [
        ("mlflow-server", "changed", ("MLFLOW_FLASK_SERVER_SECRET_KEY",))
    ]
    after = cluster.secret("mlflow-server")
    assert {key for key in after if after[key] != before[key]} == {"MLFLOW_FLASK_SERVER_SECRET_KEY"}


def test_lost_secret_is_made_anew_with_all_that_follows(cluster: Cluster):
    """Otherwise lakeFS and MLflow would go on with passwords that the database no longer has."""
    secrets.ensure()
    cluster.remove("postgres")

    changed = {outcome.name: outcome.did for outcome in secrets.ensure() if outcome.did != "kept"}

    assert changed == {"postgres": "made", "lakefs-server": "changed", "mlflow-server": "changed"}
    assert cluster.secret("postgres")["MLFLOW_PASSWORD"] in cluster.secret("mlflow-server")["MLFLOW_BACKEND_STORE_URI"]


def test_rotation_changes_it_and_what_follows(cluster: Cluster):
    secrets.ensure()
    before = {each.name: cluster.secret(each.name) for each in secrets.wanted("kind")}

    secrets.ensure(rotate="objectstore")

    after = {each.name: cluster.secret(each.name) for each in secrets.wanted("kind")}
    assert {name for name in after if after[name] != before[name]} == {
        "objectstore",
        "lakefs-server",
        "mlflow-server",
        "lakeline-predictions",
        "lakeline-arrivals",
    }
    assert after["lakefs-server"]["LAKEFS_AUTH_ENCRYPT_SECRET_KEY"] == before["lakefs-server"]["LAKEFS_AUTH_ENCRYPT_SECRET_KEY"]


def test_rotation_keeps_the_secret_of_before_where_both_have_to_be_good(cluster: Cluster):
    secrets.ensure()
    before = cluster.secret("lakeline-alias")

    secrets.ensure(rotate="lakeline-alias")

    after = cluster.secret("lakeline-alias")
    assert after["previous"] == before["secret"]
    assert after["secret"] not in before.values()


@pytest.mark.parametrize("name", ["lakefs-server", "lakeline-lakefs", "lakefs"])
def test_what_cannot_be_rotated_is_refused(name: str, cluster: Cluster):
    with pytest.raises(UsageError, match=name):
        secrets.ensure(rotate=name)


def test_no_value_is_ever_an_argument_or_said(cluster: Cluster, capfd: pytest.CaptureFixture[str]):
    """Arguments are seen by every user of the machine, and output ends up in logs of CI."""
    outcomes = [*secrets.ensure(), *secrets.ensure(rotate="postgres")]

    values = {value for each in secrets.wanted("kind") for key, value in cluster.secret(each.name).items() if each.keys[key] in _RANDOM}
    told = cluster.calls.read_text() + str(outcomes) + "".join(capfd.readouterr())
    assert [value for value in values if value in told or base64.b64encode(value.encode()).decode() in told] == []


def test_production_says_what_has_to_be_given(cluster: Cluster):
    with pytest.raises(k.ClusterError, match=r"lakefs-server lacks LAKEFS_DATABASE_POSTGRES_CONNECTION_STRING") as error:
        secrets.ensure("production")

    assert "mlflow-server lacks MLFLOW_BACKEND_STORE_URI, MLFLOW_AUTH_DATABASE_URI" in str(error.value)
    assert not k.get("secret", cluster.services, "lakeline-events"), "nothing is made before all can be"


def test_production_keeps_what_is_given_and_adds_the_rest(cluster: Cluster):
    given = {
        "lakefs-server": {"LAKEFS_DATABASE_POSTGRES_CONNECTION_STRING": "postgres://lakefs:p@db.example.org/lakefs"},
        "mlflow-server": {"MLFLOW_BACKEND_STORE_URI": "postgresql+psycopg2://a", "MLFLOW_AUTH_DATABASE_URI": "postgresql+psycopg2://b"},
    }
    for name, values in given.items():
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": cluster.services}, "data": data}
        k.kubectl("create", "--filename=-", stdin=json.dumps(secret))

    secrets.ensure("production")

    for name, values in given.items():
        assert values.items() <= cluster.secret(name).items()
    assert "AWS_SECRET_ACCESS_KEY" not in cluster.secret("mlflow-server"), "a cloud's identity needs none"
    assert cluster.secret("mlflow-server")["MLFLOW_AUTH_ADMIN_PASSWORD"]


def test_namespace_that_is_not_there_yet_is_left_out(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(k, "exists", lambda kind, name, namespace=None: name == cluster.services)

    outcomes = secrets.ensure()

    left = {(outcome.name, outcome.namespace) for outcome in outcomes if outcome.did == "left out"}
    elsewhere = [(each.name, space) for each in secrets.wanted("kind") for space in each.namespaces if space != cluster.services]
    assert left == set(elsewhere)
    assert ("lakeline-lakefs", cluster.pipelines) in left


_RANDOM = (wanted.password, wanted.access_key, wanted.secret_key)
