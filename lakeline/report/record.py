"""What a run leaves behind for its report: a plain dict, filled in by the pipelines as far as the run came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict


class Run(TypedDict, total=False):
    """The run itself. `error` is the sentence a person sees; `started` is ISO 8601 or seconds since 1970."""

    id: str
    pipeline: Literal["data", "training", "continuous"]
    dataset: str
    title: str
    started: str | float
    seconds: float
    status: str
    error: str | None


class Arrival(TypedDict, total=False):
    """One delivery: rows as they came, and rows that the transform kept."""

    id: str
    source: str
    rows_raw: int
    rows_clean: int


class Data(TypedDict, total=False):
    """What the run did to the data set. `status` is `repeated` when every arrival was there before.

    `branch` is where a delivery is that was not published; `changes` is what lakeline.data.profile.changes says; `left_out` says of each
    source file how many of its rows are of no arrival.
    """

    commit: str
    branch: str
    status: Literal["new", "repeated"]
    arrivals: Sequence[Arrival]
    changes: Mapping[str, Any]
    left_out: Sequence[str]


class Check(TypedDict, total=False):
    """One check: how many rows fail it, and up to 20 of them as `row` and `value`; `problem` if the table as a whole fails."""

    check: str
    column: str | None
    failed: int
    samples: Sequence[Mapping[str, Any]]
    problem: str


class Validated(TypedDict, total=False):
    """The checks of one layer of one arrival."""

    arrival: str
    layer: Literal["raw", "clean"]
    passed: bool
    rows: int
    checks: Sequence[Check]


class Trial(TypedDict, total=False):
    """One trial of the search, its metrics on the validation rows; a failed one has an `error` and no metrics.

    `note` is what the estimator warned of; `started` is in seconds since 1970.
    """

    number: int
    estimator: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    seconds: float
    started: float
    error: str | None
    note: str | None


class Metric(TypedDict, total=False):
    """The metric that decides."""

    name: Literal["rmse", "mae", "r2"]
    direction: Literal["minimize", "maximize"]


class Target(TypedDict, total=False):
    """The column that is predicted, and its unit."""

    column: str
    unit: str


class Slice(TypedDict, total=False):
    """Metrics on the held-out rows where column `slice` is `value`; `production` is None when there was none."""

    slice: str
    value: Any
    rows: int
    candidate: Mapping[str, float] | float
    production: Mapping[str, float] | float | None


class Evaluation(TypedDict, total=False):
    """The candidate against the model in production, on the same `rows` held-out rows.

    `sample` holds up to 2,000 of them as [actual, candidate's prediction, production's prediction or None].
    `production_reason` says why a model in production could not be scored.
    """

    metric: str
    direction: Literal["minimize", "maximize"]
    candidate: Mapping[str, float]
    production: Mapping[str, float] | None
    production_version: int | str | None
    production_reason: str | None
    rows: int
    slices: Sequence[Slice]
    sample: Sequence[Sequence[float | None]]


class Gate(TypedDict, total=False):
    """One condition of promotion: what was observed, what it had to be, and the sentence that says so."""

    name: str
    passed: bool
    observed: float | str | bool | None
    bound: float | str | bool | None
    text: str


class Decision(TypedDict, total=False):
    """What the gates decided. `previous` is the version that was in production before."""

    verdict: Literal["promoted", "held"]
    reasons: Sequence[str]
    gates: Sequence[Gate]
    previous: int | str | None


class Model(TypedDict, total=False):
    """The registered candidate. `features` maps a kind of feature to its columns."""

    name: str
    version: int | str
    mlflow_run_id: str
    features: Mapping[str, Sequence[str]]


class Record(TypedDict, total=False):
    """The whole record. Any key may be missing: a data-only run has no training parts, a failed one stops early."""

    run: Run
    data: Data
    validation: Sequence[Validated]
    trials: Sequence[Trial]
    best: int | None
    metric: Metric
    target: Target
    evaluation: Evaluation
    decision: Decision
    model: Model
    lineage: Mapping[str, str]
