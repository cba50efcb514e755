"""Promotion: the alias `production` is moved by the gates, or by a person, with the reasons kept on both versions."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from lakeline.errors import LakeConflict, LakelineError, RegistryError
from lakeline.registry.gates import Gate, judge, judge_signature, judge_smoke
from lakeline.registry.moves import PREVIOUS, move_alias
from lakeline.registry.peek import PRODUCTION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


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

    The alias `production` never stands nowhere in between, and a retry after an interrupt comes to the same end.

    Parameters
    ----------
    dataset
        Name of the data set, which is its model's name.
    version
        The candidate.
    evaluation
        `Evaluation.to_dict()`: of the candidate and of the version that was in production then.

    Returns
    -------
    Decision
        Also recorded as tags on the candidate, its run, and the version in production. The commit that the candidate learned
        from gets the tag `model/<version>` in the lake.

    Raises
    ------
    RegistryError
        If there is no such version, or the registry is out of reach.
    """
    import skops.io  # pyright: ignore[reportUnusedImport]  # noqa: F401  (before MLflow: it looks through every module that there is)

    from lakeline.data.specfile import pinned_spec
    from lakeline.lake import open_lake
    from lakeline.registry.store import connect, speaking
    from lakeline.registry.versions import version_by_alias

    client = connect()
    lake = open_lake(dataset)
    with speaking():
        candidate = client.get_model_version(dataset, str(version))
        spec = pinned_spec(lake, candidate.tags["data_commit"]).spec
        now = version_by_alias(client, dataset, PRODUCTION)
        current = None if now is None else int(now.version)
        # On a retry after the move the candidate itself is in production, over the version that it was compared with.
        rival = evaluation.get("production_version") if current == version else current
        gates = judge(spec, evaluation, rival=rival)
        gates += [_signature(dataset, version, rival), _smoke(dataset, version)]
        decision = _decide(gates, rival)
        if decision.verdict == "promoted":
            put_in_production(client, candidate, rival, decision.reasons)
        elif rival is not None:
            record(client, dataset, rival, "challenged", by=version, outcome=f"held: {' '.join(decision.reasons)}")
        _conclude(client, candidate, decision)
    _tag_commit(dataset, candidate)
    return decision


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
        smoke = _smoke(dataset, version)
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


def _signature(dataset: str, version: int, rival: int | None) -> Gate:
    ours = _inputs(dataset, version)
    try:
        theirs = None if rival is None else _inputs(dataset, rival)
    except Exception as error:
        text = f"the signature of production's version {rival} can't be read: {type(error).__name__}: {error}"
        return Gate("signature", False, None, None, text)
    return judge_signature(ours, theirs, rival)


def _inputs(dataset: str, version: int) -> dict[str, str]:
    from mlflow.models import get_model_info

    signature = get_model_info(f"models:/{dataset}/{version}").signature
    return {} if signature is None else {column.name: column.type.name for column in signature.inputs.inputs}


def _smoke(dataset: str, version: int) -> Gate:
    """Load the version as a server does, and compare its predictions for the input example with those recorded."""
    import tempfile
    from pathlib import Path

    from mlflow.artifacts import download_artifacts
    from mlflow.pyfunc import load_model

    from lakeline.training.model import example_frame, read_card

    recorded: Sequence[float] = []
    try:
        with tempfile.TemporaryDirectory(prefix="lakeline-") as folder:
            path = download_artifacts(f"models:/{dataset}/{version}", dst_path=folder)
            card = read_card(Path(path))
            recorded = card.example.predictions
            predicted = load_model(path).predict(example_frame(card.example, card.features))
    except LakelineError as error:
        return judge_smoke(None, recorded, str(error))
    except Exception as error:
        return judge_smoke(None, recorded, f"{type(error).__name__}: {error}")
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
    found = version_by_alias(client, name, PRODUCTION)
    now = None if found is None else int(found.version)
    if now in (rival, version):
        record(client, name, version, "promoted", over="" if rival is None else str(rival), why=why)
        if rival is not None and rival != version:
            move_alias(client, name, PREVIOUS, rival, f"{version} takes its place")
        now = move_alias(client, name, PRODUCTION, version, why, expect=rival, kind=kind)
    if now != version:
        there = "no version is in production any more" if now is None else f"version {now} has come into production"
        raise RegistryError(
            f"{name}: meanwhile {there}, and version {version} was to take the place of {rival or 'none'}. "
            f"It was not promoted. See who did what, then try again: lakeline history {name}"
        )
    if rival is not None:
        record(client, name, rival, "replaced", by=version, why=why)


def record(client: MlflowClient, name: str, version: int, event: str, **said: Any) -> None:
    """Record an event as tags of a version: when, who, and what else is to be said of it."""
    from lakeline.lineage import person
    from lakeline.registry.runs import clip

    facts = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "who": person(), **said}
    for key, value in facts.items():
        client.set_model_version_tag(name, str(version), f"{event}_{key}", clip(str(value)))


def _conclude(client: MlflowClient, candidate: ModelVersion, decision: Decision) -> None:
    """Record the verdict on the candidate and on its run, which ends here (Kubeflow Pipelines' plugin ends its own)."""
    from mlflow.entities import RunTag

    from lakeline.registry.runs import clip, injected_run

    reasons = json.dumps([clip(reason, 1000) for reason in decision.reasons], ensure_ascii=False)
    said = {"verdict_reasons": reasons, "verdict": decision.verdict}
    for key, value in said.items():
        client.set_model_version_tag(candidate.name, candidate.version, key, value)
    run = str(candidate.run_id)
    client.log_batch(run, tags=[RunTag(key, clip(value)) for key, value in said.items()])
    client.log_dict(run, decision.to_dict(), "decision.json")
    if run != injected_run(client):
        client.set_terminated(run, "FINISHED")


def _tag_commit(dataset: str, candidate: ModelVersion) -> None:
    """Tag the commit in the lake; where a registry that is gone has used the number already, with the model's id after it."""
    from lakeline.lake import open_lake

    lake, commit = open_lake(dataset), candidate.tags["data_commit"]
    try:
        lake.tag(f"model/{candidate.version}", commit)
    except LakeConflict:
        lake.tag(f"model/{candidate.version}.{str(candidate.run_id)[:8]}", commit)
