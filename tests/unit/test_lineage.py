"""The version of the code that runs is that of its own checkout, or says that it isn't known."""

import os
import subprocess
from pathlib import Path

import pytest

from lakeline import lineage

IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@example.org")


def repository(folder: Path) -> str:
    """Make a repository with one commit, whose id it returns."""
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    (folder / "code.py").write_text("1")
    subprocess.run(["git", "-C", str(folder), "add", "code.py"], check=True)
    subprocess.run(["git", "-C", str(folder), *IDENTITY, "commit", "-qm", str(folder)], check=True)
    return subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, encoding="utf-8", check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the code is taken to run from."""
    folder = tmp_path / "above" / "checkout"
    folder.mkdir(parents=True)
    monkeypatch.setattr(lineage, "_CHECKOUT", folder)
    monkeypatch.delenv("LAKELINE_CODE_VERSION", raising=False)
    lineage.code_version.cache_clear()
    return folder


def test_git_dir_of_a_hook_does_not_make_another_repository_ours(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    commit, other = repository(checkout), repository(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other" / ".git" / "index"))

    assert lineage.code_version() == commit != other
    (checkout / "code.py").write_text("2")
    lineage.code_version.cache_clear()
    assert lineage.code_version() == f"{commit}-dirty"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a checkout to somebody else")
def test_checkout_of_another_owner_is_known_all_the_same(checkout: Path):
    commit = repository(checkout)
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, 12345, 12345)

    assert lineage.code_version() == commit


def test_checkout_that_git_cannot_read_says_so_and_is_not_the_one_above(checkout: Path):
    repository(checkout.parent)
    (checkout / ".git").mkdir()

    assert lineage.code_version().startswith(f"{lineage.__version__} (commit unknown: fatal: not a git repository")
