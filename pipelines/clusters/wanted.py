"""Which Secrets the services of a cluster read, and how each value comes about."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

SERVICES, PIPELINES, SERVING = "lakeline", "kubeflow", "lakeline-serving"
"""Namespaces of Lakeline's services, of Kubeflow Pipelines' steps, and of the models that are served."""

Lookup = Callable[[str, str], str]
"""Value of a key of a Secret, which is made before its use."""


@dataclass(frozen=True)
class Wanted:
    """A Secret that somebody reads."""

    name: str
    what: str
    keys: Mapping[str, Callable[[Lookup], str]]
    namespaces: tuple[str, ...] = (SERVICES,)
    restarts: tuple[str, ...] = ()
    """Who reads it when it starts, in the order of restarts after its values have changed."""
    kept: Mapping[str, str] = field(default_factory=dict[str, str])
    """Keys that get the value that another one had when that is made anew, so that both are good for a while."""
    fixed: str = ""
    """Why its values can't be made anew, if they can't."""


def password(_: Lookup) -> str:
    """Thirty-two letters and digits: nothing that a connection string, a shell or an ini file would read otherwise."""
    return secrets.token_hex(16)


def access_key(_: Lookup) -> str:
    """An access key as S3 and lakeFS have them: twenty capital letters and digits."""
    return "AKIA" + base64.b32encode(secrets.token_bytes(10)).decode()


def secret_key(_: Lookup) -> str:
    """Forty letters and digits."""
    return secrets.token_hex(20)


def encryption_key(_: Lookup) -> str:
    """A key of Fernet's: 32 bytes in base64."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _text(value: str) -> Callable[[Lookup], str]:
    return lambda _: value


def _same(secret: str, key: str) -> Callable[[Lookup], str]:
    return lambda look: look(secret, key)


def _database(scheme: str, role: str, key: str, options: str = "") -> Callable[[Lookup], str]:
    host = f"postgres.{SERVICES}.svc.cluster.local:5432"
    return lambda look: f"{scheme}://{role}:{look('postgres', key)}@{host}/{role}{options}"


def _identities(look: Lookup) -> str:
    """Who may do what in SeaweedFS: each client all in its bucket, and nothing elsewhere.

    What has arrived is read without a key, by whom the policies let in: a spec names its source by an address.
    """
    verbs = ("Read", "Write", "List", "Tagging")
    identities = [
        {
            "name": client,
            "credentials": [
                {
                    "accessKey": look("objectstore", f"{client.upper()}_ACCESS_KEY_ID"),
                    "secretKey": look("objectstore", f"{client.upper()}_SECRET_ACCESS_KEY"),
                }
            ],
            "actions": [f"{verb}:{bucket}" for verb in verbs],
        }
        for client, bucket in (("lakefs", "lakeline"), ("mlflow", "mlflow"), ("predictions", "predictions"), ("arrivals", "arrivals"))
    ]
    identities.append({"name": "anonymous", "actions": ["Read:arrivals"]})
    return json.dumps({"identities": identities}, indent=1)


_LAKEFS, _MLFLOW, _POSTGRES, _OBJECTS = "deployment/lakefs", "deployment/mlflow", "statefulset/postgres", "statefulset/objectstore"
_SERVERS = "deployment --selector=app.kubernetes.io/name=model-server"
_GATE = "deployment/alias-gate"

