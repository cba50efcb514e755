"""Prepares MLflow's databases before its server starts: schemas of this version, users with the passwords that the Secrets say, a webhook.

It runs in the server's image, before each start, so that an upgrade migrates and a rotated password holds after a restart.
"""

from __future__ import annotations

import configparser
import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING

from mlflow.store.db import utils
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from collections.abc import Generator

    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import Connection, Engine

_PATIENCE = 180  # seconds
_LOCK = 20_615
"""One number for all replicas: they wait for each other on it."""
_WEBHOOK = "lakeline-alias"

log = logging.getLogger("prepare")


def main() -> None:
    """Write the server's file of settings, migrate both databases, and see to the users and the webhook."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    tracking, users = os.environ["MLFLOW_BACKEND_STORE_URI"], os.environ["MLFLOW_AUTH_DATABASE_URI"]
    write_settings(os.environ["MLFLOW_AUTH_CONFIG_PATH"], users)

    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore  # which reads the settings when it is imported

    with _alone(users):
        migrate(tracking)
        store = SqlAlchemyStore()
        store.init_db(users)
        ensure_user(store, os.environ["MLFLOW_AUTH_ADMIN_USERNAME"], os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"], is_admin=True)
        ensure_user(store, os.environ["STEPS_USERNAME"], os.environ["STEPS_PASSWORD"], is_admin=False)
        ensure_user(store, os.environ["SERVING_USERNAME"], os.environ["SERVING_PASSWORD"], is_admin=False)
        ensure_webhook(tracking, os.environ["ALIAS_WEBHOOK_URL"], os.environ["ALIAS_WEBHOOK_SECRET"])


def migrate(uri: str) -> None:
    """Bring the database of runs and models to the schema of this MLflow; a new one gets all tables."""
    engine = create_engine(uri)
    with engine.connect() as connection:
        new = not engine.dialect.has_table(connection, "experiments")
    if new:
        utils._initialize_tables(engine)
    else:
        utils._upgrade_db(engine)
    engine.dispose()
    log.info("runs and models: %s", "tables made" if new else "schema is current")


def ensure_user(store: SqlAlchemyStore, name: str, password: str, is_admin: bool) -> None:
    """Have a user with this password; who has it already is left alone, so that a restart changes nothing."""
    if not store.has_user(name):
        store.create_user(name, password, is_admin)
        log.info("user %s: made", name)
    elif not store.authenticate_user(name, password):
        store.update_user(name, password, is_admin)
        log.info("user %s: password changed", name)
    else:
        log.info("user %s: is there", name)


def ensure_webhook(uri: str, url: str, secret: str) -> None:
    """Have the server tell of each move of an alias, signed with this secret; one that somebody has switched off stays off.

    What is there is changed without being read: its secret may be encrypted with a key that is gone.
    """
    from mlflow.entities.webhook import WebhookAction, WebhookEntity, WebhookEvent
    from mlflow.store.model_registry.dbmodels.models import SqlWebhook
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(uri)
    with store.ManagedSessionMaker(read_only=False) as session:
        ours = session.query(SqlWebhook).filter(SqlWebhook.name == _WEBHOOK, SqlWebhook.deleted_timestamp.is_(None))
        there = ours.update({"url": url, "secret": secret}, synchronize_session=False)
    if not there:
        store.create_webhook(_WEBHOOK, url, [WebhookEvent(WebhookEntity.MODEL_VERSION_ALIAS, WebhookAction.CREATED)], secret=secret)
    log.info("webhook %s: %s", _WEBHOOK, "is there" if there else "made")


def write_settings(path: str, users: str) -> None:
    """Write what the server takes from a file alone. Who has a password reads everything, and changes what is theirs."""
    settings = configparser.ConfigParser(interpolation=None)
    settings["mlflow"] = {
        "default_permission": "READ",
        "database_uri": users,
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
        "auth_cache_ttl_seconds": "60",
    }
    with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o640)) as file:
        settings.write(file)


@contextlib.contextmanager
def _alone(uri: str) -> Generator[None]:
    """Keep other replicas waiting while this one migrates. The lock ends with the connection."""
    engine = create_engine(uri)
    with _connected(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": _LOCK})
        yield
    engine.dispose()


def _connected(engine: Engine) -> Connection:
    """Connect to a database that may be starting up itself."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return engine.connect()
        except OperationalError as error:
            if time.monotonic() > end:
                raise
            log.info("the database does not answer yet: %s", str(error.orig).splitlines()[0])
            time.sleep(3)


if __name__ == "__main__":
    main()
