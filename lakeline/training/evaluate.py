"""Score a candidate, and the model in production, on the same held-out rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    import pandas as pd

    from lakeline.data.spec import DatasetSpec
    from lakeline.training.features import FeatureType
    from lakeline.training.score import Metrics

_SAMPLE_ROWS = 2_000
_SLICE_VALUES = 200
"""Most values of a slice column that are reported, beyond those with enough rows to be judged."""


@dataclass(frozen=True)
class Rival:
    """The model in production, as far as it could be loaded.

    Attributes
    ----------
    version
        Its version in the registry.
    features
        How it takes each feature, in order.
    model
        Anything with a `predict`; None if it could not be loaded.
    reason
        Why it could not be loaded, or None.
    """

    version: int
    features: dict[str, FeatureType] = field(default_factory=dict)
    model: Any = None
    reason: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """How a candidate does, next to production.

    Attributes
    ----------
    metric, direction
        The metric that decides, and whether to `minimize` or `maximize` it.
    candidate
        rmse, mae (in the unit of the target), r2 on all held-out rows.
    production, production_version
        The same of the model in production; None if there is none.
    production_reason
        Why a model in production could not be scored on these rows, or None.
    slices
        `slice` (column), `value`, `rows`, `candidate`, `production` (metrics or None), most rows first within a column.
    rows
        Number of held-out rows.
    sample
        Up to 2,000 of [actual, candidate's, production's or None], to six digits, for plots.
    """

    metric: str
    direction: str
    candidate: Metrics
    production: Metrics | None
    production_version: int | None
    production_reason: str | None
    slices: list[dict[str, Any]]
    rows: int
    sample: list[list[float | None]]

    def to_dict(self) -> dict[str, Any]:
        """Give all of it as JSON can hold it."""
        return asdict(self)


def evaluate(dataset: str, commit: str, model: Path, holdout: Path) -> Evaluation:
    """Score a candidate and the model in production on the same held-out rows.

    Parameters
    ----------
    dataset, commit
        Say which spec, and which registered model to compare with.
    model
        Folder that `fit` wrote.
    holdout
        Held-out rows, Parquet.

    Returns
    -------
    Evaluation
        Overall and by slice.

    Raises
    ------
    DataError
        If there are no rows, or the target has nulls.
    RegistryError
        If the registry can't be asked which model is in production.
    """
    from lakeline.data.specfile import pinned_spec
    from lakeline.lake import open_lake
    from lakeline.registry.production import load_production

    spec = pinned_spec(open_lake(dataset), commit).spec
    return compare(spec, model, holdout, load_production(dataset))


def compare(spec: DatasetSpec, model: Path, holdout: Path, rival: Rival | None) -> Evaluation:
    """Score the model of a folder, and a rival if there is one, on held-out rows.

    Raises
    ------
    DataError
        If there are no rows, or the target has nulls.
    """
    from lakeline.training import fold
    from lakeline.training.model import load
    from lakeline.training.score import predict, score

    candidate, card = load(model)
    rows = fold.read(holdout, card.features, card.target, text=spec.slices)
    actual = rows.target
    predicted = predict(candidate, rows.features, list(card.features))
    theirs, reason = _predict_rival(rival, rows.features, card.features, holdout, card.target)
    return Evaluation(
        metric=spec.metric.name,
        direction=spec.metric.direction,
        candidate=score(actual, predicted),
        production=None if theirs is None else score(actual, theirs),
        production_version=rival.version if rival else None,
        production_reason=reason,
        slices=[
            each for column in spec.slices for each in _slices(column, rows.text[column], actual, predicted, theirs, spec.gates.slice_rows)
        ],
        rows=len(actual),
        sample=_sample(actual, predicted, theirs),
    )


def _predict_rival(
    rival: Rival | None, rows: pd.DataFrame, features: Mapping[str, FeatureType], holdout: Path, target: str
) -> tuple[np.ndarray | None, str | None]:
    """Predictions of the model in production for the same rows, or why there are none."""
    import numpy as np

    from lakeline.errors import blame_place
    from lakeline.training import fold
    from lakeline.training.score import predict

    if rival is None or rival.model is None:
        return None, rival.reason if rival else None
    strange = sorted(set(rival.features) - set(fold.column_names(holdout)))
    if strange:
        return None, f"it needs {', '.join(map(repr, strange))}, which these rows do not have"
    try:
        if any(features.get(name) != kind for name, kind in rival.features.items()):
            rows = fold.read(holdout, rival.features, target).features
        predictions = predict(rival.model, rows, list(rival.features))
    except Exception as error:
        blame_place(error, f"version {rival.version}, in production, could not be scored")
        return None, f"it can't predict these rows: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    if not np.isfinite(predictions).all():
        return None, f"{int((~np.isfinite(predictions)).sum()):,} of its predictions are not finite numbers"
    return predictions, None


def _slices(
    column: str, texts: pd.Series, actual: np.ndarray, predicted: np.ndarray, theirs: np.ndarray | None, enough: int
) -> list[dict[str, Any]]:
    import numpy as np
    import pandas as pd

    from lakeline.training.score import score

    codes, values = pd.factorize(texts, sort=True, use_na_sentinel=False)
    counts = np.bincount(codes)
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.cumsum(counts)[:-1])
    found: list[dict[str, Any]] = []
    for place, code in enumerate(np.argsort(-counts, kind="stable")):
        if place >= _SLICE_VALUES and counts[code] < enough:
            break
        here = groups[code]
        found.append(
            {
                "slice": column,
                "value": "(none)" if pd.isna(values[code]) else str(values[code]),
                "rows": len(here),
                "candidate": score(actual[here], predicted[here]),
                "production": None if theirs is None else score(actual[here], theirs[here]),
            }
        )
    return found


def _sample(actual: np.ndarray, predicted: np.ndarray, theirs: np.ndarray | None) -> list[list[float | None]]:
    import numpy as np

    few = np.sort(np.random.default_rng(0).choice(len(actual), min(_SAMPLE_ROWS, len(actual)), replace=False))
    columns = [actual[few], predicted[few], *([] if theirs is None else [theirs[few]])]
    short = [[float(f"{value:.6g}") for value in column] for column in columns]
    return [[row[0], row[1], row[2] if theirs is not None else None] for row in zip(*short, strict=True)]
