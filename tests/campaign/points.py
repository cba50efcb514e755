"""Points of a run at which a fault can be put: before and after each call to a store, and at each step's boundaries.

A run is counted first; the points are the same in each run that follows, so that one fault can be put at every one of them.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LAKE_WRITES = ("create_branch", "delete_branch", "commit", "merge", "tag")
_LAKE_READS = ("resolve", "branches", "tags", "log", "diff", "ls", "exists", "read", "download")
"""The methods of `lakeline.lake.base.Lake`."""

_READS = ("get_", "search_", "list_", "_", "record_", "check_", "supports_", "dispose", "load_", "is_")
"""How the names of those methods of MLflow's stores begin that change nothing, or are no calls of their own."""


class Points:
    """Counts the points that a run passes, and acts at one of them.

    Attributes
    ----------
    passed
        Names of the points, in order: `step:`, `lake:`, `registry:`, `sql:` or `file:`, and what happens there.
    """

    def __init__(self, act: Callable[[int, str], None] | None = None) -> None:
        self.passed: list[str] = []
        self._act = act
        self._inside = False

    def at(self, name: str) -> None:
        """Pass a point."""
        if self._inside:  # what acting itself does is no point
            return
        self._inside = True
        try:
            self.passed.append(name)
            if self._act:
                self._act(len(self.passed) - 1, name)
        finally:
            self._inside = False

    def watch(self, home: Path) -> None:
        """Have every call to a store, and every file that is written, moved or removed under a folder, be a point of this process."""
        from lakeline.lake.git import GitLake
        from lakeline.lake.lakefs import LakefsLake

        for lake in (GitLake, LakefsLake):
            for name in (*_LAKE_WRITES, *_LAKE_READS):
                self._wrap(lake, name, "lake", writes=name in _LAKE_WRITES)
        if "mlflow" in sys.modules:
            self._watch_registry()
        self._watch_files(str(home))

    def _watch_registry(self) -> None:
        from mlflow.store.model_registry.rest_store import RestStore as RegistryRestStore
        from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
        from mlflow.store.tracking.rest_store import RestStore as TrackingRestStore
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore
        from sqlalchemy import event
        from sqlalchemy.engine import Engine

        for store in (TrackingStore, RegistryStore, TrackingRestStore, RegistryRestStore):
            for name, method in list(vars(store).items()):
                if callable(method) and not name.startswith(("_", "dispose")) and not isinstance(method, (staticmethod, classmethod)):
                    self._wrap(store, name, "registry", writes=not name.startswith(_READS))
        event.listen(Engine, "commit", lambda _: self.at("sql:commit"))

    def _watch_files(self, folder: str) -> None:
        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event == "open":
                path, _, flags = arguments
                if not (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)):
                    return
            elif event in ("os.rename", "os.remove", "os.mkdir", "os.link"):
                path = arguments[0]
            else:
                return
            name = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else ""
            if name.startswith(folder):
                self.at(f"file:{event} {Path(name).name[:24]}")

        sys.addaudithook(hook)

    def _wrap(self, owner: type, name: str, kind: str, *, writes: bool) -> None:
        method = getattr(owner, name)

        @functools.wraps(method)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.at(f"{kind}:{'before' if writes else 'reading'} {name}")
            result = method(*args, **kwargs)
            if writes:
                self.at(f"{kind}:after {name}")
            return result

        setattr(owner, name, wrapped)