WANTED = (
    Wanted(
        "postgres",
        "passwords of PostgreSQL: its superuser, and one role a client",
        {"POSTGRES_PASSWORD": password, "LAKEFS_PASSWORD": password, "MLFLOW_PASSWORD": password, "MLFLOW_AUTH_PASSWORD": password},
        restarts=(_POSTGRES, _LAKEFS, _MLFLOW),
    ),
    Wanted(
        "objectstore",
        "keys of the object store, one pair a client, and the file in which it reads them",
        {
            "LAKEFS_ACCESS_KEY_ID": access_key,
            "LAKEFS_SECRET_ACCESS_KEY": secret_key,
            "MLFLOW_ACCESS_KEY_ID": access_key,
            "MLFLOW_SECRET_ACCESS_KEY": secret_key,
            "PREDICTIONS_ACCESS_KEY_ID": access_key,
            "PREDICTIONS_SECRET_ACCESS_KEY": secret_key,
            "ARRIVALS_ACCESS_KEY_ID": access_key,
            "ARRIVALS_SECRET_ACCESS_KEY": secret_key,
            "s3.json": _identities,
        },
        restarts=(_OBJECTS, _LAKEFS, _MLFLOW, _SERVERS),
    ),
    Wanted(
        "lakeline-lakefs",
        "keys by which steps and people use lakeFS",
        {"LAKECTL_CREDENTIALS_ACCESS_KEY_ID": access_key, "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY": secret_key},
        namespaces=(SERVICES, PIPELINES),
        fixed="lakeFS took these keys over when it was installed. docs/OPERATIONS.md says how to change them.",
    ),
    Wanted(
        "lakeline-mlflow",
        "name and password by which steps and people use MLflow",
        {"MLFLOW_TRACKING_USERNAME": _text("lakeline"), "MLFLOW_TRACKING_PASSWORD": password},
        namespaces=(SERVICES, PIPELINES),
        restarts=(_MLFLOW,),
    ),
    Wanted(
        "serving-mlflow",
        "name and password by which the servers of models fetch them from MLflow; that user owns nothing there",
        {"MLFLOW_TRACKING_USERNAME": _text("serving"), "MLFLOW_TRACKING_PASSWORD": password},
        namespaces=(SERVICES, SERVING),
        restarts=(_MLFLOW,),
    ),
    Wanted(
        "lakeline-serving",
        "token that callers show to the servers of models",
        {"LAKELINE_SERVING_TOKEN": secret_key},
        namespaces=(SERVICES, PIPELINES, SERVING),
        restarts=(_SERVERS,),
    ),
    Wanted(
        "lakeline-predictions",
        "keys to the bucket in which servers log predictions",
        {
            "AWS_ACCESS_KEY_ID": _same("objectstore", "PREDICTIONS_ACCESS_KEY_ID"),
            "AWS_SECRET_ACCESS_KEY": _same("objectstore", "PREDICTIONS_SECRET_ACCESS_KEY"),
        },
        namespaces=(SERVING, PIPELINES),
        restarts=(_SERVERS,),
    ),
    Wanted(
        "lakeline-arrivals",
        "keys by which whoever delivers files writes to the bucket of arrivals (kubernetes/events/objects)",
        {
            "AWS_ACCESS_KEY_ID": _same("objectstore", "ARRIVALS_ACCESS_KEY_ID"),
            "AWS_SECRET_ACCESS_KEY": _same("objectstore", "ARRIVALS_SECRET_ACCESS_KEY"),
        },
    ),
    Wanted(
        "lakeline-events",
        "token that lakeFS and our commands show to the webhook of events",
        {"token": secret_key},
        restarts=("deployment --selector=eventsource-name=lakeline", _LAKEFS, _GATE),
    ),
    Wanted(
        "lakeline-alias",
        "secret with which MLflow signs what it tells of aliases, and the one before",
        {"secret": secret_key, "previous": secret_key},
        restarts=(_GATE, _MLFLOW),  # who checks knows both, before who signs has the new one
        kept={"previous": "secret"},
    ),
    Wanted(
        "lakefs-server",
        "what the lakeFS server needs: database, object store, the key that it encrypts with, its first user",
        {
            "LAKEFS_DATABASE_POSTGRES_CONNECTION_STRING": _database("postgres", "lakefs", "LAKEFS_PASSWORD", "?sslmode=disable"),
            "LAKEFS_BLOCKSTORE_S3_CREDENTIALS_ACCESS_KEY_ID": _same("objectstore", "LAKEFS_ACCESS_KEY_ID"),
            "LAKEFS_BLOCKSTORE_S3_CREDENTIALS_SECRET_ACCESS_KEY": _same("objectstore", "LAKEFS_SECRET_ACCESS_KEY"),
            "LAKEFS_AUTH_ENCRYPT_SECRET_KEY": secret_key,
            "LAKEFS_INSTALLATION_USER_NAME": _text("lakeline"),
            "LAKEFS_INSTALLATION_ACCESS_KEY_ID": _same("lakeline-lakefs", "LAKECTL_CREDENTIALS_ACCESS_KEY_ID"),
            "LAKEFS_INSTALLATION_SECRET_ACCESS_KEY": _same("lakeline-lakefs", "LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY"),
        },
        restarts=(_LAKEFS,),
        fixed=(
            "with another LAKEFS_AUTH_ENCRYPT_SECRET_KEY lakeFS can't read the keys of its users any more. "
            "Its other values change with `postgres` and `objectstore`."
        ),
    ),
    Wanted(
        "mlflow-server",
        "what the MLflow server needs: two databases, object store, the administrator's password, keys of its sessions and webhooks",
        {
            "MLFLOW_BACKEND_STORE_URI": _database("postgresql+psycopg2", "mlflow", "MLFLOW_PASSWORD"),
            "MLFLOW_AUTH_DATABASE_URI": _database("postgresql+psycopg2", "mlflow_auth", "MLFLOW_AUTH_PASSWORD"),
            "AWS_ACCESS_KEY_ID": _same("objectstore", "MLFLOW_ACCESS_KEY_ID"),
            "AWS_SECRET_ACCESS_KEY": _same("objectstore", "MLFLOW_SECRET_ACCESS_KEY"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secret_key,
            "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": encryption_key,
        },
        restarts=(_MLFLOW,),
    ),
)

IN_CLUSTER_ONLY = ("postgres", "objectstore", "lakeline-arrivals")
"""Where database and object store are elsewhere, these are not needed, and what follows from them has to be given."""

MAY_BE_ABSENT = (
    "LAKEFS_BLOCKSTORE_S3_CREDENTIALS_ACCESS_KEY_ID",
    "LAKEFS_BLOCKSTORE_S3_CREDENTIALS_SECRET_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
)
"""Where a cloud gives a pod its identity, it needs no keys."""


def wanted(overlay: str) -> tuple[Wanted, ...]:
    """Secrets that an overlay needs."""
    return tuple(each for each in WANTED if overlay != "production" or each.name not in IN_CLUSTER_ONLY)
