"""`images/build`, as far as it goes without building."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.images.containers import PROJECT

TOOLS = ("cat", "dirname", "git", "mkdir", "mktemp", "rm", "sed", "sh")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with what the script is written in, and no builder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (folder / tool).symlink_to(found)
    return folder


def build(path: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [str(PROJECT / "images/build"), *arguments]
    return subprocess.run(command, env={"PATH": str(path), **settings}, capture_output=True, text=True, check=False)


def test_help_names_every_image_and_setting(tools: Path):
    done = build(tools, "--help")
    assert done.returncode == 0
    for name in ("steps", "mlflow", "serving", "IMAGES", "REGISTRY", "BASE_IMAGE", "BUILDER", "PIP_INDEX_URL", "--archives"):
        assert name in done.stdout


def test_without_a_builder_it_says_what_to_install(tools: Path):
    done = build(tools)
    assert done.returncode == 1
    assert "none of docker, podman and buildah works here" in done.stderr


def test_an_unknown_image_is_refused_by_name(tools: Path):
    done = build(tools, IMAGES="training", BUILDER="buildah")
    assert done.returncode == 1
    assert "there is no image 'training'" in done.stderr


def test_an_unknown_option_is_wrong_usage(tools: Path):
    assert build(tools, "--push").returncode == 2


def test_an_unknown_builder_is_refused(tools: Path):
    done = build(tools, IMAGES="steps", BUILDER="kaniko")
    assert done.returncode == 1
    assert "BUILDER is 'kaniko'. Give docker, podman or buildah" in done.stderr
