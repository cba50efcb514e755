"""Pipelines on a Kubeflow Pipelines server: their versions uploaded, and runs of them started and found."""

# pyright: basic, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportOptionalSubscript=false
# kfp's client is made of what its server's API is described with: to a type checker all of it is unknown.

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeline.errors import PipelinesError, UsageError
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from kfp import Client

_TIMEOUT = 30.0
"""Seconds that the server has for an answer."""

PREFIX = "lakeline-"
"""What the pipelines' names begin with on a server, where others have pipelines as well."""

_SHORT = 12
"""Characters of a commit that name it."""


@dataclass(frozen=True)
class PinnedVersion:
    """A version of a pipeline on the server: what a run of it does never changes."""

    pipeline: str
    pipeline_id: str
    version_id: str
    name: str


@contextmanager
def speaking() -> Generator[None]:
    """Turn what the server, or the way to it, has against a request into a PipelinesError."""
    from kfp_server_api import ApiException
    from urllib3.exceptions import HTTPError

    at = get_settings().pipelines_endpoint
    try:
        yield
    except ApiException as error:
        raise PipelinesError(f"Kubeflow Pipelines at {at} refuses: {_said(error)} ({error.status}).") from error
    except (HTTPError, TimeoutError) as error:
        raise PipelinesError(
            f"Kubeflow Pipelines at {at} is out of reach: {_reason(error).rstrip('.')}. "
            "Is KF_PIPELINES_ENDPOINT right, and what leads there (kubectl port-forward, a VPN) up?"
        ) from error


