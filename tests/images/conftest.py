"""Images that the tests look at: built once, where there is something to build them with."""

import os
import subprocess
from functools import cache

import pytest

from tests.images.containers import BASE_IMAGE, PROJECT, Builder, working

REGISTRY = "localhost/lakeline-test"
RECENT = subprocess.run(["git", "log", "-1"], cwd=PROJECT, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="session")
def builder() -> Builder:
    """What builds images on this machine."""
    found = working()
    if found is None:
        pytest.skip("no docker, podman or buildah here that can build and run images")
    return found


@pytest.fixture(scope="session")
def steps(builder: Builder) -> str:
    """Name of the steps image, built from this checkout."""
    return _built(builder, "steps")


@pytest.fixture(scope="session")
def mlflow(builder: Builder) -> str:
    """Name of the image of MLflow's server."""
    return _built(builder, "mlflow")


@pytest.fixture(scope="session")
def serving(builder: Builder) -> str:
    """Name of the image that models are served in."""
    return _built(builder, "serving")


@cache
def _built(builder: Builder, name: str) -> str:
    if not RECENT:
        pytest.skip("not a git checkout: images are named after a commit")
    if not builder.has(BASE_IMAGE):
        pytest.skip(f"the base image {BASE_IMAGE} is not here ({builder.name} pull {BASE_IMAGE}, or set BASE_IMAGE)")
    settings = {"IMAGES": name, "REGISTRY": REGISTRY, "BASE_IMAGE": BASE_IMAGE, "BUILDER": builder.name, "PULL": "never"}
    done = subprocess.run(["images/build"], cwd=PROJECT, env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    image = done.stdout.strip().splitlines()[-1].split(" ")[0]
    assert image.startswith(f"{REGISTRY}/{name}:")
    return image
