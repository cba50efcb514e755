"""An A/B test from its start to its end: the challenger comes to serve beside production, is judged, and wins or goes."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lakeline.errors import RegistryError, RolloutFailed, UsageError
from lakeline.registry.deployed import example_of, standing, version_tags
from lakeline.registry.files import DIGEST_TAG, fetch_version
from lakeline.serving.deployment import serving_of
from lakeline.serving.experiment.judge import judge, moved
from lakeline.serving.experiment.state import CHALLENGER, Outcome, State, load, save
from lakeline.serving.experiment.traffic import both_serve, share_out, take_down
from lakeline.serving.release import Release
from lakeline.serving.site import authorization, holder, open_site
from lakeline.serving.smoke import smoke
from lakeline.settings import get_settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from lakeline.data.spec import DatasetSpec
    from lakeline.serving.experiment.assessment import Assessment, Verdict
    from lakeline.serving.site import Site

_DAY = 24 * 60 * 60


def start(model: str, version: int, run: str = "") -> State:
    """Have a version serve beside production, and share requests out between them.

    The challenger is tried apart from all traffic first. Started again after an interrupt, the same test comes to be set up; of one that
    runs, only what doesn't serve any more is set up again, and it goes on if that fails.

    Parameters
    ----------
    model
        Its name.
    version
        The challenger.
    run
        Id of the pipeline run, if it is one.

    Returns
    -------
    State
        The test that runs now.

    Raises
    ------
    UsageError
        If the model is in another test, nothing serves it, or the challenger is what serves.
    RolloutFailed
        If the challenger can't serve; all is then as it was, unless the test has run already.
    """
    from lakeline.data.specfile import pinned_spec
    from lakeline.lake import open_lake
    from lakeline.lake.base import MAIN
    from lakeline.lineage import person
    from lakeline.registry.store import connect

    client, site = connect(), open_site()
    with site.hold(model, holder(run, "experiment")):
        state = load(client, model)
        if state is not None and state.running and state.challenger != version:
            raise UsageError(
                f"{model}: version {state.challenger} is being tested already, since {_when(state)}. "
                f"Stop that: lakeline experiment stop {model}"
            )
        production = _production(site, model, version)
        if state is None or not state.running:
            lake = open_lake(model)
            commit = lake.resolve(MAIN)
            spec = pinned_spec(lake, commit).spec.experiment
            stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
            unkeyed = get_settings().serving == "local" or not get_settings().serving_gateway
            state = State(f"{model}-{version}-{stamp}", production.version, version, spec.weight, unkeyed, commit, person())
        elif state.production != production.version:
            said = moved(state.production, state.challenger, production.version)
            raise UsageError(f"{model}: {said} Stop the test: lakeline experiment stop {model}")
        elif state.started is not None and both_serve(site.serving(model), state):
            return state
        challenger = _challenger(model, version, run, state.who)
        _try_apart(site, challenger, production)
        save(client, model, state)
        try:
            share_out(client, site, state, production, challenger)
        except RolloutFailed as error:
            if state.started is not None:
                raise  # What has been seen stays: a node that is drained for a while ends no test.
            _end(client, site, model, state, ("stopped", f"it could not be set up: {error}"))
            raise
        if state.started is None:
            state = replace(state, started=time.time())
            save(client, model, state)
    site.tell(model, "ExperimentStarted", f"Version {version} answers {state.weight:.0%} of requests beside version {state.production}.")
    return state


def look(model: str) -> tuple[State, DatasetSpec, Assessment]:
    """Judge the test that a model is in by what is known now; nothing is changed.

    Parameters
    ----------
    model
        Its name.

    Raises
    ------
    UsageError
        If it is in none, or its servers aren't set up yet.
    DataError
        If the prediction log or the truth can't be read.
    """
    from lakeline.data.specfile import pinned_spec
    from lakeline.lake import CommitId, open_lake
    from lakeline.registry.store import connect
    from lakeline.serving.experiment.join import units_of
    from lakeline.serving.experiment.truth import truth_since

    state = _running(connect(), model)
    if state.started is None:
        raise UsageError(
            f"{model}: the test of version {state.challenger} is not set up yet. Do: lakeline experiment start {model} {state.challenger}"
        )
    lake = open_lake(model)
    spec = pinned_spec(lake, CommitId(state.commit)).spec
    units = units_of(state, spec.experiment.metric, get_settings().predictions_url, model, truth_since(lake, spec, state.started))
    days = (time.time() - state.started) / _DAY
    versions = state.production, state.challenger
    return state, spec, judge(spec.experiment, versions, state.weight, units, days, standing(model).production)


def stop(model: str, why: str) -> State:
    """End the test that a model is in without a winner: the challenger serves no longer.

    Parameters
    ----------
    model
        Its name.
    why
        Reason, which is recorded.

    Raises
    ------
    UsageError
        If it is in none.
    """
    from lakeline.registry.store import connect

    client, site = connect(), open_site()
    with site.hold(model, holder("", "experiment")):
        state = _end(client, site, model, _running(client, model), ("stopped", why))
    site.tell(model, "ExperimentEnded", f"The test of version {state.challenger} was stopped: {why}")
    return state


def conclude(model: str, experiment: str, verdict: Verdict, why: str, run: str = "") -> State:
    """Do what a look at a test has come to: promote the challenger, or end the test.

    The test is taken down before the alias moves, so that the deployment of the winner finds one version serving. Run again after an
    interrupt, it comes to the same end.

    Parameters
    ----------
    model
        Its name.
    experiment
        Id of the test that was looked at.
    verdict, why
        What was found.
    run
        Id of the pipeline run.

    Returns
    -------
    State
        How the test ended. If the alias has moved in the meantime, nothing is promoted.
    """
    from lakeline.registry import promote_by_hand
    from lakeline.registry.store import connect

    client, site = connect(), open_site()
    with site.hold(model, holder(run, "experiment")):
        state = load(client, model)
        if state is None or state.id != experiment:
            raise UsageError(f"{model}: the test {experiment} is not its last one any more; nothing was changed.")
        if not state.running or verdict == "continue":
            return state
        take_down(client, site, model, why)
        # Taking it down takes minutes, in which a person or a gate may have promoted another version.
        now = standing(model).production
        if verdict == "promote" and now == state.production:
            try:
                promote_by_hand(model, state.challenger, f"it won the A/B test {state.id}: {why}", expect=now)
            except RegistryError:
                now = standing(model).production
                if now == state.production:
                    raise
            else:
                now = state.challenger
        outcome: Outcome = "promoted" if now == state.challenger else "ended"
        if verdict == "promote" and outcome == "ended":
            why = moved(state.production, state.challenger, now)
        state = replace(state, ended=time.time(), outcome=outcome, why=why)
        save(client, model, state)
    site.tell(model, "ExperimentEnded", f"The test of version {state.challenger} has {_words(outcome)}: {why}")
    return state


def _production(site: Site, model: str, version: int) -> Release:
    """What serves, which must be what the registry says."""
    at, now = standing(model), site.serving(model).get("production")
    if now is None:
        raise UsageError(f"{model}: nothing serves it, so there is nothing to test beside. Do: lakeline run deployment --dataset {model}")
    if now.version != at.production:
        raise UsageError(
            f"{model}: version {now.version} serves, but the alias production stands at {at.production}. "
            f"Deploy that first: lakeline run deployment --dataset {model}"
        )
    if now.version == version:
        raise UsageError(f"{model}: version {version} is in production already. Name another: lakeline models {model}")
    return now


def _challenger(model: str, version: int, run: str, actor: str) -> Release:
    tags = version_tags(model, version)
    digest = tags.get(DIGEST_TAG)
    if not digest:
        with tempfile.TemporaryDirectory(prefix="lakeline-") as folder:
            digest = fetch_version(model, version, Path(folder))
    return Release(model, version, digest, CHALLENGER, data_commit=tags.get("data_commit", ""), run=run, actor=actor)


def _try_apart(site: Site, challenger: Release, production: Release) -> None:
    """Try the challenger with rows of its own, and with what callers of production send, before it gets any of their requests."""
    serving = serving_of(challenger)
    own, theirs = example_of(challenger.model, challenger.version), example_of(production.model, production.version)
    with site.trial(challenger, serving) as url:
        for whose, example in (("its own example", own), (f"what callers of version {production.version} send", theirs)):
            if example is None:
                continue
            asked = example if example is own else replace(example, predictions=[])
            tried = smoke(url, authorization(challenger.model), challenger, asked, serving)
            tried.check(f"{challenger.model} version {challenger.version}, tried with {whose}: ")


def _end(client: MlflowClient, site: Site, model: str, state: State, outcome: tuple[Outcome, str]) -> State:
    take_down(client, site, model, outcome[1])
    state = replace(state, ended=time.time(), outcome=outcome[0], why=outcome[1])
    save(client, model, state)
    return state


def _running(client: MlflowClient, model: str) -> State:
    state = load(client, model)
    if state is None or not state.running:
        last = f" The last one, of version {state.challenger}, {_words(state.outcome)}: {state.why}" if state else ""
        raise UsageError(f"{model}: it is in no test.{last} Start one: lakeline experiment start {model} VERSION")
    return state


def _words(outcome: Outcome | None) -> str:
    return {"promoted": "ended with its promotion", "ended": "ended without a winner", "stopped": "was stopped"}[outcome or "ended"]


def _when(state: State) -> str:
    return "a moment ago" if state.started is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(state.started))
