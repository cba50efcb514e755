"""Ingest: all of a delivery on a branch of its own, or nothing; and the same again is nothing new."""

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pyarrow.parquet as pq
import pytest

from lakeline.data.ingest import Ingested, ingest, rows_left_out
from lakeline.data.specfile import local_spec
from lakeline.data.validate import validate
from lakeline.errors import LakeNotFound, SourceError, SpecError, UsageError
from lakeline.lake import CommitId, Lake, open_lake
from lakeline.liveness import alive, under_way
from lakeline.settings import get_settings


@pytest.fixture
def lake(things: Any) -> Lake:
    """Open a lake that has the definition of `things`, and lay out two arrivals."""
    things.push()
    things.copy()
    things.copy("month,time,kind,size,count\n2,2024-02-01,a,4,4\n", "02.csv")
    return open_lake("things")


def publish(lake: Lake, branch: str) -> CommitId:
    """Merge a delivery as the steps after ingest do, in short."""
    for entry in lake.ls(branch, "raw/"):
        lake.commit(branch, {entry.path.replace("raw/", "clean/"): b"clean"}, "Transform")
    return lake.merge(branch, "main", "Publish")


def test_delivery_is_one_commit_on_a_branch_of_its_own(lake: Lake):
    before = lake.resolve("main")

    result = ingest("things", ["m02", "m01"])

    assert (result.status, result.branch, result.arrivals, result.rows) == ("new", "ingest-m01--m02", ["m01", "m02"], 4)
    assert lake.resolve("main") == before
    commit = lake.log("ingest-m01--m02")[0]
    assert (commit.id, commit.parents) == (result.commit, (before,))
    assert {change.path: change.kind for change in lake.diff(before, commit.id)} == dict.fromkeys(
        ["_lakeline/arrivals/m01.json", "_lakeline/arrivals/m02.json", "raw/m01.parquet", "raw/m02.parquet"], "added"
    )


def test_commit_and_note_say_where_the_rows_came_from(lake: Lake):
    result = ingest("things", ["m01"])

    (source,) = result.sources
    assert json.loads(lake.read(result.commit, "_lakeline/arrivals/m01.json")) == result.to_dict()["sources"][0]
    assert (source.url, source.rows, source.spec_digest) == ("local:things/01.csv", 3, local_spec("things").digest)
    assert lake.log(result.commit)[0].metadata == {
        "arrivals": "m01",
        "rows_raw": "3",
        "schema_digest": source.schema_digest,
        "source": "local:things/01.csv",
        "source_digest": source.sha256,
        "spec_digest": source.spec_digest,
    }


def test_raw_rows_are_those_of_the_source(lake: Lake):
    result = ingest("things", ["m02"])

    assert pq.read_table(io.BytesIO(lake.read(result.commit, "raw/m02.parquet"))).to_pydict()["size"] == [4.0]


def test_rows_left_out_are_said_and_kept_in_mind(things: Any, lake: Lake):
    where = "  format: csv\n  where: month = {month}\n  where_null: drop"
    things.push(("things/{month:02d}.csv", "things/01.csv"), ("  format: csv", where))
    things.copy("month,time,kind,size,count\n1,2024-01-01,a,1,1\nJan,2024-01-01,a,1,1\n2,2024-01-01,a,1,1\n,2024-01-01,a,1,1\n")

    result = ingest("things", ["m01", "m02"])

    said = "2 rows of local:things/01.csv left out, for source.where is null there."
    assert result.message == f"things: 2 rows of m01, m02 are on branch ingest-m01--m02. {said}"
    assert [source.left_out for source in result.sources] == [2, 2]
    assert rows_left_out(lake, result.commit, ["m01", "m02"]) == [said]
    checked = validate("things", result.branch, result.commit, ["m01"], "raw").to_dict()["arrivals"]["m01"]["checks"]
    assert said.rstrip(".") in [check["check"] for check in checked]


def test_whether_rows_may_be_left_out_makes_no_arrival_another(things: Any, lake: Lake):
    where = ("  format: csv", "  format: csv\n  where: month = {month}")
    things.push(where)
    head = publish(lake, ingest("things", ["m01"]).branch)
    things.push((where[0], f"{where[1]}\n  where_null: drop"))

    assert ingest("things", ["m01"]).status == "repeated"
    assert lake.resolve("main") != head, "the spec is another"


def test_repeated_delivery_changes_nothing_and_says_so(lake: Lake):
    head = publish(lake, ingest("things", ["m01", "m02"]).branch)
    branches = lake.branches()

    result = ingest("things", ["m01", "m02"])

    assert (result.status, result.branch, result.commit, result.arrivals) == ("repeated", "", head, [])
    assert result.message == "things: main has m01, m02 already; nothing was ingested."
    assert lake.branches() == branches


