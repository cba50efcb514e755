"""Promotion: the alias `production` is moved by the gates, or by a person, with the reasons kept on both versions."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lakeline.errors import LakelineError, RegistryError, RegistryUnavailable, blame_place, of_the_place
from lakeline.registry import records
from lakeline.registry.conclusion import REASONS, VERDICT, finish, record_replaced, record_verdict, withdraw_verdict
from lakeline.registry.files import download, fetch_some
from lakeline.registry.gates import Gate, judge, judge_signature, judge_smoke
from lakeline.registry.moves import PREVIOUS, exclusively, move_alias, was_moved
from lakeline.registry.peek import PRODUCTION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from lakeline.data.spec import DatasetSpec


_DESCRIPTION = "MLmodel"
"""MLflow's own file about a model."""


@dataclass(frozen=True)
class Decision:
    """What the gates decided.

    Attributes
    ----------
    verdict
        `promoted` or `held`.
    gates
        All of them, in the order in which they were judged.
    reasons
        Sentences: of the gates that do not hold, or, if all do, of those that compare and bound.
    previous
        Version that was in production before, or None.
    """

    verdict: Literal["promoted", "held"]
    gates: list[Gate]
    reasons: list[str]
    previous: int | None

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as JSON can hold it."""
        return asdict(self)


def promote(dataset: str, version: int, evaluation: Mapping[str, Any]) -> Decision:
    """Make a version the one in production if every gate of its spec holds.

    The alias `production` never stands nowhere in between. The verdict is recorded before the alias moves, and what is written last is
    the tag of the commit: whoever tries again after an interrupt, be it another run, comes to the same end.

    Parameters
    ----------
    dataset
        Name of the data set, which is its model's name.
    version
        The candidate.
    evaluation
        `Evaluation.to_dict()`, as `evaluation_of` gives it: of the candidate and of the version that was in production then.

    Returns
    -------
    Decision
        Also recorded as tags on the candidate, its run, and the version in production. The commit that the candidate learned
        from gets the tag `model/<version>` in the lake.

    Raises
    ------
    RegistryError
        If there is no such version, or the registry is out of reach.
    PlaceTrouble
        If there is no memory or disk to try it. The candidate is then neither promoted nor held.
    """
    import skops.io  # pyright: ignore[reportUnusedImport]  # noqa: F401  (before MLflow: it looks through every module that there is)

    from lakeline.data.specfile import pinned_spec
    from lakeline.lake import open_lake
    from lakeline.registry.store import connect, speaking

    client = connect()
    with speaking():
        candidate = client.get_model_version(dataset, str(version))
        decision = _carried_out(client, candidate)
        if decision is None:
            spec = pinned_spec(open_lake(dataset), candidate.tags["data_commit"]).spec
            decision = _judged(client, candidate, spec, evaluation)
            _carry_out(client, candidate, decision)
        elif decision.verdict == "promoted":
            record_replaced(client, candidate, decision.previous, " ".join(decision.reasons), again=False)
        finish(client, candidate)
    return decision


def evaluation_of(dataset: str, version: int, evaluation: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the evaluation that a candidate is to be judged by.

    Parameters
    ----------
    dataset, version
        The candidate.
    evaluation
        `Evaluation.to_dict()` of this run.

    Returns
    -------
    Mapping
        The same, unless it compares the candidate with itself: a run that was killed has put it into production, and this one goes
        on. Then that which was recorded when it was registered, of the version that was in production before.

    Raises
    ------
    RegistryError
        If the registry is out of reach.
    """
    from lakeline.registry.store import connect, speaking

    if evaluation.get("production_version") != version:
        return evaluation
    client = connect()
    with speaking():
        from mlflow.artifacts import load_dict

        run = client.get_model_version(dataset, str(version)).run_id
        return load_dict(f"runs:/{run}/evaluation.json")


def _carried_out(client: MlflowClient, candidate: ModelVersion) -> Decision | None:
    """Decision by which an earlier try has put the candidate into production, whatever came after; None if none has."""
    if candidate.tags.get(VERDICT) != "promoted" or not was_moved(client, candidate.name, int(candidate.version)):
        return None
    from mlflow.artifacts import load_dict
    from mlflow.exceptions import MlflowException

    try:
        told = load_dict(f"runs:/{candidate.run_id}/decision.json")
    except (MlflowException, OSError) as error:  # it was recorded after the verdict once
        if of_the_place(error):
            raise
        over = candidate.tags.get("promoted_over", "")
        return Decision("promoted", [], json.loads(candidate.tags[REASONS]), int(over) if over.isdecimal() else None)
    return Decision(told["verdict"], [Gate(**gate) for gate in told["gates"]], told["reasons"], told["previous"])


def _judged(client: MlflowClient, candidate: ModelVersion, spec: DatasetSpec, evaluation: Mapping[str, Any]) -> Decision:
    from lakeline.registry.versions import version_by_alias

    dataset, version = candidate.name, int(candidate.version)
    now = version_by_alias(client, dataset, PRODUCTION)
    current = None if now is None else int(now.version)
    # On a retry after the move the candidate itself is in production, over the version that it was compared with.
    rival = evaluation.get("production_version") if current == version else current
    return _decide([*judge(spec, evaluation, rival=rival), *_tried(dataset, version, rival)], rival)


def _carry_out(client: MlflowClient, candidate: ModelVersion, decision: Decision) -> None:
    """Record a decision, and then move the alias if it says so: killed in between, the one thing that can't be seen is not left unsaid."""
    version, rival = int(candidate.version), decision.previous
    client.log_dict(str(candidate.run_id), decision.to_dict(), "decision.json")
    record_verdict(client, candidate, decision.verdict, decision.reasons)
    if decision.verdict == "promoted":
        try:
            put_in_production(client, candidate, rival, decision.reasons)
        except RegistryUnavailable:
            raise
        except RegistryError:
            withdraw_verdict(client, candidate)
            raise
    elif rival is not None:
        records.record(client, candidate.name, rival, "challenged", by=version, outcome=f"held: {' '.join(decision.reasons)}")


