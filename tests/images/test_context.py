"""What of a checkout a build can see."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images.containers import PROJECT, Builder

SOURCES = ("lakeline", "components", "pipelines", "datasets")
OTHERS = (
    *("LICENSE", "README.md", "pyproject.toml", "requirements.txt", "requirements-setup.txt"),
    *("images/mlflow/requirements.txt", "images/serving/requirements.txt"),
)
SECRETS = (
    ".env",
    ".netrc",
    "kubeconfig.yaml",
    ".git/config",
    ".venv/bin/python",
    ".lakeline/mlflow.db",
    "lakeline/.env",
    "lakeline/lake/lakectl.key",
    "pipelines/commands/token.txt",
    "datasets/private/password.json",
    "kubernetes/secret.yaml",
    "tests/token.py",
)


@pytest.fixture
def seen(builder: Builder, tmp_path: Path) -> Iterator[set[str]]:
    """Files that a build is given, in a checkout where secrets lie about."""
    checkout, out = tmp_path / "checkout", tmp_path / "out"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()}")
    for name in filter(None, listed.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, checkout / name, follow_symlinks=False)
    for name in SECRETS:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("secret")
    recipe = tmp_path / "Containerfile"
    recipe.write_text("FROM scratch\nCOPY . /context/\n")
    out.mkdir()
    image = "localhost/lakeline-test/context:1"
    options = ["--isolation=chroot"] if builder.name == "buildah" else []
    builder("build", *options, "--quiet", "--file", str(recipe), "--tag", image, str(checkout))
    try:
        with builder.files(image) as root:
            yield {str(path.relative_to(root / "context")) for path in (root / "context").rglob("*") if path.is_file()}
    finally:
        builder("rmi", image, check=False)


def test_a_build_sees_the_sources_and_nothing_else(seen: set[str]):
    command = ["git", "ls-files", "-z", "--", *SOURCES]
    tracked = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split("\0")
    sources = {name for name in tracked if name and not name.endswith(".md") and (PROJECT / name).is_file()}
    assert seen == sources | set(OTHERS)
