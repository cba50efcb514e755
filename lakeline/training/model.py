"""A fitted model as files: the pipeline in skops format, which runs no code when it is read, and a card that describes it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lakeline.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from sklearn.pipeline import Pipeline

    from lakeline.training.features import FeatureType

MODEL_FILE, CARD_FILE = "model.skops", "model.json"

TRUSTED = frozenset({"functools.partial", "numpy.dtype"})
"""Types outside scikit-learn that skops asks about and that our pipelines contain."""


@dataclass(frozen=True)
class Example:
    """A few rows of features, and what the model predicted for them when it was made.

    Attributes
    ----------
    columns, rows
        Names of k features, and rows of k values: text or null, number or null.
    predictions
        One for each row, in the unit of the target.
    """

    columns: list[str]
    rows: list[list[str | float | None]]
    predictions: list[float]


@dataclass(frozen=True)
class Card:
    """What a model is and where it comes from.

    Attributes
    ----------
    features
        How the model takes each feature, in order.
    optional
        Features that may be null.
    rows, folded_rows
        Rows it learned from, before and after equal ones were folded.
    train
        rmse and r2 on those rows.
    """

    dataset: str
    commit: str
    estimator: str
    parameters: dict[str, Any]
    trial: int
    seed: int
    features: dict[str, FeatureType]
    optional: list[str]
    target: str
    unit: str
    rows: int
    folded_rows: int
    train: dict[str, float]
    example: Example


def save(pipeline: Pipeline, card: Card, folder: Path) -> None:
    """Write a model and its card into a folder, which is created if needed.

    Raises
    ------
    DataError
        If the pipeline holds types that reading it back would not trust.
    """
    import skops.io

    folder.mkdir(parents=True, exist_ok=True)
    skops.io.dump(pipeline, folder / MODEL_FILE)
    trusted_types(folder / MODEL_FILE)
    (folder / CARD_FILE).write_text(json.dumps(asdict(card), indent=1), encoding="utf-8")


def load(folder: Path) -> tuple[Pipeline, Card]:
    """Read a model and its card.

    Raises
    ------
    DataError
        If the folder holds none, or one with types that are not trusted.
    """
    import skops.io

    card = read_card(folder)
    path = folder / MODEL_FILE
    return skops.io.load(path, trusted=trusted_types(path)), card


def read_card(folder: Path) -> Card:
    """Read a model's card alone.

    Raises
    ------
    DataError
        If the folder holds none.
    """
    try:
        fields = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: there is no model here, or its {CARD_FILE} can't be read. Run the step `fit` again.") from error
    example = Example(**fields.pop("example"))
    return Card(example=example, **fields)


def trusted_types(path: Path) -> list[str]:
    """Types of a skops file that skops asks about, all of which are trusted.

    Raises
    ------
    DataError
        If one is neither scikit-learn's nor known to us.
    """
    import skops.io

    types: Sequence[str] = skops.io.get_untrusted_types(file=path)
    strange = [name for name in types if not _is_trusted(name)]
    if strange:
        raise DataError(f"{path.name}: holds types that a model of ours has no use for ({', '.join(strange)}). It was not loaded.")
    return list(types)


def _is_trusted(name: str) -> bool:
    return name in TRUSTED or name.startswith("sklearn.")


def example_frame(example: Example, features: Mapping[str, FeatureType]) -> pd.DataFrame:
    """Give the rows of an example as a model takes them."""
    import pandas as pd

    frame = pd.DataFrame(example.rows, columns=pd.Index(example.columns), dtype=object)
    return frame.astype({name: "float64" for name, kind in features.items() if kind == "number"})


def plain_rows(frame: pd.DataFrame) -> list[list[str | float | None]]:
    """Give rows of a DataFrame as JSON can hold them: a null, of whichever kind, is None."""
    return [[_plain(value) for value in row] for row in frame.itertuples(index=False)]


def _plain(value: Any) -> str | float | None:
    if value is None or value != value:  # noqa: PLR0124 (NaN)
        return None
    return value if isinstance(value, str) else float(value)
