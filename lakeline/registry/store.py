"""The connection to MLflow: found by the settings, quiet, and with errors that say what to do."""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lakeline.errors import LakelineError, RegistryError, RegistryUnavailable, causes, of_the_place
from lakeline.registry.location import artifact_root, follow_and_say
from lakeline.registry.peek import sqlite_path
from lakeline.settings import get_settings, sqlite_uri

if TYPE_CHECKING:
    from collections.abc import Generator

    from mlflow import MlflowClient

_ENVIRONMENT = {
    # Nothing phones home.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # Standard output and standard error are ours.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    # Files come through the server. It would have clients read and write its object store by signed addresses, which only it can reach.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
}
_TRIES, _STEP_TRIES = "4", "8"
"""Second tries of a request: a person hears within half a minute of a server that is gone; a step goes on asking for four minutes."""

_ADVICE = (
    ("database is locked", "another program holds the database. Let it finish (or end it), then run the same command again."),
    ("disk is full|No space left on device|Disk quota exceeded", "the disk is full. Free some space and run the same command again."),
    (
        "malformed|not a database",
        "this file is no MLflow database, or a damaged one. Bring it back from a copy, or move it away to begin anew.",
    ),
    (
        "unable to open|readonly database",
        "the database can't be opened for writing. Look at the folder's permissions and at the space left.",
    ),
)
"""What SQLite says, and what to do."""

_LIBRARIES = ("mlflow", "sqlalchemy", "alembic", "requests", "urllib3", "botocore", "boto3", "s3transfer")
_AWAY_CODES = ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "ABORTED", "CANCELLED")
_AWAY_SIGNS = (
    "Max retries exceeded",
    "failed with timeout exception",
    "failed with error code 5",
    "database is locked",
    "Connection refused",
)
"""MLflow raises what its client met as an internal error, which it also calls whatever else it has no word for."""


