"""Publishing: all or nothing, and the same however many tries it takes."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from lakeline.data import publish as steps
from lakeline.data.ingest import ingest
from lakeline.data.publish import Published, publish
from lakeline.errors import DataError, LakeConflict, LakeNotFound
from lakeline.lake import CommitId
from tests.unit.data_steps.conftest import SPEC, SQL, Delivery, Toy


def test_main_has_rows_reports_tag_and_metadata(toy: Toy):
    delivery = toy.prepare(1)

    published = delivery.publish()

    lake = toy.lake
    assert lake.resolve("main") == published.commit
    assert published.tags == ("toy/01",)
    assert lake.tags()["toy/01"] == published.commit
    assert {"raw/01.parquet", "clean/01.parquet", "_lakeline/reports/01.json"} <= {entry.path for entry in lake.ls("main")}
    assert [branch.name for branch in lake.branches()] == ["main"]
    said = lake.log("main", 1)[0].metadata
    assert said.items() >= {"arrivals": "01", "rows_raw": "40", "rows_clean": "36"}.items()
    assert said["source_digest"] == delivery.ingested.sources[0].sha256
    assert said["spec_digest"] == delivery.ingested.sources[0].spec_digest
    told = json.loads(lake.read("main", "_lakeline/reports/01.json"))
    assert told["source"] == delivery.ingested.sources[0].url
    assert {layer: told[layer]["rows"] for layer in ("raw", "clean")} == {"raw": 40, "clean": 36}


def _report(toy: Toy, delivery: Delivery) -> tuple[CommitId, dict[str, str]]:
    return steps.commit_reports(toy.lake, *delivery.arguments[1:], {report["layer"]: report for report in delivery.reports})


def _merge(toy: Toy, delivery: Delivery) -> CommitId:
    head, metadata = _report(toy, delivery)
    return steps.merge(toy.lake, head, *delivery.arguments[2:], metadata)


def _tag_one(toy: Toy, delivery: Delivery) -> None:
    steps.tag(toy.lake, "01", _merge(toy, delivery))


def _tag_all(toy: Toy, delivery: Delivery) -> None:
    commit = _merge(toy, delivery)
    for arrival in delivery.ingested.arrivals:
        steps.tag(toy.lake, arrival, commit)


def _all(toy: Toy, delivery: Delivery) -> None:
    delivery.publish()


@pytest.mark.parametrize("so_far", [_report, _merge, _tag_one, _tag_all, _all])
@pytest.mark.parametrize("meanwhile", [False, True], ids=["alone", "another-delivery-between"])
def test_retry_after_a_crash_anywhere_ends_the_same(toy: Toy, so_far: Callable[[Toy, Delivery], object], meanwhile: bool):
    delivery = toy.prepare(1, 2)
    toy.write(3)
    other = toy.prepare(3) if meanwhile else None
    so_far(toy, delivery)
    if other:
        other.publish()

    published = delivery.publish()

    lake = toy.lake
    assert delivery.publish() == published
    assert {name: lake.tags()[name] for name in published.tags} == {"toy/01": published.commit, "toy/02": published.commit}
    assert [branch.name for branch in lake.branches()] == ["main"]
    assert [said.message for said in lake.log("main")].count("Publish 01, 02: 72 clean rows") == 1
    assert {entry.path for entry in lake.ls("main", "clean/")} >= {"clean/01.parquet", "clean/02.parquet"}
    assert lake.log(published.commit, 1)[0].metadata["delivery"] == delivery.transformed.commit


@pytest.mark.parametrize("so_far", [_merge, _tag_one, _tag_all])
def test_what_a_killed_run_left_after_the_merge_is_done_by_the_next(toy: Toy, so_far: Callable[[Toy, Delivery], object]):
    """The next run finds that main has the arrivals, so no try of `publish` follows."""
    so_far(toy, toy.prepare(1, 2))

    assert ingest(toy.lake.name, ["01", "02"]).status == "repeated"

    main = toy.lake.resolve("main")
    assert toy.lake.tags() == {"toy/01": main, "toy/02": main}
    assert [branch.name for branch in toy.lake.branches()] == ["main"]


def test_branch_merged_by_hand_is_published_all_the_same(toy: Toy):
    delivery = toy.prepare(1)
    head, _ = _report(toy, delivery)
    by_hand = toy.lake.merge(head, "main", "By hand")

    assert delivery.publish().commit == by_hand
    assert toy.lake.tags() == {"toy/01": by_hand}


def test_delivery_that_another_run_has_published_is_not_merged_again(toy: Toy):
    ours, other = (toy.prepare(1, run=run) for run in ("here", "elsewhere"))
    published = other.publish()
    head = toy.lake.resolve("main")

    assert ours.publish() == published
    assert toy.lake.resolve("main") == head
    assert toy.lake.tags() == {"toy/01": published.commit}
    assert [branch.name for branch in toy.lake.branches()] == ["main"]


@pytest.mark.parametrize("layer", [0, 1])
def test_failed_or_missing_checks_are_not_published(toy: Toy, layer: int):
    delivery = toy.prepare(1)
    failed: list[Any] = copy.deepcopy(list(delivery.reports))
    failed[layer]["passed"] = False
    head = toy.lake.resolve("main")

    with pytest.raises(DataError, match=r"rows failed their checks\. Nothing was merged"):
        publish(*delivery.arguments, reports=failed)
    with pytest.raises(DataError, match=r"rows were not validated\. Nothing was merged"):
        publish(*delivery.arguments, reports=[delivery.reports[1 - layer]])
    assert toy.lake.resolve("main") == head


def test_reports_of_other_rows_are_refused(toy: Toy):
    first = toy.prepare(1)
    toy.write(1, rows=50)
    again = toy.prepare(1)

    with pytest.raises(DataError, match=r"raw/01\.parquet at [0-9a-f]{12} is not what was validated"):
        publish(*again.arguments, reports=first.reports)


def test_branch_that_went_on_is_not_published(toy: Toy):
    delivery = toy.prepare(1)
    toy.lake.commit(delivery.ingested.branch, {"clean/01.parquet": b"more"}, "Added after the checks")

    with pytest.raises(LakeConflict, match=r"branch ingest-01 is no longer at [0-9a-f]{12}, which was validated"):
        delivery.publish()


def test_branch_that_was_made_anew_is_not_published(toy: Toy):
    delivery = toy.prepare(1)
    toy.write(1, rows=50)
    toy.ingest(1)

    with pytest.raises(LakeConflict, match="is no longer at"):
        delivery.publish()


def test_branch_that_is_gone_is_not_published(toy: Toy):
    delivery = toy.prepare(1)
    toy.lake.delete_branch(delivery.ingested.branch)

    with pytest.raises(LakeNotFound):
        delivery.publish()


def test_rows_checked_by_another_spec_are_not_published(toy: Toy):
    delivery = toy.prepare(1)
    toy.define(SPEC.replace("minimum: -1000", "minimum: -10"))

    with pytest.raises(LakeConflict, match=r"the spec on main has changed since branch ingest-01 was made.* Run the same arrivals again"):
        delivery.publish()


def test_spec_that_changed_in_its_training_only_does_no_harm(toy: Toy):
    delivery = toy.prepare(1)
    toy.define(SPEC.replace("seed: 42", "seed: 43"))

    assert delivery.publish().tags == ("toy/01",)
    assert b"seed: 43" in toy.lake.read("main", "_lakeline/dataset.yaml")


def test_arrival_delivered_with_other_rows_gets_a_tag_of_its_own(toy: Toy):
    first = toy.deliver(1)
    toy.write(1, rows=50)
    second = toy.deliver(1)
    toy.write(1, rows=60)
    third = toy.deliver(1)

    assert (first.tags, second.tags, third.tags) == (("toy/01",), ("toy/01.2",), ("toy/01.3",))
    assert toy.lake.tags() == {"toy/01": first.commit, "toy/01.2": second.commit, "toy/01.3": third.commit}


def test_branch_somebody_works_on_stays(toy: Toy):
    delivery = toy.prepare(1)
    _merge(toy, delivery)
    toy.lake.commit(delivery.ingested.branch, {"notes.txt": b"hm"}, "Look into it")

    delivery.publish()

    assert [branch.name for branch in toy.lake.branches()] == ["ingest-01", "main"]


def _moved(published: Published) -> dict[str, float]:
    return {
        name: column["after"]["mean"] - column["before"]["mean"] for name, column in published.changes["columns"].items() if name in "xy"
    }


def test_changes_compare_with_all_earlier_rows(toy: Toy):
    first = toy.deliver(1)
    assert first.changes == {"rows": {"before": 0, "after": 36}, "columns": {}}

    toy.write(2, change=lambda number, row: row.update(kind="d") if number == 1 else None)
    second = toy.deliver(2)

    assert second.changes["rows"] == {"before": 36, "after": 36}
    assert _moved(second) == {"x": 100, "y": 0}
    assert second.changes["columns"]["kind"]["new_categories"] == ["d"]
    assert json.loads(toy.lake.read("main", "_lakeline/reports/02.json"))["changes"] == second.changes


def test_changes_of_an_arrival_that_replaces_itself_are_against_the_others(toy: Toy):
    toy.deliver(1, 2)
    toy.write(2, rows=80)

    assert toy.deliver(2).changes["rows"] == {"before": 36, "after": 72}


def test_profiles_that_the_lake_lacks_are_made_up_for(toy: Toy):
    toy.deliver(1)
    toy.lake.commit("main", {}, "Lose a report", remove=["_lakeline/reports/01.json"])

    assert _moved(toy.deliver(2)) == {"x": 100, "y": 0}


def refused(toy: Toy, *parts: int) -> str:
    """Why a delivery is refused that passed its checks; main is as it was, and the rows are there to be looked at."""
    before = toy.lake.resolve("main")
    delivery = toy.prepare(*parts)
    with pytest.raises(DataError) as error:
        delivery.publish()
    branch = delivery.ingested.branch
    assert toy.lake.resolve("main") == before
    assert toy.lake.exists(branch, f"clean/{parts[0]:02d}.parquet")
    assert str(error.value).endswith(f" Nothing was merged; the rows are on branch {branch}. See: lakeline lake show toy {branch}")
    return str(error.value)


def test_rows_that_pass_but_are_too_few_to_learn_from_are_not_merged(toy: Toy):
    toy.write(1, rows=7)
    toy.write(2, rows=7)

    said = refused(toy, 1)

    assert said.startswith("toy 01: 7 clean rows are too few to learn from and to hold some out; 10 are the least. More arrivals may be")
    assert toy.deliver(1, 2).tags == ("toy/01", "toy/02")
    toy.write(3, rows=7)
    assert toy.deliver(3).tags == ("toy/03",)


def test_days_that_are_split_by_day_are_merged_once_there_are_enough(toy: Toy):
    toy.define(
        SPEC.replace("kind: random, seed: 42", "kind: time, column: moment"), SQL.replace("moment,", "date_trunc('day', moment) AS moment,")
    )
    for part in (1, 2, 3, 4):
        toy.write(part)

    assert "toy 01: splitting 36 rows leaves 0 to learn from" in refused(toy, 1)
    assert toy.deliver(1, 2, 3).commit
    assert toy.deliver(4).commit


def test_arrival_is_proven_by_what_main_learns_from_now(toy: Toy):
    """What is learned from may change while a delivery is under way; its rows were checked all the same."""
    delivery = toy.prepare(1)
    toy.define(SPEC.replace("holdout: 0.2", "holdout: 0.99"))

    with pytest.raises(DataError, match=r"splitting 36 rows leaves 0 to learn from.* Nothing was merged"):
        delivery.publish()
