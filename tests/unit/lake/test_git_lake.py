"""The git store: what plain git sees, and what happens when the repository is locked, gone, damaged or out of space."""

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pygit2
import pytest

from lakeline.errors import LakeConflict, LakeError, LakeUnavailable, describe
from lakeline.lake import gitrefs, list_lakes, open_lake
from lakeline.lake.blobs import write_blob
from lakeline.lake.git import GitLake
from lakeline.lake.lock import locked


@pytest.fixture
def lake(tmp_path: Path) -> GitLake:
    """Open a new lake in git."""
    return GitLake.create(tmp_path / "things.git")


def git(lake: GitLake, *arguments: str) -> str:
    return subprocess.run(["git", "--git-dir", str(lake.path), *arguments], check=True, capture_output=True, text=True).stdout


def leftovers(lake: GitLake) -> list[Path]:
    return [*lake.path.rglob("tmp_*"), *lake.path.rglob("*.lock.holder"), *(lake.path / "refs").rglob("*.lock")]


def test_plain_git_reads_it_all(lake: GitLake):
    lake.commit("main", {"raw/a.parquet": b"PAR1" * 1000, "_lakeline/dataset.yaml": b"name: things\n"}, "Bring 2013-01", {"rows_raw": "3"})
    lake.tag("things/2013-01", "main")

    assert git(lake, "fsck", "--strict", "--full") == ""
    assert git(lake, "symbolic-ref", "HEAD") == "refs/heads/main\n"
    assert git(lake, "cat-file", "blob", "things/2013-01:raw/a.parquet") == "PAR1" * 1000
    assert git(lake, "log", "-1", "--format=%s", "main") == "Bring 2013-01\n"
    assert json.loads(git(lake, "log", "-1", "--format=%(trailers:key=Lakeline-Metadata,valueonly)", "main")) == {"rows_raw": "3"}


def test_what_plain_git_writes_is_read(lake: GitLake, tmp_path: Path):
    lake.commit("main", {"a": b"1" * 5_000_000}, "One")
    work = tmp_path / "work"
    git(lake, "worktree", "add", "-q", "-b", "theirs", str(work), "main")
    (work / "b").write_text("2")
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", "-C", work, *identity, "add", "b"], check=True)
    subprocess.run(["git", "-C", work, *identity, "commit", "-qm", "By hand\n\nLakeline-Metadata: {not json"], check=True)
    git(lake, "repack", "-adq")
    git(lake, "pack-refs", "--all")

    commit = lake.log("theirs", 1)[0]
    assert (commit.author, commit.metadata) == ("Ada", {})
    assert commit.message == "By hand\n\nLakeline-Metadata: {not json"
    assert lake.read("theirs", "b") == b"2"
    assert lake.download("theirs", "a", tmp_path / "a").read_bytes() == b"1" * 5_000_000
    lake.merge("theirs", "main", "Take it")
    lake.delete_branch("theirs")
    assert [entry.path for entry in lake.ls("main")] == ["a", "b"]


def test_message_that_looks_like_metadata_is_a_message(lake: GitLake):
    message = 'Say\n\nLakeline-Metadata: {"rows_raw": "3"}'
    lake.commit("main", {"a": b"1"}, message)

    assert lake.log("main", 1)[0].message == message
    assert lake.log("main", 1)[0].metadata == {}


def test_files_are_stored_once_and_uncompressed(lake: GitLake):
    content = bytes(1_000_000)
    lake.commit("main", {"a": content}, "One")
    lake.commit("main", {"b": content, "c": content}, "Same")

    large = [path for path in (lake.path / "objects").rglob("*") if path.is_file() and path.stat().st_size > 1_000_000]
    assert len(large) == 1
    assert large[0].stat().st_size < 1_001_000
    assert large[0].stat().st_mode & 0o777 == 0o444


def test_file_and_folder_of_one_name_are_refused(lake: GitLake):
    head = lake.commit("main", {"a/b": b"1", "c": b"1"}, "One")

    for path in ("a", "c/d"):
        with pytest.raises(LakeConflict, match=r"would be a file and a folder at once"):
            lake.commit("main", {path: b"2"}, "Two")
    assert lake.resolve("main") == head
    lake.commit("main", {"a": b"2"}, "Instead", remove=["a/b"])


def test_two_handles_see_each_other(lake: GitLake):
    other = GitLake(lake.path)
    head = lake.commit("main", {"a": b"1"}, "One")

    assert other.resolve("main") == head
    other.commit("main", {"b": b"2"}, "Two")
    assert lake.read("main", "b") == b"2"


def test_locked_lake_says_who_holds_it(lake: GitLake):
    waiting = GitLake(lake.path, wait=0.1)
    head = lake.resolve("main")

    with (
        locked(lake.path / "lakeline.lock", "test"),
        pytest.raises(
            LakeUnavailable, match=rf"things: the lake .* is locked by process {os.getpid()} .*Waited 0\.1 s; nothing was changed"
        ),
    ):
        waiting.commit("main", {"a": b"1"}, "One")

    assert waiting.resolve("main") == head
    waiting.commit("main", {"a": b"1"}, "One")
    assert leftovers(lake) == []


def test_locks_that_a_killed_git_left_are_no_obstacle(lake: GitLake):
    for name in ("refs/heads/main.lock", "packed-refs.lock"):
        (lake.path / name).touch()

    lake.commit("main", {"a": b"1"}, "One")
    lake.create_branch("b1", "main")
    lake.delete_branch("b1")
    assert leftovers(lake) == []


