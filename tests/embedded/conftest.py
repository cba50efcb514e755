"""Whole pipelines, from the command line, in a home that the tests of a module share."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lakeline.serving.local.site import LocalSite
from lakeline.settings import get_settings
from tests.ferries import NAME, Ferries, end_all, make
from tests.ports import free_port


@dataclass(frozen=True)
class Done:
    """What a command left: exit code, what it said on stderr, and its JSON object."""

    code: int
    said: str
    result: dict[str, Any]


Lakeline = Callable[..., Done]


def lakeline_in(home: Path) -> Lakeline:
    """Run the command in a home of its own, as a user would, with --json."""

    def run(*arguments: str, **environment: str) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *arguments, "--json"],
            env=os.environ | {"LAKELINE_HOME": str(home)} | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        result = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}
        return Done(done.returncode, done.stderr, result)

    return run


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LAKELINE_HOME of the commands of a module."""
    return tmp_path_factory.mktemp("shared-home")


@pytest.fixture(scope="module")
def lakeline(shared_home: Path) -> Lakeline:
    """The command, in the module's home."""
    return lakeline_in(shared_home)


@pytest.fixture
def at_home(shared_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have this process look at the module's home too."""
    monkeypatch.setenv("LAKELINE_HOME", str(shared_home))
    get_settings.cache_clear()
    yield shared_home
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def ferries(tmp_path_factory: pytest.TempPathFactory) -> Ferries:
    """Versions of a small model in a store of their own, which tests read only."""
    return make(tmp_path_factory.mktemp("ferries"))


@pytest.fixture
def local(ferries: Ferries, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], LocalSite]]:
    """Make a site of this machine, with so many servers a variant, on a port of this test's; nothing serves yet, nor afterwards."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ferries.uri)
    monkeypatch.setenv("LAKELINE_SERVING_PORT", str(free_port()))
    get_settings.cache_clear()
    yield lambda workers: LocalSite(workers=workers)
    end_all(NAME)


@pytest.fixture
def site(local: Callable[[int], LocalSite]) -> LocalSite:
    """A site of this machine, with one server a variant."""
    return local(1)
