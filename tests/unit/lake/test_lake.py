"""What a lake promises, whichever store is behind it."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lakeline.errors import LakeConflict, LakeError, LakeNotFound, UsageError
from lakeline.lake import Branch, Change, CommitId, Lake, list_lakes, open_lake


def files(lake: Lake, ref: str) -> dict[str, bytes]:
    return {entry.path: lake.read(ref, entry.path) for entry in lake.ls(ref)}


def test_new_lake_has_main_with_one_empty_commit(lake: Lake, name: str):
    (root,) = lake.log("main")

    assert lake.name == name
    assert root.parents == ()
    assert lake.branches() == [Branch("main", root.id)]
    assert lake.tags() == {}
    assert lake.ls("main") == []
    assert name in lake.url


def test_lake_that_is_not_there_says_how_to_create_it(store: str, name: str):
    with pytest.raises(LakeNotFound, match=f"lakeline dataset push {name}"):
        open_lake(name)


def test_creating_twice_opens_the_same(lake: Lake, name: str):
    lake.commit("main", {"a": b"1"}, "One")

    assert open_lake(name, create=True).read("main", "a") == b"1"
    assert name in list_lakes()


@pytest.mark.parametrize("wrong", ["../etc", "Flights", "ab", "a_b_c", "-abc", "a" * 64, ""])
def test_name_that_no_data_set_can_have_is_refused(wrong: str):
    with pytest.raises(UsageError, match="can't be the name of a data set"):
        open_lake(wrong, create=True)


def test_commit_says_who_what_when_and_with_which_metadata(lake: Lake):
    root = lake.resolve("main")
    metadata = {"arrivals": "2013-01", "rows_raw": "27004", "source": "a: b\nc", "größe": '"ö" \u2028 {}', "": ""}

    made = lake.commit("main", {"raw/2013-01.parquet": b"PAR1"}, "Bring 2013-01\n\nin two paragraphs", metadata)

    commit = lake.log("main", 1)[0]
    assert commit.id == made == lake.resolve("main")
    assert commit.parents == (root,)
    assert commit.message == "Bring 2013-01\n\nin two paragraphs"
    assert commit.metadata == metadata
    assert commit.author
    assert abs(datetime.now(UTC) - commit.time) < timedelta(minutes=1)


def test_commit_takes_local_files_and_bytes_and_removes(lake: Lake, tmp_path: Path):
    big = tmp_path / "big.parquet"
    big.write_bytes(os.urandom(3_000_000))
    lake.commit("main", {"raw/a.parquet": big, "empty": b"", "old": b"old"}, "First")

    lake.commit("main", {"b": b"2"}, "Second", remove=["old", "was/never/there"])

    assert files(lake, "main") == {"raw/a.parquet": big.read_bytes(), "empty": b"", "b": b"2"}
    assert [(entry.path, entry.size) for entry in lake.ls("main")] == [("b", 1), ("empty", 0), ("raw/a.parquet", 3_000_000)]
    assert [entry.path for entry in lake.ls("main", "raw/")] == ["raw/a.parquet"]


def test_equal_content_has_an_equal_digest(lake: Lake):
    lake.commit("main", {"a": b"same", "b": b"same", "c": b"other"}, "Three")

    a, b, c = (entry.digest for entry in lake.ls("main"))
    assert a == b != c


def test_commit_that_changes_nothing_is_none(lake: Lake, tmp_path: Path):
    local = tmp_path / "local"
    local.write_bytes(b"1")
    head = lake.commit("main", {"a": b"1"}, "One")

    assert lake.commit("main", {"a": local}, "Again", {"other": "metadata"}, remove=["b"]) == head
    assert lake.commit("main", {}, "Nothing") == head
    assert len(lake.log("main")) == 2


def test_old_commits_stay_as_they_were(lake: Lake):
    first = lake.commit("main", {"a": b"1"}, "One")
    lake.commit("main", {"a": b"2"}, "Two")

    assert lake.read(first, "a") == b"1"
    assert lake.read(first[:12], "a") == b"1"
    assert lake.read("main~1", "a") == b"1"
    assert lake.read("main", "a") == b"2"


def test_expected_head_must_be_the_head(lake: Lake):
    seen = lake.resolve("main")
    head = lake.commit("main", {"a": b"1"}, "One", expect=seen)

    with pytest.raises(LakeConflict, match="somebody else committed to it"):
        lake.commit("main", {"a": b"2"}, "Two", expect=seen)

    assert lake.resolve("main") == head
    assert lake.read("main", "a") == b"1"


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "../a", "a/./b", "a/.git/config", "a\\b", "a\nb"])
def test_path_that_no_file_can_have_is_refused(lake: Lake, path: str):
    with pytest.raises(UsageError, match="can't be a path in the lake"):
        lake.commit("main", {path: b""}, "Wrong")


def test_commit_refuses_what_contradicts_itself(lake: Lake):
    with pytest.raises(UsageError, match="to be written and removed"):
        lake.commit("main", {"a": b""}, "Both", remove=["a"])
    with pytest.raises(LakeError, match=r"rows.*not text"):
        lake.commit("main", {"a": b""}, "Number", {"rows": 3})  # pyright: ignore[reportArgumentType]


def test_commit_of_a_missing_local_file_leaves_the_branch(lake: Lake, tmp_path: Path):
    head = lake.resolve("main")

    with pytest.raises(FileNotFoundError):
        lake.commit("main", {"a": b"1", "b": tmp_path / "missing"}, "Half")

    assert lake.resolve("main") == head
    assert lake.ls("main") == []
    assert [branch.name for branch in lake.branches()] == ["main"]


def test_commit_needs_its_branch(lake: Lake):
    lake.create_branch("ingest-2013-01", "main")

    with pytest.raises(LakeNotFound, match=r"no branch 'ingest-2013-1'. Did you mean ingest-2013-01\?"):
        lake.commit("ingest-2013-1", {"a": b""}, "Nowhere")


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
    lake.tag("things/2013-01", "main")
    lake.tag("model/3", first)
    lake.tag("v1.0", "things/2013-01")
    second = lake.commit("main", {"a": b"2"}, "Two")

    lake.tag("things/2013-01", first)
    with pytest.raises(LakeConflict, match=f"model/3 stands at {first[:12]}, not at {second[:12]}"):
        lake.tag("model/3", "main")

    assert lake.tags() == dict.fromkeys(["model/3", "things/2013-01", "v1.0"], first)
    assert lake.read("things/2013-01", "a") == lake.read("v1.0", "a") == b"1"
    assert lake.resolve("model/3~1") == lake.resolve("main~2")


@pytest.mark.parametrize("wrong", ["", "/a", "a/", "a//b", "a..b", "-a", "a b", ".a", "a~1", "a.lock", "a/_b"])
def test_name_that_no_tag_can_have_is_refused(lake: Lake, wrong: str):
    with pytest.raises(UsageError, match="can't be the name of a tag"):
        lake.tag(wrong, "main")


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


def test_files_that_are_not_there(lake: Lake, tmp_path: Path):
    lake.commit("main", {"raw/a": b"1"}, "One")

    assert lake.exists("main", "raw/a")
    assert not lake.exists("main", "raw")
    assert not lake.exists("main", "raw/b")
    for path in ("raw", "raw/b"):
        with pytest.raises(LakeNotFound, match=f"no file '{path}' at main"):
            lake.read("main", path)
        with pytest.raises(LakeNotFound, match=f"no file '{path}' at main"):
            lake.download("main", path, tmp_path / "out")
    assert list(tmp_path.glob("*out*")) == []


def test_diff_names_what_differs(lake: Lake):
    base = lake.commit("main", {"kept": b"0", "x/changed": b"0", "x/removed": b"0"}, "Base")
    other = lake.commit("main", {"x/changed": b"1", "added": b"1"}, "Other", remove=["x/removed"])

    assert lake.diff(base, "main") == [Change("added", "added"), Change("x/changed", "changed"), Change("x/removed", "removed")]
    assert lake.diff(other, base) == [Change("added", "removed"), Change("x/changed", "changed"), Change("x/removed", "added")]
    assert lake.diff(other, "main") == []


def test_diff_compares_the_two_refs_themselves(lake: Lake):
    lake.create_branch("b1", "main")
    lake.commit("main", {"ours": b"1"}, "Ours")
    lake.commit("b1", {"theirs": b"1"}, "Theirs")

    assert lake.diff("main", "b1") == [Change("ours", "removed"), Change("theirs", "added")]


def test_log_is_newest_first_and_can_be_short(lake: Lake):
    made = [lake.commit("main", {"a": str(number).encode()}, f"Commit {number}") for number in range(5)]

    assert [commit.id for commit in lake.log("main")][:5] == made[::-1]
    assert [commit.id for commit in lake.log(made[2], 2)] == [made[2], made[1]]
    assert lake.log("main", 0) == []


def test_download_is_complete_and_makes_its_folder(lake: Lake, tmp_path: Path):
    content = os.urandom(9_000_001)
    lake.commit("main", {"big": content, "empty": b""}, "Big")
    there = tmp_path / "there"
    there.write_text("old and longer than nothing")

    to = tmp_path / "new" / "folder" / "big"
    assert lake.download("main", "big", to) == to
    assert to.read_bytes() == content
    assert lake.download("main", "empty", there).read_bytes() == b""
    assert os.listdir(to.parent) == ["big"]  # noqa: PTH208


def test_hundreds_of_files_are_one_commit(lake: Lake):
    many = {f"raw/{number:04d}": b"%d" % number for number in range(120)}
    lake.commit("main", many, "Many")

    assert [entry.path for entry in lake.ls("main")] == sorted(many)
    lake.commit("main", {}, "None", remove=list(many))
    assert lake.ls("main") == []
