"""What a lake promises, whichever store is behind it."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lakeline.errors import LakeConflict, LakeError, LakeNotFound, UsageError
from lakeline.lake import Branch, Change, Lake, list_lakes, open_lake


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
