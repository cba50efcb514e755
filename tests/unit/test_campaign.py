"""The fault campaign, in small: that it runs, finds nothing, and would tell of what it finds."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.campaign.faults import KINDS, ROUND, Result, kind_of

PROJECT = Path(__file__).resolve().parents[2]


def campaign(*arguments: str) -> tuple[int, dict[str, Any], str]:
    command = [sys.executable, "-m", "tests.campaign", "--json", *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=900)
    return done.returncode, json.loads(done.stdout), done.stderr


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked with their libraries loaded: on Linux only")


@on_linux
def test_a_few_faults_of_a_delivery_break_no_promise():
    """No model is trained, and MLflow is not imported: that takes seconds, not a minute."""
    kinds = [f"--kind={kind}" for kind in ("kill", "interrupt", "twice")]
    code, told, said = campaign("--faults", "4", "--seed", "3", "--jobs", "1", "--pipeline", "data", *kinds)
    assert told["wrong"] == [], said
    assert (code, told["faults"]) == (0, 4), said


@on_linux
@pytest.mark.nightly
def test_a_fault_of_each_kind_breaks_no_promise():
    code, told, said = campaign("--faults", str(len(ROUND)), "--seed", "3")
    assert told["wrong"] == [], said
    assert (code, told["faults"] + len(told["skipped"])) == (0, len(ROUND)), said


def test_a_round_has_every_kind_as_often_as_it_says():
    counted = Counter(kind.name for kind, _ in ROUND)
    assert counted == {kind.name: kind.share for kind in KINDS}


def test_faults_of_a_kind_are_numbered_without_a_gap():
    """Each goes to another point of a run than the one before."""
    ordinals: dict[str, list[int]] = {kind.name: [] for kind in KINDS}
    for index in range(3 * len(ROUND)):
        kind, ordinal = kind_of(index)
        ordinals[kind.name].append(ordinal)
    assert all(sorted(numbers) == list(range(len(numbers))) for numbers in ordinals.values())


def test_result_goes_through_a_line():
    result = Result(7, "kill", "SIGKILL at point 3", ["main has no rows"], 1.5)
    assert "\n" not in result.to_json()
    assert Result.from_json(result.to_json()) == result
