"""Which commits of main are deliveries, and what has become of them, in both stores."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lakeline.errors import LakeNotFound
from lakeline.events import claim, deliveries, fate, fates, unseen
from lakeline.events.deliveries import attempts
from lakeline.events.hook import files
from lakeline.lake import CommitId, Lake, open_lake
from tests.unit.events.conftest import deliver


def test_merge_of_clean_rows_is_a_delivery_whoever_made_it(lake: Lake):
    lake.create_branch("by-hand", "main")
    lake.commit("by-hand", {"clean/2013-01.parquet": b"rows"}, "Upload")
    merged = lake.merge("by-hand", "main", "Merged in a browser")
    committed = lake.commit("main", {"clean/2013-02.parquet": b"rows"}, "Straight on main")
    removed = lake.commit("main", {}, "Take back", remove=["clean/2013-01.parquet"])

    assert [commit.id for commit in deliveries(lake)] == [removed, committed, merged]
    assert fate(lake, merged) == "unseen"


def test_commit_that_leaves_the_clean_rows_is_no_delivery(lake: Lake):
    spec = lake.resolve("main")
    deliver(lake, "2013-01")
    report = lake.commit("main", {"_lakeline/reports/2013-01.json": b"{}"}, "Report")
    lake.create_branch("waiting", "main")
    branch = lake.commit("waiting", {"clean/2013-02.parquet": b"rows"}, "Not merged yet")
    inner = lake.log("main~1", 3)[1].id  # of the branch that was merged

    assert [fate(lake, commit) for commit in (spec, report, branch, inner)] == ["no delivery"] * 4
    assert len(list(deliveries(lake))) == 1


def test_fate_follows_what_was_done(lake: Lake):
    claimed, trained = deliver(lake, "2013-01"), deliver(lake, "2013-02")
    own, fresh = deliver(lake, "2013-03", trained_in="run-7"), deliver(lake, "2013-04")
    assert claim(lake, claimed)
    lake.tag("model/3", trained)

    assert [fate(lake, commit) for commit in (claimed, trained, own, fresh)] == ["claimed", "trained", "trained by its own run", "unseen"]
    assert [(commit.id, found) for commit, found in fates(lake)][:2] == [(fresh, "unseen"), (own, "trained by its own run")]
    assert [(each.commit.id, each.attempts, each.own) for each in unseen(lake, 7)] == [(claimed, 1, ""), (own, 0, "run-7"), (fresh, 0, "")]


def test_commit_that_is_not_there_is_said(lake: Lake):
    with pytest.raises(LakeNotFound):
        fate(lake, "0" * len(lake.resolve("main")))


def test_run_is_given_to_one_of_many(lake: Lake):
    commit = deliver(lake, "2013-01")

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda _: claim(open_lake(lake.name), commit), range(16)))

    assert sum(won) == 1
    assert not claim(lake, commit)
    assert claim(lake, commit, 2)
    assert not claim(lake, commit, 2)
    assert attempts(commit, lake.tags()) == 2


def test_what_came_before_the_webhook_is_nobodys_business(lake: Lake):
    deliver(lake, "2013-01")
    lake.commit("main", files("http://127.0.0.1:1"), "Tell of merges")
    lake.commit("main", files("http://127.0.0.1:2"), "Tell another")
    after = deliver(lake, "2013-02")

    assert [each.commit.id for each in unseen(lake, 7)] == [after]


def test_what_is_older_than_asked_for_is_left_alone(lake: Lake):
    commit = deliver(lake, "2013-01")

    assert [each.commit.id for each in unseen(lake, 1)] == [commit]
    assert unseen(lake, -1) == []


def test_claims_of_another_commit_do_not_count():
    one, other = CommitId("a" * 40), CommitId("a" * 12 + "b" * 28)

    assert attempts(one, {"run/training/aaaaaaaaaaaa": other, "run/training/aaaaaaaaaaaa.2": one, "model/1": one}) == 1