def test_only_what_is_new_of_a_delivery_is_ingested(lake: Lake):
    publish(lake, ingest("things", ["m01"]).branch)

    result = ingest("things", ["m01", "m02"])

    assert (result.status, result.branch, result.arrivals) == ("new", "ingest-m02", ["m02"])


def test_arrival_whose_source_changed_is_ingested_again(things: Any, lake: Lake):
    publish(lake, ingest("things", ["m01"]).branch)
    things.copy("month,time,kind,size,count\n1,2024-01-01,corrected,1,1\n")

    assert ingest("things", ["m01"]).rows == 1


def test_arrival_is_ingested_again_for_a_new_transform_but_not_for_a_new_search(things: Any, lake: Lake):
    publish(lake, ingest("things", ["m01"]).branch)

    things.push(("search:", "search:\n  trials: 9"))
    assert ingest("things", ["m01"]).status == "repeated"

    things.push(sql="SELECT kind, size * 2 AS size FROM raw WHERE size IS NOT NULL")
    assert ingest("things", ["m01"]).status == "new"


def test_arrival_that_was_not_published_is_ingested_anew(lake: Lake):
    first = ingest("things", ["m01"])
    lake.commit(first.branch, {"_lakeline/reports/m01.json": b"{}"}, "Refuse")

    again = ingest("things", ["m01"])

    assert again.branch == first.branch
    assert not lake.exists(again.branch, "_lakeline/reports/m01.json")
    assert lake.resolve(again.branch) == again.commit


def test_branch_that_a_crash_left_before_its_commit_is_taken_over(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lakeline.data.ingest._PATIENCE", 0.0)
    lake.create_branch("ingest-m01", "main")

    result = ingest("things", ["m01"])

    assert (result.status, result.branch) == ("new", "ingest-m01")
    assert [branch.name for branch in lake.branches()] == ["ingest-m01", "main"]


def test_branch_that_a_crash_left_at_an_older_commit_goes(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lakeline.data.ingest._PATIENCE", 0.0)
    lake.create_branch("ingest-m01", "main")
    lake.commit("main", {"note": b"later"}, "Note")

    result = ingest("things", ["m01"])

    assert [branch.name for branch in lake.branches()] == [result.branch, "main"]


@pytest.fixture
def runs() -> Iterator[ExitStack]:
    """Hold the locks of runs on this machine; ended, they are runs that were killed."""
    with ExitStack() as stack:
        for run in ("data-1", "data-2"):
            folder = get_settings().runs / run
            folder.mkdir(parents=True)
            stack.enter_context(alive(folder))
        yield stack


def test_arrival_that_another_run_is_bringing_in_is_left_to_it(lake: Lake, runs: ExitStack):
    first = ingest("things", ["m01"], "data-1")
    main = lake.resolve("main")
    later = _transformed(lake, first)

    second = ingest("things", ["m01"], "data-2")

    assert (second.status, second.branch, second.commit, second.run) == ("under way", first.branch, main, "data-1")
    assert second.message == "things: m01 is already being brought in by run data-1; nothing was ingested."
    assert lake.resolve(first.branch) == later
    assert [branch.name for branch in lake.branches()] == ["ingest-m01", "main"]


def _transformed(lake: Lake, ingested: Ingested) -> CommitId:
    """Commit what the next step does: it says which arrivals it is of, and not whose."""
    return lake.commit(ingested.branch, {"clean/m01.parquet": b"rows"}, "Transform m01", {"arrivals": "m01"})


@pytest.mark.parametrize("later", [False, True])
def test_arrival_of_a_run_that_was_killed_is_brought_in_by_the_next(lake: Lake, runs: ExitStack, later: bool):
    first = ingest("things", ["m01"], "data-1")
    if later:
        _transformed(lake, first)
    runs.close()
    assert under_way("data-1") is False

    second = ingest("things", ["m01"], "data-2")

    assert (second.status, second.branch) == ("new", "ingest-m01_2")
    assert [branch.name for branch in lake.branches()] == ["ingest-m01_2", "main"]


def test_second_try_of_a_run_makes_its_branch_anew(lake: Lake, runs: ExitStack):
    first = ingest("things", ["m01"], "data-1")
    lake.commit(first.branch, {"clean/m01.parquet": b"half"}, "Transform")

    assert ingest("things", ["m01"], "data-1").branch == first.branch
    assert not lake.exists(first.branch, "clean/m01.parquet")


def test_branch_of_a_run_that_nobody_knows_here_is_left_alone(lake: Lake, runs: ExitStack):
    elsewhere = ingest("things", ["m01"], "data-of-another-machine")

    ours = ingest("things", ["m01"], "data-1")

    assert (ours.status, ours.branch) == ("new", "ingest-m01_2")
    assert lake.resolve(elsewhere.branch) == elsewhere.commit


@pytest.mark.parametrize("patience", [2.0, 0.0])
def test_of_runs_that_ingest_at_once_one_brings_the_arrival_in(
    lake: Lake, runs: ExitStack, patience: float, monkeypatch: pytest.MonkeyPatch
):
    """Without patience the other takes the branch over, and who commits second is told that it is no longer its own."""
    monkeypatch.setattr("lakeline.data.ingest._PATIENCE", patience)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda run: ingest("things", ["m01"], run), ["data-1", "data-2"]))

    assert sorted(result.status for result in results) == ["new", "under way"]
    assert [branch.name for branch in lake.branches()] == ["ingest-m01", "main"]


