"""A registered model of a data set, with an alias to move."""

import json
import uuid

from lakeline.lake import Lake
from lakeline.registry.deployed import record_deployed
from lakeline.registry.moves import move_alias
from lakeline.registry.store import connect
from tests.unit.events.deliver import deliver


class Model:
    """A registered model of a data set with three versions, of which the first serves."""

    def __init__(self, lake: Lake) -> None:
        self.lake, self.name, self.client = lake, lake.name, connect()
        self.commits = [deliver(lake, f"2013-0{month}") for month in (1, 2, 3)]
        self.client.create_registered_model(self.name)
        for commit in self.commits:
            self.client.create_model_version(self.name, "file:///nowhere", tags={"data_commit": commit})
        self.move(1)
        record_deployed(self.name, 1, "deployment-1", "somebody")

    def move(self, version: int | None) -> None:
        """Move the alias, as a promotion does."""
        move_alias(self.client, self.name, "production", version, f"reason {uuid.uuid4()}")

    def told(self, version: int, delivery: str | None = None) -> str:
        """What the gate passes on of a move."""
        return json.dumps({"delivery": delivery or str(uuid.uuid4()), "model": self.name, "alias": "production", "version": str(version)})

    @property
    def claims(self) -> dict[str, str]:
        return {name: commit for name, commit in self.lake.tags().items() if name.startswith("run/deployment/")}
