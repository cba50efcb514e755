"""Branches, merges and tags of a lake, whichever store is behind it."""

import pytest

from lakeline.errors import LakeConflict, LakeNotFound, UsageError
from lakeline.lake import Branch, CommitId, Lake


def files(lake: Lake, ref: str) -> dict[str, bytes]:
    return {entry.path: lake.read(ref, entry.path) for entry in lake.ls(ref)}


def test_branches_are_apart_until_merged(lake: Lake):
    root = lake.resolve("main")
    assert lake.create_branch("b1", "main") == Branch("b1", root)
    head = lake.commit("b1", {"a": b"1"}, "One")

    assert lake.resolve("main") == root
    assert lake.branches() == [Branch("b1", head), Branch("main", root)]
    with pytest.raises(LakeConflict, match="b1 exists already"):
        lake.create_branch("b1", "main")

    lake.delete_branch("b1")

    assert lake.branches() == [Branch("main", root)]
    assert lake.read(head, "a") == b"1"


def test_branches_that_are_not_there(lake: Lake):
    with pytest.raises(LakeNotFound, match="no branch 'gone'"):
        lake.delete_branch("gone")
    with pytest.raises(LakeNotFound, match="no branch, tag or commit 'gone'"):
        lake.create_branch("new", "gone")
    with pytest.raises(UsageError, match="main can't be deleted"):
        lake.delete_branch("main")
    assert [branch.name for branch in lake.branches()] == ["main"]


@pytest.mark.parametrize("wrong", ["", "a/b", "-a", "a b", "a.b", "a..b", "ä", "a~1"])
def test_name_that_no_branch_can_have_is_refused(lake: Lake, wrong: str):
    with pytest.raises(UsageError, match="can't be the name of a branch"):
        lake.create_branch(wrong, "main")


def test_merge_brings_both_sides_together(lake: Lake):
    lake.commit("main", {"both": b"0", "kept": b"0", "dropped": b"0"}, "Base")
    lake.create_branch("b1", "main")
    theirs = lake.commit("b1", {"theirs": b"1", "same": b"s", "both": b"1"}, "Theirs", remove=["dropped"])
    ours = lake.commit("main", {"ours": b"2", "same": b"s"}, "Ours")

    merged = lake.merge("b1", "main", "Publish", {"arrivals": "x"})

    assert files(lake, "main") == {"both": b"1", "kept": b"0", "theirs": b"1", "ours": b"2", "same": b"s"}
    commit = lake.log("main", 1)[0]
    assert (commit.id, commit.parents, commit.message, commit.metadata) == (merged, (ours, theirs), "Publish", {"arrivals": "x"})
    assert lake.resolve("b1") == theirs


def test_merge_of_what_is_contained_changes_nothing(lake: Lake):
    lake.create_branch("b1", "main")
    lake.commit("b1", {"a": b"1"}, "One")
    head = lake.merge("b1", "main", "Publish")

    assert lake.merge("b1", "main", "Again") == head
    assert lake.merge("main~1", "main", "Older") == head
    assert lake.merge("main", "main", "Itself") == head
    assert len(lake.log("main")) == 3


def test_merge_of_equal_changes_is_recorded(lake: Lake):
    for branch in ("b1", "b2"):
        lake.create_branch(branch, "main")
        lake.commit(branch, {"a": b"1"}, branch)
    lake.merge("b1", "main", "First")

    lake.merge("b2", "main", "Second")

    assert files(lake, "main") == {"a": b"1"}
    assert lake.resolve("b2") in {commit.id for commit in lake.log("main")}


def test_merge_conflict_names_the_paths_and_changes_nothing(lake: Lake):
    lake.commit("main", {"x/a": b"0", "x/b": b"0", "x/c": b"0"}, "Base")
    lake.create_branch("b1", "main")
    lake.commit("b1", {"x/a": b"1", "new": b"1", "fine": b"1"}, "Theirs", remove=["x/b"])
    head = lake.commit("main", {"x/a": b"2", "new": b"2", "x/b": b"2"}, "Ours")

    with pytest.raises(LakeConflict, match=r"b1 and main both changed new, x/a, x/b\. Nothing was merged"):
        lake.merge("b1", "main", "Publish")

    assert lake.resolve("main") == head
    assert lake.read("main", "x/a") == b"2"
    assert not lake.exists("main", "fine")


def test_lines_of_one_file_are_never_mixed(lake: Lake):
    text = [f"line {number}\n" for number in range(40)]
    lake.commit("main", {"spec.yaml": "".join(text).encode()}, "Base")
    lake.create_branch("b1", "main")
    lake.commit("b1", {"spec.yaml": "".join(["first\n", *text]).encode()}, "Theirs")
    lake.commit("main", {"spec.yaml": "".join([*text, "last\n"]).encode()}, "Ours")

    with pytest.raises(LakeConflict, match=r"spec\.yaml"):
        lake.merge("b1", "main", "Mix")


def test_tags_stay_where_they_are(lake: Lake):
    first = lake.commit("main", {"a": b"1"}, "One")
    assert lake.tag("things/2013-01", "main")
    assert lake.tag("model/3", first)
    assert lake.tag("v1.0", "things/2013-01")
    second = lake.commit("main", {"a": b"2"}, "Two")

    assert not lake.tag("things/2013-01", first)
    with pytest.raises(LakeConflict, match=f"model/3 stands at {first[:12]}, not at {second[:12]}"):
        lake.tag("model/3", "main")

    assert lake.tags() == dict.fromkeys(["model/3", "things/2013-01", "v1.0"], first)
    assert lake.read("things/2013-01", "a") == lake.read("v1.0", "a") == b"1"
    assert lake.resolve("model/3~1") == lake.resolve("main~2")


@pytest.mark.parametrize("wrong", ["", "/a", "a/", "a//b", "a..b", "-a", "a b", ".a", "a~1", "a.lock", "a/_b"])
def test_name_that_no_tag_can_have_is_refused(lake: Lake, wrong: str):
    with pytest.raises(UsageError, match="can't be the name of a tag"):
        lake.tag(wrong, "main")


def test_id_may_be_shortened_but_is_no_branch(lake: Lake):
    head = lake.commit("main", {"a": b"1"}, "One")

    assert lake.resolve(head[:8]) == head
    for name in (head[:1], head[:2], head[:3]):
        with pytest.raises(LakeNotFound):
            lake.create_branch("new", name)
    with pytest.raises(LakeNotFound, match="no branch"):
        lake.commit(head[:8], {"a": b"2"}, "Two")
    lake.create_branch(head[:2], "main~1")
    assert lake.resolve(head[:2]) == lake.resolve("main~1")


def test_refs_that_are_not_there(lake: Lake):
    lake.tag("things/2013-01", "main")
    missing = CommitId("0" * len(lake.resolve("main")))

    for ref in ("things/2013-02", missing, missing[:12], "main~5", "HEAD", "refs/heads/main"):
        with pytest.raises(LakeNotFound, match="there is no"):
            lake.resolve(ref)
    with pytest.raises(LakeNotFound, match=r"Did you mean things/2013-01"):
        lake.log("things/2013-02")
    for ref in ("", "a b", "main@{1}", ":path", "main:path", "--all"):
        with pytest.raises(UsageError, match="can't be a branch, a tag or a commit"):
            lake.resolve(ref)
