"""A lake that several processes write to at once, or whose writer is killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lakeline.lake import Lake, open_lake

_WRITER = """
import signal
import sys
from pathlib import Path
from lakeline.errors import LakeConflict
from lakeline.lake import open_lake
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that started the tests in the background has it ignored
name, who, folder, expect = sys.argv[1:]
lake = open_lake(name)
lake.resolve("main")
(Path(folder) / f"{who}.ready").touch()
while not (Path(folder) / "go").exists():
    pass
"""
_MANY = """
for number in range(6):
    lake.commit("main", {f"{who}/{number}": who.encode() * 1000, "last": f"{who}{number}".encode()}, f"{who} {number}")
"""
_ONCE = """
try:
    print(lake.commit("main", {who: b"1"}, who, expect=expect))
except LakeConflict:
    print("conflict")
"""
_MERGE = """
print(lake.merge(f"branch-{who}", "main", who))
"""
_CLAIM = """
print(sum(lake.tag(f"claim/{number}", "main") for number in range(20)))
"""
_ENDLESS = """
for number in range(10_000):
    lake.commit("main", {path: b"%d" % number * 300_000 for path in "ab"}, str(number))
"""
_BLOCKED = """
(Path(folder) / f"{who}.ready").touch()
lake.commit("main", {"a": b"1", "b": Path(folder) / "pipe"}, "Never")
"""


def run_together(lake: Lake, folder: Path, body: str, writers: str = "xy", expect: str = "") -> list[str]:
    """Run the same program in several processes that start to write at the same moment; return what each printed."""
    command = [sys.executable, "-c", _WRITER + body, lake.name]
    started = [subprocess.Popen([*command, who, str(folder), expect], stdout=subprocess.PIPE, text=True) for who in writers]
    while not all((folder / f"{who}.ready").exists() for who in writers):
        assert all(process.poll() is None for process in started)
        time.sleep(0.02)
    (folder / "go").touch()
    printed = [process.communicate(timeout=120)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0] * len(started)
    return printed


def test_commits_of_two_processes_all_land(lake: Lake, tmp_path: Path):
    run_together(lake, tmp_path, _MANY)

    log = lake.log("main")
    assert len(log) == 13
    assert {commit.message for commit in log[:-1]} == {f"{who} {number}" for who in "xy" for number in range(6)}
    assert [entry.path for entry in lake.ls("main")] == ["last", *(f"{who}/{number}" for who in "xy" for number in range(6))]
    assert lake.read("main", "last") in {b"x5", b"y5"}
    assert [branch.name for branch in lake.branches()] == ["main"]


def test_of_two_processes_that_expect_the_same_head_one_wins(lake: Lake, tmp_path: Path):
    printed = run_together(lake, tmp_path, _ONCE, expect=lake.resolve("main"))

    assert sorted(printed) == sorted([lake.resolve("main"), "conflict"])
    assert len(lake.log("main")) == 2


def test_merges_of_two_processes_both_land(lake: Lake, tmp_path: Path):
    for who in "xy":
        lake.create_branch(f"branch-{who}", "main")
        lake.commit(f"branch-{who}", {who: b"1"}, who)

    printed = run_together(lake, tmp_path, _MERGE)

    assert lake.resolve("main") in printed
    assert [entry.path for entry in lake.ls("main")] == ["x", "y"]


def test_each_tag_that_several_processes_claim_is_given_to_one(lake: Lake, tmp_path: Path):
    won = run_together(lake, tmp_path, _CLAIM, writers="wxyz")

    assert sum(map(int, won)) == 20
    assert len(lake.tags()) == 20


def test_tag_that_many_threads_claim_is_given_to_one(lake: Lake):
    for number in range(3):
        together = threading.Barrier(12)

        def claim(_: int, tag: str = f"claim/{number}", together: threading.Barrier = together) -> bool:
            mine = open_lake(lake.name)
            together.wait()
            return mine.tag(tag, "main")

        with ThreadPoolExecutor(12) as pool:
            assert sum(pool.map(claim, range(12))) == 1


def test_writer_that_is_killed_leaves_a_clean_lake(lake: Lake, tmp_path: Path):
    for attempt, moment in enumerate((0.0, 0.03, 0.06, 0.1) if lake.store == "git" else (0.02, 0.07)):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        (folder / "go").touch()
        before = len(lake.log("main"))
        process = subprocess.Popen([sys.executable, "-c", _WRITER + _ENDLESS, lake.name, "x", str(folder), ""])
        while not (folder / "x.ready").exists():
            time.sleep(0.01)
        while len(lake.log("main")) < before + 2:
            time.sleep(0.01)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()

        whole = open_lake(lake.name)
        (commit, *_) = whole.log("main")
        assert whole.read("main", "a") == whole.read("main", "b") == commit.message.encode() * 300_000
        whole.commit("main", {"a": b"after", "b": b"after"}, f"After {attempt}")
        assert whole.read("main", "b") == b"after"
        assert [branch.name for branch in whole.branches()] == ["main"]
    if lake.store == "git":
        git = ["git", "--git-dir", lake.url.removeprefix("file://")]
        assert subprocess.run([*git, "fsck", "--strict", "--no-dangling"], check=True, capture_output=True, text=True).stdout == ""


def test_interrupted_commit_leaves_the_branch(lake: Lake, tmp_path: Path):
    head = lake.resolve("main")
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it: who reads it waits
    (tmp_path / "go").touch()
    command = [sys.executable, "-c", _WRITER + _BLOCKED, lake.name, "x", str(tmp_path), ""]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "x.ready").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)

    assert said.rstrip().endswith("KeyboardInterrupt")
    assert lake.resolve("main") == head
    assert lake.ls("main") == []
    assert [branch.name for branch in lake.branches()] == ["main"]
    lake.commit("main", {"a": b"2"}, "Next")
