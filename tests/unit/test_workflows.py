"""What has to hold for GitHub's workflows: pinned, bounded, allowed little, and safe from what strangers write."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / ".github" / "workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yml"))

PINNED = re.compile(r"^[\w.-]+/[\w./-]+@[0-9a-f]{40}$")
WRITES = {
    ("images", "publish"): {"packages": "write", "id-token": "write"},  # pushes to the registry; signs with its own identity
}
SECRETS = {"KF_PIPELINES_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}


def load(name: str) -> dict[str, Any]:
    """Read a workflow; `on` is a word here, not a truth value."""
    return YAML(typ="safe").load(FOLDER / f"{name}.yml")


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in load(name)["jobs"].values() for step in job.get("steps", [])]


def test_there_is_a_workflow_for_each_thing_to_be_watched():
    assert {"ci", "images", "pipelines", "promote", "e2e"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_pinned_by_commit_and_say_which_release_that_is(name: str):
    uses = re.findall(r"uses:\s*(\S+)(.*)", (FOLDER / f"{name}.yml").read_text())
    remote = [(use, comment) for use, comment in uses if not use.startswith("./")]
    assert remote
    assert [use for use, comment in remote if not PINNED.match(use) or not re.fullmatch(r" # v\d+\.\d+\.\d+", comment)] == []


def test_an_action_has_one_commit_everywhere():
    pins = {tuple(step["uses"].split("@")) for name in NAMES for step in steps(name) if "uses" in step}
    assert len(pins) == len({action for action, _ in pins})


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_may_read_and_a_job_write_only_what_it_must(name: str):
    workflow = load(name)
    assert workflow["permissions"] == {"contents": "read"}
    for job, described in workflow["jobs"].items():
        writes = {what: level for what, level in described.get("permissions", {}).items() if level != "read"}
        assert writes == WRITES.get((name, job), {}), job


@pytest.mark.parametrize("name", NAMES)
def test_every_job_has_an_end_and_no_two_are_in_each_others_way(name: str):
    workflow = load(name)
    assert {"group", "cancel-in-progress"} <= set(workflow["concurrency"])
    calls = [job for job, described in workflow["jobs"].items() if "uses" in described]
    assert [job for job, described in workflow["jobs"].items() if job not in calls and not described.get("timeout-minutes")] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_workflow_runs_a_strangers_change_with_our_rights(name: str):
    triggers = load(name)["on"]
    assert not {"pull_request_target", "workflow_run", "issue_comment"} & set(triggers)
    secret = set(re.findall(r"secrets\.(\w+)", (FOLDER / f"{name}.yml").read_text()))
    assert secret <= SECRETS
    if "pull_request" in triggers:
        reachable = {job for job, described in load(name)["jobs"].items() if "if" not in described}
        assert not [job for job in reachable if "secrets" in json.dumps(load(name)["jobs"][job])]


@pytest.mark.parametrize("name", NAMES)
def test_scripts_take_values_from_the_environment(name: str):
    """What `${{ }}` puts into a script is run as code: a branch may be called `$(curl ...)`."""
    assert [step["run"] for step in steps(name) if "${{" in step.get("run", "")] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_checkout_leaves_no_token_behind(name: str):
    checkouts = [step for step in steps(name) if step.get("uses", "").startswith("actions/checkout@")]
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@pytest.mark.parametrize("name", NAMES)
def test_scripts_name_targets_and_files_that_exist(name: str):
    targets = set(re.findall(r"^\.PHONY: (\S+)$", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    for step in steps(name):
        script = step.get("run", "")
        for line in re.findall(r"^make (.+)$", script, re.MULTILINE):
            assert set(line.split()) <= targets, line
        for path in re.findall(r"(?<![\w/])(\.(?:ci|github)/[\w/.-]+)", script):
            assert (PROJECT / path).is_file(), path


def test_zizmor_finds_nothing():
    program = Path(sys.executable).with_name("zizmor")
    if not program.is_file():
        pytest.skip("zizmor is not installed: make setup-dev")
    command = [str(program), "--offline", "--no-progress", "--persona=pedantic", ".github"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def verdict(path: Path) -> str:
    done = subprocess.run([str(PROJECT / ".github/verdict"), str(path)], capture_output=True, text=True, check=True)
    return done.stdout


def test_the_summary_shows_verdict_reasons_and_metrics(tmp_path: Path):
    outcome = tmp_path / "outcome.json"
    said = {
        "pipeline": "training",
        "dataset": "ferries",
        "run_id": "8c1f",
        "url": "http://pipelines.example/#/runs/details/8c1f",
        "pipeline_version": "0123abcd",
        "status": "succeeded",
        "error": None,
        "seconds": 61.3,
        "version": "4",
        "verdict": "held back",
        "reasons": ["rmse 3.2 is above 3.0"],
        "metrics": {"rmse": 3.2},
    }
    outcome.write_text(json.dumps(said))
    shown = verdict(outcome)
    assert "### training ferries: held back" in shown
    assert "[Run 8c1f](http://pipelines.example/#/runs/details/8c1f)" in shown
    assert "- rmse 3.2 is above 3.0" in shown
    assert "| rmse | 3.2 |" in shown


def test_the_summary_of_a_failed_run_says_why(tmp_path: Path):
    outcome = tmp_path / "outcome.json"
    said = {"pipeline": "training", "dataset": "ferries", "run_id": "8c1f", "url": "http://x", "pipeline_version": "0123abcd"}
    outcome.write_text(json.dumps(said | {"status": "failed", "error": "split: no rows", "seconds": 9}))
    shown = verdict(outcome)
    assert "### training ferries: failed" in shown
    assert "split: no rows" in shown


def test_nobody_promotes_alone():
    """The environment's reviewers approve of each, and what comes of it is waited for."""
    (job,) = load("promote")["jobs"].values()
    assert job["environment"] == "production"
    assert set(load("promote")["on"]) == {"workflow_dispatch"}
    assert any("lakeline promote" in step.get("run", "") and "--wait" in step["run"] for step in job["steps"])


def test_the_summary_of_a_promotion_is_of_its_deployment(tmp_path: Path):
    outcome = tmp_path / "outcome.json"
    deployment: dict[str, Any] = {"pipeline": "deployment", "dataset": "ferries", "version": 7, "run_id": "8c1f", "url": "http://x"}
    deployment |= {"status": "failed", "error": "version 7 was rolled back: 99 of 100 requests took up to 900 ms", "seconds": 61.3}
    promotion = {"model": "ferries", "version": 7, "replaced": 6, "deployment": deployment}
    outcome.write_text(json.dumps(promotion))
    shown = verdict(outcome)
    assert "### deployment ferries: failed" in shown
    assert "[Run 8c1f](http://x) failed after 61 s, model version 7." in shown
    assert "was rolled back: 99 of 100" in shown

    deployment |= {"status": "succeeded", "error": None, "run_id": None, "url": None, "seconds": 0.4}
    outcome.write_text(json.dumps(promotion))
    assert "Succeeded after 0 s, model version 7." in verdict(outcome)


def test_the_summary_of_no_run_points_to_the_log(tmp_path: Path):
    (tmp_path / "outcome.json").touch()
    assert "the log of this job says why" in verdict(tmp_path / "outcome.json")
    assert "the log of this job says why" in verdict(tmp_path / "missing.json")