def connect() -> Client:
    """Client of the server that KF_PIPELINES_ENDPOINT names.

    Raises
    ------
    UsageError
        If it names none.
    PipelinesError
        If the server is out of reach, or lets nobody in without a token (KF_PIPELINES_TOKEN).
    """
    settings = get_settings()
    if not settings.pipelines_endpoint:
        raise UsageError(
            "where is Kubeflow Pipelines? Set KF_PIPELINES_ENDPOINT. To reach the one of a cluster from here: "
            "kubectl --namespace kubeflow port-forward service/ml-pipeline 8888, then KF_PIPELINES_ENDPOINT=http://127.0.0.1:8888"
        )
    from kfp import Client

    with speaking(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        token = settings.pipelines_token.get_secret_value() if settings.pipelines_token else None
        _require_answer()
        client = Client(settings.pipelines_endpoint, existing_token=token)
    # What kfp's client has no argument for: without a limit it waits for an answer for ever.
    client._run_api.api_client.rest_client.pool_manager.connection_pool_kw["timeout"] = _TIMEOUT
    return client


def ready(client: Client, pipeline: str) -> PinnedVersion:
    """Have the server know a pipeline as this code has it; what it knows already is not uploaded again.

    The version is named after the git commit. If the server has a version of that name with other content (another image, or
    changes that are not committed), the name gets the digest of the content besides.

    Parameters
    ----------
    client
        From `connect`.
    pipeline
        One of PIPELINES.

    Raises
    ------
    PipelinesError
        If the server refuses it, or is out of reach.
    """
    from lakeline.lineage import code_version

    package = compiled(pipeline)
    digest = hashlib.sha256(package.encode()).hexdigest()
    commit, dirty, _ = code_version().partition(" ")[0].partition("-dirty")
    name = commit[:_SHORT] + dirty
    said = f"{_image(package)} sha256:{digest}"
    with speaking():
        pipeline_id = _pipeline_id(client, pipeline)
        for tried in (name, f"{name}-{digest[:8]}"):
            known = _version(client, pipeline_id, tried) or _upload(client, pipeline_id, tried, package, said)
            if known.description == said:
                return PinnedVersion(pipeline, pipeline_id, known.pipeline_version_id, tried)
    raise PipelinesError(f"{pipeline}: the server's version {name}-{digest[:8]} isn't what its name says. Delete it, and try again.")


def compiled(pipeline: str) -> str:
    """YAML of a pipeline, for the image that LAKELINE_STEPS_IMAGE names."""
    import importlib

    from pipelines.compile import compile_text

    return compile_text(getattr(importlib.import_module(f"pipelines.{pipeline}"), pipeline))


def submit(client: Client, version: PinnedVersion, arguments: Mapping[str, Any], name: str) -> str:
    """Start a run.

    Parameters
    ----------
    client
        From `connect`.
    version
        What to run, from `ready`.
    arguments
        Parameters of the pipeline. The run goes to the experiment that is named as its data set.
    name
        Name that people see.

    Returns
    -------
    str
        Id of the run.

    Raises
    ------
    PipelinesError
        If the server refuses it, or is out of reach.
    """
    import kfp_server_api as api

    with speaking():
        run = api.V2beta1Run(
            experiment_id=experiment(client, arguments["dataset"]),
            display_name=name,
            pipeline_version_reference=api.V2beta1PipelineVersionReference(
                pipeline_id=version.pipeline_id, pipeline_version_id=version.version_id
            ),
            runtime_config=api.V2beta1RuntimeConfig(parameters=dict(arguments)),
        )
        return str(client._run_api.run_service_create_run(run=run).run_id)


def experiment(client: Client, dataset: str) -> str:
    """Id of the experiment that the runs of a data set are in."""
    with speaking(), redirect_stdout(io.StringIO()):  # on which it prints links
        return str(client.create_experiment(dataset).experiment_id)


def find_runs(client: Client, name: str) -> list[str]:
    """Ids of the runs of this very name, newest first."""
    with speaking():
        found = client.list_runs(page_size=100, sort_by="created_at desc", filter=having("name", name))
    return [str(run.run_id) for run in found.runs or []]


def api_url() -> str:
    """Address of the API."""
    return (get_settings().pipelines_endpoint or "").rstrip("/")


def authorization() -> dict[str, str]:
    """Header that lets in, if there is a token."""
    token = get_settings().pipelines_token
    return {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}


def run_url(run_id: str) -> str:
    """Where a person sees a run: on the user interface (KF_PIPELINES_UI_ENDPOINT), or by the API's address, which often is the same."""
    settings = get_settings()
    return f"{(settings.pipelines_ui or settings.pipelines_endpoint or '').rstrip('/')}/#/runs/details/{run_id}"


def having(key: str, value: str, operation: str = "EQUALS") -> str:
    """Filter of the API: what has this value; what has it in it, if the operation is IS_SUBSTRING."""
    return json.dumps({"predicates": [{"operation": operation, "key": key, "stringValue": value}]})


def _require_answer() -> None:
    """Ask for the server's health once; the client itself would ask five times, with pauses, and log each."""
    import httpx

    try:
        answer = httpx.get(f"{api_url()}/apis/v2beta1/healthz", headers=authorization(), timeout=_TIMEOUT)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise TimeoutError(str(error)) from error
    if not answer.is_success:
        refused = "The token of KF_PIPELINES_TOKEN isn't good there."
        how = refused if authorization() else "It lets nobody in without a token: set KF_PIPELINES_TOKEN."
        advice = f" {how}" if answer.status_code in _UNKNOWN else ""
        raise PipelinesError(f"Kubeflow Pipelines at {api_url()} answers {answer.status_code} {answer.reason_phrase}.{advice}")


_UNKNOWN = (302, 401, 403)
"""What a server, or the proxy before it, answers somebody whom it doesn't know."""


def _pipeline_id(client: Client, pipeline: str) -> str:
    import kfp_server_api as api

    pipeline = PREFIX + pipeline
    known = client.get_pipeline_id(pipeline)
    if known:
        return str(known)
    described = api.V2beta1Pipeline(display_name=pipeline, name=pipeline)
    try:
        return str(client._pipelines_api.pipeline_service_create_pipeline(pipeline=described).pipeline_id)
    except api.ApiException as error:
        known = client.get_pipeline_id(pipeline) if error.status == _CONFLICT else None
        if known:  # somebody else has just made it
            return str(known)
        raise


_CONFLICT = 409


def _version(client: Client, pipeline_id: str, name: str) -> Any | None:
    found = client.list_pipeline_versions(pipeline_id, page_size=10, filter=having("name", name)).pipeline_versions
    return found[0] if found else None


def _upload(client: Client, pipeline_id: str, name: str, package: str, said: str) -> Any:
    import kfp_server_api as api

    with tempfile.TemporaryDirectory(prefix="lakeline-") as folder:
        path = Path(folder) / "pipeline.yaml"
        path.write_text(package, encoding="utf-8")
        try:
            return client._upload_api.upload_pipeline_version(str(path), name=name, pipelineid=pipeline_id, description=said)
        except api.ApiException as error:
            known = _version(client, pipeline_id, name) if error.status == _CONFLICT else None
            if known:
                return known
            raise


def _image(package: str) -> str:
    """Image that a compiled pipeline's steps run in."""
    return next((line.split("image:", 1)[1].strip() for line in package.splitlines() if line.strip().startswith("image:")), "")


def _said(error: Any) -> str:
    try:
        told = json.loads(error.body)
        return str(told.get("message") or told.get("error_message") or told.get("error") or error.reason).strip().rstrip(".")
    except (TypeError, ValueError, AttributeError):
        return str(error.reason or error)


def _reason(error: BaseException) -> str:
    """The innermost cause, which says what it was; the others say that they tried."""
    text = str(getattr(error, "reason", None) or error)
    return text.split(": ", 1)[-1] if text.startswith("<") else text