def promote_by_hand(dataset: str, version: int, why: str, expect: int | Literal["any"] | None = "any") -> int | None:
    """Make a version the one in production because a person says so, whatever its metrics are.

    Parameters
    ----------
    dataset
        Name of the data set, which is its model's name.
    version
        Version to promote.
    why
        Reason, which is recorded.
    expect
        Version that must be in production for that: what whoever asks for it has judged by. None: no version.

    Returns
    -------
    int or None
        Version that was in production before; it is `previous` now.

    Raises
    ------
    RegistryError
        If there is no such version, it can't be loaded or doesn't predict what it predicted when it was made, another version than
        expected is in production or comes there meanwhile, or the registry is out of reach. Nothing was moved then.
    """
    import skops.io  # pyright: ignore[reportUnusedImport]  # noqa: F401  (before MLflow: it looks through every module that there is)

    from lakeline.registry.store import connect, speaking
    from lakeline.registry.versions import version_by_alias, version_info

    version_info(dataset, version)
    client = connect()
    with speaking():
        with tempfile.TemporaryDirectory(prefix="lakeline-") as scratch:
            smoke = _smoke(dataset, version, download(dataset, version, Path(scratch)))
        if not smoke.passed:
            raise RegistryError(f"{dataset} version {version} was not promoted: {smoke.text}")
        now = version_by_alias(client, dataset, PRODUCTION)
        current = (None if now is None else int(now.version)) if expect == "any" else expect
        if current != version:
            put_in_production(client, client.get_model_version(dataset, str(version)), current, [why])
        return current


def _decide(gates: list[Gate], rival: int | None) -> Decision:
    failed = [gate.text for gate in gates if not gate.passed]
    if failed:
        return Decision("held", gates, failed, rival)
    telling = [gate.text for gate in gates if gate.name not in ("signature", "smoke", "slices")]
    return Decision("promoted", gates, telling, rival)


def _tried(dataset: str, version: int, rival: int | None) -> list[Gate]:
    """Gates that need the candidate's files. That they can't be had is no verdict; that they are no model is."""
    with tempfile.TemporaryDirectory(prefix="lakeline-") as scratch:
        folder = download(dataset, version, Path(scratch))
        return [_signature(dataset, folder, rival), _smoke(dataset, version, folder)]


def _signature(dataset: str, folder: Path, rival: int | None) -> Gate:
    whose = "the candidate"
    try:
        ours, theirs = _inputs(folder), None
        if rival is not None:
            whose = f"production's version {rival}"
            with tempfile.TemporaryDirectory(prefix="lakeline-") as scratch:
                fetch_some(dataset, rival, (_DESCRIPTION,), Path(scratch))
                theirs = _inputs(Path(scratch))
    except LakelineError:
        raise
    except Exception as error:
        blame_place(error, f"{dataset}: the signature of {whose} could not be read")
        return Gate("signature", False, None, None, f"the signature of {whose} can't be read: {type(error).__name__}: {error}")
    return judge_signature(ours, theirs, rival)


def _inputs(folder: Path) -> dict[str, str]:
    from mlflow.models import Model

    signature = Model.load(str(folder)).signature
    return {} if signature is None else {column.name: column.type.name for column in signature.inputs.inputs}


def _smoke(dataset: str, version: int, folder: Path) -> Gate:
    """Load the files of a version as a server does, and compare its predictions for the input example with those recorded."""
    from mlflow.pyfunc import load_model

    from lakeline.training.model import example_frame, read_card

    recorded: Sequence[float] = []
    try:
        card = read_card(folder)
        recorded = card.example.predictions
        predicted = load_model(str(folder)).predict(example_frame(card.example, card.features))
    except Exception as error:
        blame_place(error, f"{dataset} version {version} could not be tried")
        return judge_smoke(None, recorded, str(error) if isinstance(error, LakelineError) else f"{type(error).__name__}: {error}")
    return judge_smoke([float(value) for value in predicted], recorded, None)


def put_in_production(client: MlflowClient, candidate: ModelVersion, rival: int | None, reasons: Sequence[str], kind: str = "") -> None:
    """Move the aliases: first the way back, then the one step that counts; tags say the same before and after.

    Parameters
    ----------
    client, candidate, reasons
        From `connect`; the version, and why it shall be in production.
    rival
        Version that is there, which the candidate was judged against; None if there is none.
    kind
        Of the move, as its record has it.

    Raises
    ------
    RegistryError
        If another version has come into production meanwhile.
    """
    from lakeline.registry.versions import version_by_alias

    name, version, why = candidate.name, int(candidate.version), " ".join(reasons)
    with exclusively(name):
        found = version_by_alias(client, name, PRODUCTION)
        now = None if found is None else int(found.version)
        if now in (rival, version):
            records.record(client, name, version, "promoted", over="" if rival is None else str(rival), why=why)
            if rival is not None and rival != version:
                move_alias(client, name, PREVIOUS, rival, f"{version} takes its place")
            now = move_alias(client, name, PRODUCTION, version, why, expect=rival, kind=kind)
    if now != version:
        there = "no version is in production any more" if now is None else f"version {now} has come into production"
        raise RegistryError(
            f"{name}: meanwhile {there}, and version {version} was to take the place of {rival or 'none'}. "
            f"It was not promoted. See who did what, then try again: lakeline history {name}"
        )
    record_replaced(client, candidate, rival, why)
