"""What `make run` plays, on fewer months and trials."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lakeline.settings import Settings


@pytest.fixture
def small(tmp_path: Path) -> dict[str, str]:
    """A copy of the data sets whose demo is quick, and a home."""
    folder = tmp_path / "datasets"
    shutil.copytree(Settings().datasets, folder)
    spec = folder / "flights" / "dataset.yaml"
    text = spec.read_text()
    assert "trials: 6" in text
    spec.write_text(text.replace("trials: 6", "trials: 2"))
    (folder / "flights" / "demo.yaml").write_text(
        "first: 2013-01\nnext: 2013-02\ncorrupt: {arrival: 2013-03, column: dep_delay, value: n/a, every: 100}\n"
    )
    return os.environ | {"LAKELINE_DATASETS": str(folder), "LAKELINE_HOME": str(tmp_path / "home"), "COLUMNS": "140"}


def play(environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "demo"], env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_demo_shows_the_loop_and_again_does_no_work_twice(small: dict[str, str]):
    first = play(small)
    assert "promoted" in first
    assert re.search(r'2\d\d of 28,834 rows fail "dep_delay is a number"', first)
    assert "main is unchanged" in first
    assert "flights version 2" in first

    again = play(small)
    assert "nothing was trained" in again
    assert "The watch found nothing new" in again
    assert "flights version 3" not in again
    assert "main is unchanged" in again