def quiet() -> None:
    """Settle MLflow's settings that the user has not, and silence its chatter: before its import, and after, for that undoes it."""
    in_step = os.environ.get("_KFP_RUNTIME") == "true"
    for name, value in (_ENVIRONMENT | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": _STEP_TRIES if in_step else _TRIES}).items():
        os.environ.setdefault(name, value)
    for name in ("mlflow", "alembic", "sqlalchemy.engine", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if in_step:
        _tell_of_tries()
    warnings.filterwarnings("ignore", module=r"(mlflow|alembic|sqlalchemy)\b")


class _Tries(logging.Handler):
    """Says in a step's log that a request is tried again, in the place of urllib3's own words."""

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("Retry"):
            print(
                f"lakeline: MLflow at {shown_uri()} does not answer. Asking it again, for some minutes at most.",
                file=sys.stderr,
                flush=True,
            )


def _tell_of_tries() -> None:
    logger = logging.getLogger("urllib3.connectionpool")
    if not any(isinstance(handler, _Tries) for handler in logger.handlers):
        logger.addHandler(_Tries())
    logger.setLevel(logging.DEBUG)  # its word for a second try after a server's error
    logger.propagate = False


def connect() -> MlflowClient:
    """Client of the store that the settings name; the default one, SQLite, is created if needed.

    Raises
    ------
    RegistryError
        If the store is out of reach, locked, or of another version of MLflow.
    """
    quiet()
    uri = get_settings().mlflow_uri
    _log_in(uri)
    path = sqlite_path(uri)
    if path is not None:
        if path.exists():
            follow_and_say(path)
        else:
            _create(path)
    with speaking():
        import mlflow

        quiet()
        with _environment_kept("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            mlflow.set_tracking_uri(uri)
            mlflow.set_registry_uri(uri)
        return mlflow.MlflowClient(uri, uri)


def _log_in(uri: str) -> None:
    """Have MLflow log in as a pod's own settings say, if it speaks to the server that they are for and isn't told otherwise."""
    told = any(name in os.environ for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_AUTH"))
    if not told and uri == os.environ.get("LAKELINE_MLFLOW_TRACKING_URI"):
        for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
            if f"LAKELINE_{name}" in os.environ:
                os.environ[name] = os.environ[f"LAKELINE_{name}"]


@contextmanager
def _environment_kept(*names: str) -> Generator[None]:
    """Undo changes of variables: MLflow writes the store that a program names into the environment, where settings come from."""
    before = {name: os.environ.get(name) for name in names}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _create(path: Path) -> None:
    """Create a SQLite store: all of it or nothing, for MLflow's migrations can't go on where an interrupt stopped them."""
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f"{path.name}.lock")), speaking():
        if path.exists():
            return
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        quiet()
        fresh = path.with_name(f"{path.name}.new")
        fresh.unlink(missing_ok=True)
        store = SqlAlchemyStore(sqlite_uri(fresh), artifact_root(path))
        store.engine.dispose()
        fresh.replace(path)


def experiment_id(client: MlflowClient, name: str) -> str:
    """Id of the experiment of a data set, which is created, or taken back from the trash, if needed."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        path = sqlite_path(get_settings().mlflow_uri)
        try:
            return client.create_experiment(name, None if path is None else f"{artifact_root(path)}/{name}")
        except MlflowException:  # another run may have created it in the meantime
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id


@contextmanager
def speaking() -> Generator[None]:
    """Turn what MLflow raises into a RegistryError that says what to do: RegistryUnavailable where a later try may end otherwise."""
    try:
        yield
    except LakelineError:
        raise
    except Exception as error:
        if not type(error).__module__.startswith(_LIBRARIES):
            raise
        kind = RegistryUnavailable if _is_away(error) else RegistryError
        # The cause goes no further: its text may hold the password of the store's address.
        raise kind(f"MLflow at {shown_uri()}: {_without_password(_explain(error))}") from None


def _is_away(error: Exception) -> bool:
    """Whether what MLflow raises says that its server, its database or the store of its files is out of reach."""
    code = getattr(error, "error_code", None)
    return of_the_place(error) or code in _AWAY_CODES or any(sign in str(error) for sign in _AWAY_SIGNS)


def shown_uri() -> str:
    """Where the store is, without a password."""
    return _without_password(get_settings().mlflow_uri)


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)


def _explain(error: Exception) -> str:
    text = str(error)
    line = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    found = re.search(r"found version (\w+), but expected (\w+)|locate revision identified by '(\w+)'", text)
    if found:
        return _explain_schema(found[1] or found[3])
    whole = "\n".join(str(each) for each in causes(error))  # MLflow has words of its own around what the disk says
    for sign, advice in _ADVICE:
        if re.search(sign, whole):
            return advice
    if type(error).__module__.startswith(("requests", "urllib3")) or "Max retries exceeded" in text or "API request to" in text:
        return f"the server does not answer as it should ({line[:200]}). Is it running, and is MLFLOW_TRACKING_URI right?"
    return line[:500]


def _explain_schema(revision: str) -> str:
    import mlflow

    known = any((Path(mlflow.__file__).parent / "store/db_migrations/versions").glob(f"*{revision}*.py"))
    if known:
        uri = get_settings().mlflow_uri
        return f"the database is of an older MLflow. Copy it for safety, then run: mlflow db upgrade {shown_uri() if '@' in uri else uri}"
    return (
        f"the database was written by a newer MLflow than this one, {mlflow.__version__} (its schema {revision} is unknown here). "
        "Upgrade MLflow here, or name another store with MLFLOW_TRACKING_URI."
    )


def store_version() -> str:
    """One line about the store, for a check-up: where it is, and which MLflow talks to it.

    Raises
    ------
    RegistryError
        If the store is out of reach, locked, or of another version of MLflow.
    """
    path = sqlite_path(get_settings().mlflow_uri)
    if path is not None and not path.exists():
        return f"{shown_uri()} (not there yet; the first training run creates it)"
    client = connect()
    with speaking():
        import mlflow

        from lakeline.registry.versions import pages

        count = sum(1 for _ in pages(client.search_registered_models))
    return f"{shown_uri()} ({count} registered model{'' if count == 1 else 's'}), MLflow {mlflow.__version__}"
