"""Asks the services of a cluster, from inside, what a step will ask them. `lakeline cluster deploy` runs it as a Job.

It prints one JSON object a question (what, good, said) and ends with exit code 1 if an answer was not good.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

_EXPERIMENT = "lakeline-smoke"
_TEXT = b"smoke"


def main() -> int:
    """Ask everything; exit code 0 if all is good."""
    import httpx

    good = True
    with httpx.Client(timeout=30) as client:
        for what, question in QUESTIONS.items():
            try:
                said, fine = question(client, os.environ), True
            except httpx.HTTPStatusError as error:
                answer = error.response
                said, fine = f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text[:300]}", False
            except httpx.HTTPError as error:
                said, fine = f"{error.request.url}: {type(error).__name__} {error}", False
            except (_Wrong, KeyError) as error:
                said, fine = f"the environment lacks {error}" if isinstance(error, KeyError) else str(error), False
            good = good and fine
            print(json.dumps({"what": what, "good": fine, "said": said}), flush=True)
    return 0 if good else 1


class _Wrong(Exception):
    """An answer that is not what it should be."""


def lakefs_closed(client: httpx.Client, env: Mapping[str, str]) -> str:
    """LakeFS answers nobody without keys."""
    return _refused(client, f"{env['LAKECTL_SERVER_ENDPOINT_URL']}/api/v1/repositories")


def lakefs_open(client: httpx.Client, env: Mapping[str, str]) -> str:
    """LakeFS knows the keys of steps, and its object store keeps what it is given."""
    api, keys = f"{env['LAKECTL_SERVER_ENDPOINT_URL']}/api/v1", _lakefs_keys(env)
    name = f"smoke-{secrets.token_hex(4)}"
    storage = f"{env['LAKELINE_LAKEFS_STORAGE'].rstrip('/')}/{name}"
    body = {"name": name, "storage_namespace": storage, "default_branch": "main"}
    client.post(f"{api}/repositories", json=body, auth=keys).raise_for_status()
    try:
        objects = f"{api}/repositories/{name}/branches/main/objects"
        client.post(objects, params={"path": "a"}, content=_TEXT, auth=keys).raise_for_status()
        read = client.get(f"{api}/repositories/{name}/refs/main/objects", params={"path": "a"}, auth=keys).raise_for_status()
        if read.content != _TEXT:
            raise _Wrong(f"lakeFS gave back {read.content[:50]!r} for {_TEXT!r}.")
    finally:
        client.delete(f"{api}/repositories/{name}", params={"force": "true"}, auth=keys)
    return f"wrote and read an object in {storage}"


def mlflow_closed(client: httpx.Client, env: Mapping[str, str]) -> str:
    """MLflow answers nobody without a password."""
    return _refused(client, f"{env['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/experiments/search?max_results=1")


def mlflow_open(client: httpx.Client, env: Mapping[str, str]) -> str:
    """MLflow knows the password of steps, and its object store keeps what it is given."""
    root, login = env["MLFLOW_TRACKING_URI"], (env["MLFLOW_TRACKING_USERNAME"], env["MLFLOW_TRACKING_PASSWORD"])
    api = f"{root}/api/2.0/mlflow/experiments"
    found = client.get(f"{api}/get-by-name", params={"experiment_name": _EXPERIMENT}, auth=login)
    if found.status_code == 404:  # noqa: PLR2004
        number = client.post(f"{api}/create", json={"name": _EXPERIMENT}, auth=login).raise_for_status().json()["experiment_id"]
    else:
        experiment = found.raise_for_status().json()["experiment"]
        number = experiment["experiment_id"]
        if experiment["lifecycle_stage"] == "deleted":
            client.post(f"{api}/restore", json={"experiment_id": number}, auth=login).raise_for_status()
    artifact = f"{root}/api/2.0/mlflow-artifacts/artifacts/{number}/smoke.txt"
    client.put(artifact, content=_TEXT, auth=login).raise_for_status()
    read = client.get(artifact, auth=login).raise_for_status()
    if read.content != _TEXT:
        raise _Wrong(f"MLflow gave back {read.content[:50]!r} for {_TEXT!r}.")
    client.delete(artifact, auth=login).raise_for_status()
    client.post(f"{api}/delete", json={"experiment_id": number}, auth=login).raise_for_status()
    return "wrote and read an artifact through the tracking server"


def pipelines_open(client: httpx.Client, env: Mapping[str, str]) -> str:
    """Kubeflow Pipelines answers, and reaches its database."""
    root = env["KF_PIPELINES_ENDPOINT"]
    client.get(f"{root}/apis/v2beta1/healthz").raise_for_status()
    answer = client.get(f"{root}/apis/v2beta1/pipelines", params={"page_size": 1}).raise_for_status().json()
    return f"knows {answer.get('total_size', 0)} pipelines"


def predictions_open(_: httpx.Client, env: Mapping[str, str]) -> str:
    """The object store takes what servers will log of predictions, and gives it to steps."""
    from lakeline.serving.store import filesystem

    files, root = filesystem(env["LAKELINE_PREDICTIONS"])
    path = f"{root}/smoke/{secrets.token_hex(4)}.txt"
    try:
        files.pipe_file(path, _TEXT)
        read = files.cat_file(path)
        files.rm_file(path)
    except OSError as error:
        raise _Wrong(f"{env['LAKELINE_PREDICTIONS']} at {env['AWS_ENDPOINT_URL']}: {error}") from error
    if read != _TEXT:
        raise _Wrong(f"the object store gave back {read[:50]!r} for {_TEXT!r}.")
    return f"wrote and read an object in {env['LAKELINE_PREDICTIONS']}"


QUESTIONS: dict[str, Callable[[httpx.Client, Mapping[str, str]], str]] = {
    "lakeFS refuses strangers": lakefs_closed,
    "lakeFS keeps objects": lakefs_open,
    "MLflow refuses strangers": mlflow_closed,
    "MLflow keeps artifacts": mlflow_open,
    "Kubeflow Pipelines answers": pipelines_open,
    "the log of predictions keeps objects": predictions_open,
}


def _lakefs_keys(env: Mapping[str, str]) -> tuple[str, str]:
    return env["LAKECTL_CREDENTIALS_ACCESS_KEY_ID"], env["LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY"]


def _refused(client: httpx.Client, url: str) -> str:
    answer = client.get(url)
    if answer.status_code != 401:  # noqa: PLR2004
        raise _Wrong(f"{url} answers {answer.status_code} to a stranger; it should be 401.")
    return "401"


if __name__ == "__main__":
    sys.exit(main())
