"""What a step leaves when it fails: a sentence for people, and for Argo whether a second try makes sense."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lakeline.errors import describe


@pytest.mark.parametrize(
    ("raised", "retry"),
    [
        ("lakeline.errors.ValidationFailed('3 rows fail')", False),
        ("lakeline.errors.UsageError('no month 13')", False),
        ("lakeline.errors.LakeNotFound('no such commit')", False),
        ("lakeline.errors.LakeUnavailable('lakeFS is out of reach')", True),
        ("lakeline.errors.RegistryError('MLflow is out of reach')", True),
        ("OSError(28, 'No space left on device')", True),
        ("MemoryError('Unable to allocate 3 GiB')", True),
        ("ZeroDivisionError('a bug')", True),
    ],
)
def test_last_words_of_a_step_say_whether_a_second_try_makes_sense(raised: str, retry: bool, tmp_path: Path):
    words = tmp_path / "termination-log"
    environment = os.environ | {"_KFP_RUNTIME": "true", "LAKELINE_TERMINATION_LOG": str(words)}

    done = subprocess.run(
        [sys.executable, "-c", f"import lakeline.errors; raise {raised}"], env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert json.loads(words.read_text())["retry"] is retry
    # What the controller's retry expression looks for, to the letter; see kubernetes/pipelines.
    assert ('"retry": false' in words.read_text()) is not retry


@pytest.mark.parametrize("said", ["failed to write out file: No space left on device", "failed to write out file: Disk quota exceeded"])
def test_full_disk_is_known_by_its_words_where_a_library_drops_the_number(said: str):
    assert describe(OSError(said)).startswith("the disk is full. ")
