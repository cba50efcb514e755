"""Manifests as kustomize builds them, by kubectl or by kustomize itself."""

import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.manifests.objects import KUBERNETES, OVERLAYS, Object, served

Build = Callable[[Path], list[Object]]
"""Builds a kustomization: its objects."""


@cache
def _build(folder: Path) -> str:
    program = shutil.which("kubectl") or shutil.which("kustomize")
    if not program:
        pytest.skip("neither kubectl nor kustomize is on the PATH")
    command = [program, "kustomize", str(folder)] if program.endswith("kubectl") else [program, "build", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{folder}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def build() -> Build:
    """Build a kustomization: its objects."""

    def built(folder: Path) -> list[Object]:
        return [item for item in yaml.safe_load_all(_build(folder)) if item]

    return built


@pytest.fixture(scope="session", params=OVERLAYS)
def overlay(request: pytest.FixtureRequest, build: Build) -> list[Object]:
    """Objects of an overlay, of a model that is served on it, and of the Job that asks the services."""
    objects = build(KUBERNETES / "overlays" / request.param)
    return objects + served(objects) + build(KUBERNETES / "smoke")
