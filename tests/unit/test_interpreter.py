"""The environment is not ours: what lies in the working folder or on PYTHONPATH takes the place of nothing that Lakeline imports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lakeline.interpreter import python, shadowing

COMMAND = "from lakeline.__main__ import main; main()"
"""What the console script does."""


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder with a package and modules that bear names of ours and of the standard library's."""
    folder = tmp_path / "foreign"
    (folder / "pipelines").mkdir(parents=True)
    for name in ("pipelines/__init__.py", "random.py", "json.py"):
        (folder / name).write_text("raise SystemExit('not the one that was meant')")
    return folder


def test_folder_on_pythonpath_that_shadows_is_left_out_and_named(foreign: Path, tmp_path: Path):
    path = os.pathsep.join((str(foreign), str(tmp_path)))
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "--version"], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout.count(".")) == (0, 2), done.stderr
    assert f"PYTHONPATH names {foreign}, whose json.py, pipelines, random.py would take the place of" in done.stderr
    assert f"PYTHONPATH names {tmp_path}," not in done.stderr


def test_working_folder_that_shadows_is_not_searched(foreign: Path):
    for words in ("-c", COMMAND), ("-m", "lakeline"):
        done = subprocess.run([sys.executable, *words, "--version"], cwd=foreign, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_processes_of_ours_do_not_search_the_working_folder(foreign: Path):
    code = "import json, random, pipelines.local; print(random.choice([json.dumps('✓', ensure_ascii=False)]))"
    done = subprocess.run(
        python("-c", code), cwd=foreign, env=os.environ | {"LC_ALL": "C"}, capture_output=True, encoding="utf-8", check=False
    )

    assert (done.returncode, done.stdout) == (0, '"✓"\n'), done.stderr


def test_only_what_is_imported_shadows(tmp_path: Path):
    for name in ("pipelines", "notes", "test"):
        (tmp_path / name).mkdir()
    (tmp_path / "test" / "__init__.py").touch()
    (tmp_path / "mine.py").touch()

    assert shadowing(str(tmp_path)) == []
    assert shadowing(str(Path(__file__).parents[2])) == []
    assert shadowing(str(tmp_path / "nowhere")) == []


def test_character_that_the_locale_lacks_ends_no_command():
    code = "from pipelines import cli; cli.app = lambda **_: print('✓ done'); cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONIOENCODING": "latin-1"}, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "? done\n"), done.stderr
