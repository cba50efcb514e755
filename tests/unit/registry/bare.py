"""A registered model whose versions have no files: for what is about aliases and their history alone."""

from typing import Any

from lakeline.registry.promotion import put_in_production
from lakeline.registry.store import connect

NAME = "ferries"


class Bare:
    """A model with some versions, and what people do to its aliases."""

    def __init__(self, versions: int = 4) -> None:
        self.client: Any = connect()
        self.client.create_registered_model(NAME)
        for _ in range(versions):
            self.client.create_model_version(NAME, "file:///nowhere")

    def promote(self, *versions: int) -> None:
        """Promote versions, one after the other."""
        for version in versions:
            candidate = self.client.get_model_version(NAME, str(version))
            put_in_production(self.client, candidate, self.stands("production"), [f"{version} is good"])

    def set_in_mlflow(self, version: int) -> None:
        """Set the alias as MLflow's own interface does."""
        self.client.set_registered_model_alias(NAME, "production", str(version))

    def stands(self, alias: str) -> int | None:
        """Where an alias stands."""
        found = self.client.get_registered_model(NAME).aliases.get(alias)
        return None if found is None else int(found)

    @property
    def both(self) -> tuple[int | None, int | None]:
        """Where `production` and `previous` stand."""
        return self.stands("production"), self.stands("previous")
