"""The spec of a data set: where its rows come from, what they must be, and what is learned from them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from lakeline.data.consistency import inconsistencies
from lakeline.data.servingspec import Experiment, Serving

Scalar = bool | int | float | str
ParameterValue = int | str


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ArrivalParameter(_Part):
    """One parameter that an arrival is asked for by."""

    type: Literal["integer", "text"] = "integer"
    help: str = ""
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[ParameterValue, ...] | None = None


class Arrival(_Part):
    """How new data arrives: one arrival is one delivery, such as a month."""

    id: str = Field(description="Template of an arrival's id, such as `{year}-{month:02d}`; ids sort in order of arrival.")
    parameters: dict[str, ArrivalParameter]


def _separating(text: str) -> str:
    if text in '"\r\n\0' or not text.isascii():
        raise ValueError(f"{text!r} can't separate fields: give an ASCII character that is no quote and no line end")
    return text


class _Source(_Part):
    format: Literal["parquet", "csv"]
    delimiter: Annotated[str, AfterValidator(_separating)] = Field(
        default=",", min_length=1, max_length=1, description="What separates the fields of a CSV."
    )
    null: str | None = Field(default=None, description="Text that means null in a CSV, besides the empty field.")
    local: str | None = Field(default=None, description="Path template of a local copy in the folder LAKELINE_DATA, which is tried first.")
    member: str | None = Field(default=None, description="File to read within the source, if that is a zip archive.")
    sha256: dict[str, Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")]] = Field(
        default_factory=dict, description="Digest of the source file, by arrival id, where it is known."
    )
    where: str | None = Field(
        default=None, description="SQL condition that picks one arrival's rows of a source with several; arrival parameters in braces."
    )
    where_null: Literal["refuse", "drop"] = Field(
        default="refuse", description="What becomes of rows for which `where` is null, so that they are of no arrival."
    )

    @model_validator(mode="after")
    def _null_of_something(self) -> _Source:
        if self.where is None and self.where_null != "refuse":
            raise ValueError("where_null: there is no source.where that could be null")
        return self


class UrlSource(_Source):
    """A file behind a URL, or a local copy of it."""

    kind: Literal["url"]
    url: str = Field(pattern=r"^https?://", description="URL template, with arrival parameters in braces.")


class PackageSource(_Source):
    """A file of an installed Python package, which is read without importing the package."""

    kind: Literal["package"]
    package: str = Field(description="Name that the package would be imported by.")
    path: str = Field(description="Path of the file within the package.")


def _regular(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return text


ColumnType = Literal["integer", "number", "text", "timestamp", "boolean", "any"]


class Column(_Part):
    """What a column must be."""

    type: ColumnType
    nullable: bool = False
    optional: bool = Field(default=False, description="The column may be missing altogether.")
    minimum: float | None = None
    maximum: float | None = None
    one_of: tuple[Scalar, ...] | None = None
    pattern: Annotated[str, AfterValidator(_regular)] | None = Field(
        default=None, description="Regular expression that the whole text matches."
    )
    unique: bool = False
    regex: bool = Field(
        default=False, description="The column's name is a regular expression that must match all of some column's name, unless `optional`."
    )

    @model_validator(mode="after")
    def _checks_fit_type(self) -> Column:
        if self.pattern is not None and self.type != "text":
            raise ValueError(f"pattern: only text has a pattern; the type is {self.type!r}")
        if (self.minimum is not None or self.maximum is not None) and self.type not in {"integer", "number"}:
            raise ValueError(f"minimum and maximum: only numbers have them; the type is {self.type!r}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum ({self.minimum:g}) is more than maximum ({self.maximum:g})")
        return self


class Table(_Part):
    """What a table must be."""

    columns: dict[str, Column]
    strict: bool = Field(default=True, description="Refuse columns that are not named here.")
    minimum_rows: int = Field(default=1, ge=1, description="Fewest rows an arrival may have.")

    @model_validator(mode="after")
    def _names_regular(self) -> Table:
        for name in (name for name, column in self.columns.items() if column.regex):
            _regular(name)
        return self


class Target(_Part):
    """The column to predict."""

    column: str
    unit: str = ""


class Features(_Part):
    """Columns to learn from, by kind."""

    categorical: tuple[str, ...] = Field(default=(), description="One-hot encoded; categories never seen in training are ignored.")
    numeric: tuple[str, ...] = Field(default=(), description="Used as they are, standardised for linear models.")

    @property
    def all(self) -> tuple[str, ...]:
        """Every feature, categorical ones first."""
        return (*self.categorical, *self.numeric)


class RandomSplit(_Part):
    """Rows held out at random, per arrival: a row once held out is held out for ever."""

    kind: Literal["random"]
    seed: int = 42
    holdout: float = Field(default=0.2, gt=0, lt=1, description="Fraction of rows that no model learns from.")
    validation: float = Field(default=0.2, gt=0, lt=1, description="Fraction of the other rows that trials are compared on.")


class TimeSplit(_Part):
    """The latest rows held out."""

    kind: Literal["time"]
    column: str
    holdout: float = Field(default=0.2, gt=0, lt=1, description="Fraction of rows, the latest, that no model learns from.")
    validation: float = Field(default=0.2, gt=0, lt=1, description="Fraction of the other rows, the latest, that trials are compared on.")


class Range(_Part):
    """Numbers to draw from: uniformly, or uniformly in the logarithm."""

    low: float
    high: float
    log: bool = False
    integer: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low ({self.low}) must be less than high ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError("a logarithmic range starts above 0")
        return self


class Choices(_Part):
    """Values to draw from."""

    choices: tuple[Scalar | None, ...] = Field(min_length=1)


def _kind_of_space(value: object) -> str:
    """Which of the three a parameter's space is, so that a mistake in it is explained as one of that kind."""
    if isinstance(value, Range) or (isinstance(value, dict) and "choices" not in value):
        return "range"
    return "choices" if isinstance(value, (Choices, dict)) else "value"


