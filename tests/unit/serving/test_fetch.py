"""Files of a version, brought to where its server will find them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lakeline.errors import RegistryError
from lakeline.registry.files import files_digest
from lakeline.registry.store import connect
from lakeline.serving.environment import environment
from lakeline.serving.fetch import fetch
from lakeline.serving.release import Release
from tests.unit.serving.models import NAME


@pytest.fixture
def version(folder: Path) -> int:
    """The model, registered in a store of this test's own."""
    client = connect()
    client.create_registered_model(NAME)
    return int(client.create_model_version(NAME, str(folder)).version)


def test_a_version_is_fetched_once_and_whatever_else_is_there_goes(version: int, folder: Path, tmp_path: Path, home: Path):
    digest, there = files_digest(folder), tmp_path / "mounted"
    there.mkdir()
    (there / "left-over.skops").write_text("half of another version")
    told = os.environ | environment(Release(NAME, version, digest), there)
    for _ in range(2):
        subprocess.run([sys.executable, "-m", "lakeline.serving.fetch"], env=told, check=True)
        assert files_digest(there) == digest
    made = (there / "MLmodel").stat().st_mtime_ns
    fetch(NAME, version, digest, there)
    assert (there / "MLmodel").stat().st_mtime_ns == made
    with pytest.raises(RegistryError, match=f"not {'0' * 12} as when it was released"):
        fetch(NAME, version, "0" * 64, there)
