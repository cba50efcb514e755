"""A run on this machine says why it failed, also where its steps could not."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from kfp.local import subprocess_task_handler

from pipelines.local import LocalRun, _noting_signals, _outputs, _unsaid, _with_interpreter, read_json

FULL = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root can make a small disk")


@pytest.mark.parametrize(
    ("shell", "message"),
    [
        ("kill -KILL $$", "evaluate was ended by SIGKILL, most likely because memory ran out. Give it more"),
        ("sh -c 'kill -KILL $$'; exit $?", "evaluate was ended by SIGKILL, most likely because memory ran out. Give it more"),
        ("kill -TERM $$", "evaluate was ended by SIGTERM."),
        ("exit 1", None),
        ("exit 255", None),
    ],
)
def test_step_that_was_killed_says_by_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str, message: str | None):
    reason = tmp_path / "error.json"
    monkeypatch.setenv("LAKELINE_TERMINATION_LOG", str(reason))

    code = _noting_signals(subprocess_task_handler.run_local_subprocess)(full_command=["sh", "-c", shell, "evaluate"])

    assert code != 0
    if message is None:
        assert not reason.exists()
    else:
        assert json.loads(reason.read_text())["message"].startswith(message)


def test_step_that_said_why_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    reason = tmp_path / "error.json"
    reason.write_text('{"message": "3 rows fail"}')
    monkeypatch.setenv("LAKELINE_TERMINATION_LOG", str(reason))

    _noting_signals(subprocess_task_handler.run_local_subprocess)(full_command=["sh", "-c", "kill -KILL $$", "evaluate"])

    assert read_json(reason)["message"] == "3 rows fail"


def test_home_may_have_the_interpreters_name():
    shell = 'python3 -m executor "$program_path/ephemeral_component.py" "$@"'

    changed = _with_interpreter(["sh", "-c", shell, "--executor_input", "/srv/python3/runs"], "'/usr/bin/python 3' -P")

    assert changed == ["sh", "-c", shell.replace("python3", "'/usr/bin/python 3' -P"), "--executor_input", "/srv/python3/runs"]


def test_runner_that_was_killed_says_by_what(tmp_path: Path):
    said = _unsaid(LocalRun("data-1", "data", tmp_path), -9)

    assert said.startswith("the run was ended by SIGKILL, most likely because memory ran out.")
    assert str(tmp_path / "run.log") in said


@FULL
def test_full_disk_is_said_where_nothing_could_be_written(tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        with pytest.raises(OSError, match="No space left"):
            (disk / "filling").write_bytes(b"0" * 2**20)
        (disk / "error.json").touch()

        assert read_json(disk / "error.json") == {}
        said = _unsaid(LocalRun("data-1", "data", disk), 1)
    finally:
        subprocess.run(["umount", str(disk)], check=True)

    assert said == f"the disk is full: {disk}. Nothing was left half-done: free some space and run the same command again."


def test_output_that_was_cut_short_is_none(tmp_path: Path):
    (tmp_path / "ingest").mkdir()
    (tmp_path / "ingest" / "executor_output.json").write_text('{"parameterVal')

    assert _outputs(tmp_path) == {"ingest": {}}