@pytest.mark.parametrize("content", ["month,kind\n1,a\n1\n", "month,time,kind,size,count\n", ""])
def test_one_bad_arrival_of_a_delivery_leaves_the_lake_as_it_was(things: Any, lake: Lake, content: str):
    things.copy(content, "02.csv")
    before = (lake.resolve("main"), lake.branches())

    with pytest.raises(SourceError, match="things m02: "):
        ingest("things", ["m01", "m02"])
    assert (lake.resolve("main"), lake.branches()) == before


def test_missing_arrival_leaves_the_lake_as_it_was(things: Any, lake: Lake, site: Any):
    things.push(("http://127.0.0.1:1", site.url))

    with pytest.raises(SourceError, match=r"things m03: .* does not exist \(HTTP 404\)"):
        ingest("things", ["m01", "m03"])
    assert [branch.name for branch in lake.branches()] == ["main"]


@pytest.mark.parametrize(("arrivals", "said"), [(["m13"], "there is no month 13"), (["x"], "named like m01"), ([], "Name at least one")])
def test_impossible_arrival_is_refused(lake: Lake, arrivals: list[str], said: str):
    with pytest.raises(UsageError, match=said):
        ingest("things", arrivals)


def test_data_set_that_was_never_pushed_says_how_to(things: Any):
    with pytest.raises(LakeNotFound, match="lakeline dataset push things"):
        ingest("things", ["m01"])


def test_lake_without_a_spec_says_how_to_push_one(things: Any):
    open_lake("things", create=True)

    with pytest.raises(SpecError, match="lakeline dataset push things"):
        ingest("things", ["m01"])


def test_spec_that_counts_is_that_of_the_lake(things: Any, lake: Lake):
    things.define(("things/{month:02d}.csv", "elsewhere/{month}.csv"))

    assert ingest("things", ["m01"]).rows == 3


def test_next_brings_what_follows_as_far_as_the_source_has_it(things: Any, site: Any, lake: Lake):
    things.push(("http://127.0.0.1:1", site.url))
    publish(lake, ingest("things", ["m01"]).branch)
    things.copy("month,time,kind,size,count\n3,2024-03-01,a,4,4\n", "03.csv")

    result = ingest("things", ["next"])

    assert (result.status, result.arrivals, result.branch) == ("new", ["m02", "m03"], "ingest-m02--m03")
    publish(lake, result.branch)
    again = ingest("things", ["next"])
    assert (again.status, again.branch, again.commit, again.arrivals) == ("repeated", "", lake.resolve("main"), [])
    assert "nothing yet that follows" in again.message


def test_next_of_a_lake_without_arrivals_asks_for_the_first(lake: Lake):
    assert lake.name == "things"
    with pytest.raises(UsageError, match="Name the first ones, such as m01"):
        ingest("things", ["next"])
    with pytest.raises(UsageError, match="no arrival of this data set"):
        ingest("things", ["m01", "next"])


def test_next_of_a_file_that_several_arrivals_share_ends_where_its_rows_do(things: Any):
    together = ("local: things/{month:02d}.csv", "local: things/all.csv\n  where: month = {month}")
    things.push(together)
    rows = "".join(f"{month},2024-0{month}-01,a,4,4\n" for month in (1, 2, 3))
    things.copy("month,time,kind,size,count\n" + rows, "all.csv")
    lake = open_lake("things")
    publish(lake, ingest("things", ["m01"]).branch)

    result = ingest("things", ["next"])
    publish(lake, result.branch)

    assert result.arrivals == ["m02", "m03"]
    assert ingest("things", ["next"]).status == "repeated"
    with pytest.raises(SourceError, match="has no rows where month = 4"):
        ingest("things", ["m04"])
