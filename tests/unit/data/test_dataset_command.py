"""`lakeline dataset`: what it prints, and with which exit code it ends."""

import json
import subprocess
import sys
from typing import Any

import pytest

from lakeline.data.specfile import json_schema_text
from lakeline.lake import open_lake
from lakeline.settings import get_settings


@pytest.fixture
def lakeline(things: Any):
    """Run the command as a person does."""

    def run(*arguments: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "pipelines.cli", "dataset", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


def test_new_data_set_passes_the_check_and_can_be_pushed(lakeline: Any, things: Any):
    code, said, _ = lakeline("new", "my-data")
    assert (code, "lakeline dataset check my-data" in said) == (0, True)
    folder = things.folder.parent / "my-data"
    assert {path.name for path in folder.iterdir()} == {"dataset.yaml", "transform.sql"}
    schema = (folder / "dataset.yaml").read_text().partition("$schema=")[2].partition("\n")[0]
    assert (folder / schema).read_text() == json_schema_text()

    code, said, _ = lakeline("check", "my-data")
    assert (code, said.splitlines()[0]) == (0, "my-data: OK")

    code, said, _ = lakeline("push", "my-data", "--json")
    result = json.loads(said)
    assert (code, result["dataset"], result["changed"]) == (0, "my-data", True)
    assert result["commit"] == open_lake("my-data").resolve("main")


def test_new_never_overwrites(lakeline: Any, things: Any):
    before = (things.folder / "dataset.yaml").read_text()

    code, _, error = lakeline("new", "things")

    assert (code, (things.folder / "dataset.yaml").read_text()) == (2, before)
    assert error.startswith("lakeline: there is a data set 'things' already")


def test_new_refuses_a_name_that_no_data_set_can_have(lakeline: Any):
    code, _, error = lakeline("new", "My_Data")

    assert (code, "can't be called 'My_Data'" in error) == (2, True)


def test_check_names_every_mistake_and_fails(lakeline: Any, things: Any):
    things.define(("title:", "titel:"), ("kind: random", "kind: randm"))

    code, said, error = lakeline("check", "things")

    assert (code, said) == (1, "")
    assert [line.partition("dataset.yaml ")[2].partition(":")[0] for line in error.splitlines()] == ["line 1", "line 2", "line 27"]


def test_check_gives_the_mistakes_as_json(lakeline: Any, things: Any):
    things.define(("title:", "titel:"))

    code, said, _ = lakeline("check", "things", "--json")

    result = json.loads(said)
    assert (code, result["ok"]) == (1, False)
    assert [(one["line"], one["field"]) for one in result["mistakes"]] == [(1, "title"), (2, "titel")]


def test_list_shows_what_is_here_and_what_the_lake_has(lakeline: Any, things: Any):
    lakeline("push", "things")
    things.define(("title:", "titel:"))
    open_lake("elsewhere", create=True)

    code, said, _ = lakeline("list", "--json")

    assert code == 0
    assert json.loads(said)["datasets"] == [
        {"name": "elsewhere", "title": "", "folder": False, "lake": True, "mistakes": 0},
        {"name": "things", "title": "", "folder": True, "lake": True, "mistakes": 2},
    ]
    code, said, _ = lakeline("list")
    assert (code, "2 mistakes" in said) == (0, True)


def test_unknown_data_set_is_wrong_usage(lakeline: Any):
    code, _, error = lakeline("push", "thinks")

    assert code == 2
    assert error.startswith("lakeline: unknown data set 'thinks'. Did you mean 'things'? There are: things.")


def test_schema_is_printed_or_written(lakeline: Any, things: Any):
    assert lakeline("schema")[:2] == (0, json_schema_text())

    target = things.copies / "schema.json"
    assert lakeline("schema", "--write", str(target))[0] == 0
    assert target.read_text() == json_schema_text()


def test_without_any_data_set_list_says_how_to_make_one(lakeline: Any, things: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LAKELINE_DATASETS", str(things.copies))
    get_settings.cache_clear()

    code, said, _ = lakeline("list")

    assert (code, "lakeline dataset new NAME" in said) == (0, True)
