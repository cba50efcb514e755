"""The single operations of the lake, as other people's pipelines call them."""

# pyright: reportFunctionMemberAccess=false
# A decorated component is a class of kfp's; to a type checker it is the function that it was made of.

import json
from pathlib import Path

import pytest
from kfp import dsl

from components.lake_branch.component import lake_branch
from components.lake_commit.component import lake_commit
from components.lake_diff.component import lake_diff
from components.lake_get.component import lake_get
from components.lake_merge.component import lake_merge
from components.lake_tag.component import lake_tag
from lakeline.data.specfile import push
from lakeline.errors import LakeConflict, LakeNotFound
from lakeline.lake import Lake, open_lake


@pytest.fixture
def lake() -> Lake:
    push("flights")
    return open_lake("flights")


def artifact(path: Path, content: bytes | None = None) -> dsl.Artifact:
    if content is not None:
        path.write_bytes(content)
    return dsl.Artifact(name="content", uri=str(path), metadata={})


def test_branch_commit_diff_merge_tag_and_get(lake: Lake, tmp_path: Path):
    main = lake.resolve("main")
    assert lake_branch.python_func("flights", "work", "main") == main

    content = artifact(tmp_path / "in", b"rows")
    commit = lake_commit.python_func("flights", "work", "extra/rows.csv", content, "Add rows")
    assert lake.read("work", "extra/rows.csv") == b"rows"
    assert lake_commit.python_func("flights", "work", "extra/rows.csv", content, "Again") == commit, "nothing changed"

    changes = artifact(tmp_path / "changes")
    assert lake_diff.python_func("flights", "main", "work", changes) == 1
    assert json.loads(Path(changes.path).read_text()) == [{"path": "extra/rows.csv", "kind": "added"}]

    merged = lake_merge.python_func("flights", "work", "main", "Take the rows")
    assert lake.resolve("main") == merged
    assert lake_tag.python_func("flights", "release", "main") == merged

    got = artifact(tmp_path / "out")
    assert lake_get.python_func("flights", "release", "extra/rows.csv", got) == merged
    assert Path(got.path).read_bytes() == b"rows"
    assert got.metadata == {"repository": "flights", "commit": merged, "path": "extra/rows.csv"}


def test_what_the_lake_refuses_the_component_refuses(lake: Lake, tmp_path: Path):
    lake_branch.python_func("flights", "work")
    with pytest.raises(LakeConflict):
        lake_branch.python_func("flights", "work")
    with pytest.raises(LakeNotFound):
        lake_get.python_func("flights", "main", "no/such", artifact(tmp_path / "out"))
    assert lake.name == "flights"
