"""How a test ends: its winner is promoted, unless something else came to be in production, and an interrupt changes nothing of that."""

from pathlib import Path
from typing import Any

import pytest

from lakeline.errors import UsageError
from lakeline.registry import history, promotion
from lakeline.registry.deployed import standing
from lakeline.registry.gates import Gate
from lakeline.registry.store import connect
from lakeline.serving.experiment import running
from lakeline.serving.release import Release
from tests.ferries import NAME
from tests.unit.serving.experiment.standin import TAKE_DOWN, Interrupted, StandIn, aliases_of


def test_winner_is_promoted_once_the_test_is_taken_down(site: StandIn):
    state = running.start(NAME, 1)
    site.calls.clear()

    ended = running.conclude(NAME, state.id, "promote", "9 % better.")

    assert site.calls == [*TAKE_DOWN, "ExperimentEnded"]
    assert ended.outcome == "promoted"
    assert (aliases_of()["production"], aliases_of()["previous"]) == (1, 2)
    last = [move for move in history(NAME) if move.alias == "production"][-1]
    assert last.why == f"it won the A/B test {state.id}: 9 % better."


@pytest.mark.parametrize("at", TAKE_DOWN)
def test_conclusion_that_was_interrupted_comes_to_the_same_end(site: StandIn, at: str):
    state = running.start(NAME, 1)
    site.fails[at] = Interrupted()
    with pytest.raises(Interrupted):
        running.conclude(NAME, state.id, "promote", "better.")
    assert aliases_of()["production"] == 2
    assert running.conclude(NAME, state.id, "promote", "better.").outcome == "promoted"
    assert running.conclude(NAME, state.id, "promote", "better.").outcome == "promoted"
    assert (aliases_of()["production"], set(site.arms)) == (1, {"production"})


def test_conclusion_that_was_interrupted_after_the_promotion_says_that_it_was_promoted(site: StandIn, monkeypatch: pytest.MonkeyPatch):
    state = running.start(NAME, 1)

    def interrupt(*_: Any) -> None:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(running, "save", interrupt)
        with pytest.raises(Interrupted):
            running.conclude(NAME, state.id, "promote", "better.")
    assert running.look(NAME)[2].verdict == "end", "another version is in production: the challenger"
    assert running.conclude(NAME, state.id, "end", "it moved").outcome == "promoted"


def test_nobody_wins_if_production_moved_in_the_meantime(site: StandIn):
    state = running.start(NAME, 1)
    connect().set_registered_model_alias(NAME, "production", "3")
    ended = running.conclude(NAME, state.id, "promote", "better.")
    assert ended.outcome == "ended"
    assert ended.why == "version 3 is in production now, not version 2, beside which version 1 was tested."
    assert standing(NAME).production == 3


def test_version_that_is_promoted_while_the_test_is_taken_down_is_not_overwritten(site: StandIn, monkeypatch: pytest.MonkeyPatch):
    """That takes minutes, and whoever promotes by hand or by the gates doesn't wait for it."""
    state = running.start(NAME, 1)
    roll_out = site.roll_out

    def promoted_meanwhile(release: Release, serving: Any) -> None:
        roll_out(release, serving)
        connect().set_registered_model_alias(NAME, "production", "3")

    monkeypatch.setattr(site, "roll_out", promoted_meanwhile)

    ended = running.conclude(NAME, state.id, "promote", "better.")

    assert (ended.outcome, standing(NAME).production) == ("ended", 3)
    assert ended.why == "version 3 is in production now, not version 2, beside which version 1 was tested."


def test_version_that_is_promoted_while_the_winner_is_tried_is_not_overwritten(site: StandIn, monkeypatch: pytest.MonkeyPatch):
    state = running.start(NAME, 1)
    tried = promotion._smoke

    def promoted_meanwhile(dataset: str, version: int, folder: Path) -> Gate:
        connect().set_registered_model_alias(NAME, "production", "3")
        return tried(dataset, version, folder)

    monkeypatch.setattr(promotion, "_smoke", promoted_meanwhile)
    assert running.conclude(NAME, state.id, "promote", "better.").outcome == "ended"
    assert standing(NAME).production == 3


def test_production_that_moved_ends_the_test_at_the_next_look(site: StandIn):
    running.start(NAME, 1)
    connect().set_registered_model_alias(NAME, "production", "3")
    _, _, found = running.look(NAME)
    assert found.verdict == "end"
    assert found.reasons[0].startswith("version 3 is in production now")


def test_test_that_is_over_is_not_concluded_by_a_late_run(site: StandIn):
    first = running.start(NAME, 1)
    running.stop(NAME, "enough")
    assert running.conclude(NAME, first.id, "promote", "better.").outcome == "stopped"
    assert aliases_of()["production"] == 2
    with pytest.raises(UsageError, match="is not its last one any more"):
        running.conclude(NAME, "ferries-1-20200101T000000", "promote", "better.")