ParameterSpace = Annotated[
    Annotated[Scalar | None, Tag("value")] | Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")],
    Discriminator(_kind_of_space),
]

EstimatorName = Literal["linear_regression", "ridge", "lasso", "decision_tree", "random_forest", "hist_gradient_boosting"]


class Estimator(_Part):
    """One kind of model to try, with the space of its parameters (scikit-learn's names) to search."""

    name: EstimatorName
    parameters: dict[str, ParameterSpace] = Field(default_factory=dict)


class Search(_Part):
    """Random search over the estimators. Trial 0 is the first estimator; it is the baseline."""

    trials: int = Field(default=6, ge=1, le=500)
    seed: int = 42
    tolerance: float = Field(
        default=0.0, ge=0, lt=1, description="The baseline is kept unless a trial beats it by more than this fraction of its metric."
    )
    estimators: tuple[Estimator, ...] = Field(min_length=1)


MetricName = Literal["rmse", "mae", "r2"]


class Metric(_Part):
    """The metric that decides."""

    name: MetricName = "rmse"

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        """Whether less or more of it is better."""
        return "maximize" if self.name == "r2" else "minimize"


class Bound(_Part):
    """Absolute bounds of a metric on the held-out rows."""

    minimum: float | None = None
    maximum: float | None = None


class Gates(_Part):
    """What a candidate must show before it is promoted. Signature and smoke prediction are always checked."""

    bounds: dict[MetricName, Bound] = Field(default_factory=dict)
    improvement: float = Field(
        default=0.0, description="Least improvement of the metric over production on the same rows, as a fraction; 0: not worse."
    )
    slice_regression: float = Field(
        default=0.1, ge=0, description="Most that the metric of a slice may be worse than production's, as a fraction."
    )
    slice_rows: int = Field(default=200, ge=1, description="Slices with fewer held-out rows are shown, not judged.")


class DatasetSpec(_Part):
    """The spec of a data set (dataset.yaml)."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{2,62}$")]
    title: str
    description: str = ""
    license: str = ""
    source: Annotated[UrlSource | PackageSource, Field(discriminator="kind")]
    arrival: Arrival
    raw: Table
    clean: Table
    target: Target
    features: Features
    split: Annotated[RandomSplit | TimeSplit, Field(discriminator="kind")]
    metric: Metric = Metric()
    search: Search
    gates: Gates = Gates()
    slices: tuple[str, ...] = ()
    serving: Serving = Serving()
    experiment: Experiment = Experiment()

    @model_validator(mode="after")
    def _consistent(self) -> DatasetSpec:
        """Check what no part can check alone; all mistakes are said at once."""
        flaws = list(inconsistencies(self))
        if flaws:
            raise PydanticCustomError("flaws", "its parts don't fit together", {"flaws": flaws})
        return self