def test_ref_moves_only_from_where_it_was_seen(lake: GitLake):
    seen = lake.resolve("main")
    head = lake.commit("main", {"a": b"1"}, "One")
    repo = pygit2.Repository(str(lake.path))

    assert not gitrefs.move(repo, "refs/heads/main", pygit2.Oid(hex=seen), pygit2.Oid(hex=seen))
    assert lake.resolve("main") == head
    assert not gitrefs.move(repo, "refs/heads/main", None, pygit2.Oid(hex=seen))
    assert gitrefs.move(repo, "refs/heads/main", pygit2.Oid(hex=head), pygit2.Oid(hex=seen))
    assert lake.resolve("main") == seen


def test_lake_that_is_gone_says_so(lake: GitLake):
    shutil.rmtree(lake.path)

    for attempt in (lambda: lake.resolve("main"), lambda: lake.commit("main", {"a": b""}, "One"), lambda: lake.log("main")):
        with pytest.raises(LakeUnavailable, match=r"things: the lake is gone: .*lakeline dataset push things"):
            attempt()


def test_what_is_no_repository_says_so(home: Path):
    folder = home / "lake" / "things.git"
    folder.mkdir(parents=True)
    (folder / "notes.txt").touch()

    with pytest.raises(LakeUnavailable, match=r"things: .*can't be opened as a git repository"):
        open_lake("things")
    assert list_lakes() == []


def test_home_that_cannot_be_made_says_so(tmp_path: Path, home: Path):
    home.parent.mkdir(exist_ok=True)
    home.write_text("a file where a folder should be")

    with pytest.raises(LakeUnavailable, match=r"can't be made.*LAKELINE_HOME"):
        open_lake("things", create=True)


def test_damaged_file_is_noticed(lake: GitLake, tmp_path: Path):
    lake.commit("main", {"a": b"1" * 100_000}, "One")
    digest = lake.ls("main")[0].digest
    stored = lake.path / "objects" / digest[:2] / digest[2:]

    whole = stored.read_bytes()
    for damaged in (whole[: len(whole) // 2], zlib.compress(b"blob 3\x00abc", 0), b"nonsense"):
        stored.unlink()
        stored.write_bytes(damaged)
        with pytest.raises(LakeUnavailable, match=r"damaged: .*fsck"):
            lake.download("main", "a", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damaged_history_is_noticed(lake: GitLake):
    head = lake.commit("main", {"a": b"1"}, "One")
    stored = lake.path / "objects" / head[:2] / head[2:]
    stored.unlink()
    stored.write_bytes(b"nonsense")

    with pytest.raises(LakeUnavailable, match=r"things: the lake can't be used: .*fsck"):
        GitLake(lake.path).log("main")


def test_file_that_changes_while_it_is_read_is_refused(lake: GitLake, tmp_path: Path):
    growing = tmp_path / "growing"
    growing.write_bytes(b"1")

    def grow(_: str) -> bool:
        growing.write_bytes(b"22")
        return False

    with pytest.raises(LakeError, match="changed while it was written"):
        write_blob(lake.path / "objects", growing, grow)
    assert leftovers(lake) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 4 MB; skip where that isn't allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=False, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"can't mount a small disk: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_full_disk_leaves_the_branch_where_it_was(small_disk: Path):
    lake = GitLake.create(small_disk / "things.git")
    head = lake.commit("main", {"a": os.urandom(1_000_000)}, "Fits")

    with pytest.raises(OSError, match="No space left") as raised:
        lake.commit("main", {"b": os.urandom(5_000_000)}, "Does not fit")

    assert raised.value.errno == errno.ENOSPC
    assert "the disk is full" in describe(raised.value)
    assert lake.resolve("main") == head
    assert leftovers(lake) == []

    with (small_disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))
    with pytest.raises(OSError, match="No space left"):
        lake.commit("main", {}, "Only trees and a commit", remove=["a"])
    assert lake.resolve("main") == head
    with pytest.raises(OSError, match="No space left"):
        GitLake.create(small_disk / "other.git")
    assert sorted(path.name for path in small_disk.iterdir()) == ["filler", "things.git"]

    (small_disk / "filler").unlink()
    lake.commit("main", {"b": b"2"}, "Fits again")
    assert git(lake, "fsck", "--strict") == ""


def test_file_size_limit_leaves_the_branch_where_it_was(lake: GitLake):
    head = lake.resolve("main")
    program = (
        "import resource, sys; from pathlib import Path; from lakeline.lake.git import GitLake\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        f"GitLake(Path({str(lake.path)!r})).commit('main', {{'a': bytes(2_000_000)}}, 'Too large')"
    )
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)

    assert ended.returncode == 1
    assert "File too large" in ended.stderr
    assert lake.resolve("main") == head
    assert leftovers(lake) == []


def test_what_killed_processes_left_is_swept_up_after_an_hour(tmp_path: Path, lake: GitLake):
    old, new = lake.path / "objects" / "tmp_obj_old", lake.path / "objects" / "tmp_obj_new"
    draft = tmp_path / ".new-old"
    draft.mkdir()
    for path in (old, new):
        path.touch()
    for path in (old, draft):
        os.utime(path, (0, 0))

    lake.commit("main", {"a": b"1"}, "One")
    GitLake.create(tmp_path / "other.git")

    assert not old.exists()
    assert new.exists()
    assert not draft.exists()
