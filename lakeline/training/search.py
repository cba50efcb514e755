"""One trial of a random search: draw the parameters of an estimator, fit it, score it on rows it has not seen."""

from __future__ import annotations

import json
import math
import time
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lakeline.data.spec import Choices, Range

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import numpy as np

    from lakeline.data.spec import DatasetSpec, Estimator
    from lakeline.training.score import Metrics


_MOST_REASONS = 5


@dataclass(frozen=True)
class Trial:
    """What a trial tries."""

    number: int
    estimator: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class TrialResult:
    """How a trial went.

    Attributes
    ----------
    number, estimator, parameters
        What was tried.
    metrics
        rmse, mae, r2 on the validation rows; empty if the trial failed.
    seconds, started
        How long it took, and when it began (seconds since 1970).
    error
        Why it failed, or None.
    note
        What scikit-learn warned of, or None.
    """

    number: int
    estimator: str
    parameters: dict[str, Any]
    metrics: Metrics
    seconds: float
    started: float
    error: str | None = None
    note: str | None = None

    def to_json(self) -> str:
        """Text that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TrialResult:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))


def failures(trials: Iterable[Mapping[str, Any]]) -> str | None:
    """Say how many trials failed and why, the same reason once; None if none did.

    Parameters
    ----------
    trials
        Fields of a TrialResult of each.

    Returns
    -------
    str or None
        Such as `2 of 3 trials failed: 0, 2 (ridge): it rained`.
    """
    results = sorted(trials, key=lambda trial: trial["number"])
    reasons: dict[tuple[str, str], list[str]] = {}
    for trial in results:
        if trial.get("error"):
            why = (str(trial["error"]).strip().splitlines() or ["for no reason that was told"])[0]
            reasons.setdefault((trial["estimator"], why), []).append(str(trial["number"]))
    if not reasons:
        return None
    said = [f"{', '.join(numbers)} ({estimator}): {why}" for (estimator, why), numbers in reasons.items()]
    more = f"; and {len(said) - _MOST_REASONS} more reasons" if len(said) > _MOST_REASONS else ""
    return f"{sum(map(len, reasons.values()))} of {len(results)} trials failed: {'; '.join(said[:_MOST_REASONS])}{more}"


def sample(spec: DatasetSpec, number: int) -> Trial:
    """Draw a trial: the same one for the same spec and number, whichever other trials are run.

    Trial 0 is the first estimator with the parameters that the spec fixes and scikit-learn's defaults for the rest. The next
    trials take each of the other estimators once; then those which have something to search take turns.

    Parameters
    ----------
    spec
        Says the estimators, their spaces and the seed.
    number
        Number of the trial, from 0.

    Returns
    -------
    Trial
        With an estimator's name and scikit-learn's parameters for it.
    """
    import numpy as np

    estimators = spec.search.estimators
    searchable = [each for each in estimators if any(isinstance(space, Range | Choices) for space in each.parameters.values())]
    turns = searchable or list(estimators)
    chosen = estimators[number] if number < len(estimators) else turns[(number - len(estimators)) % len(turns)]
    return Trial(number, chosen.name, _draw(chosen, None if number == 0 else np.random.default_rng([spec.search.seed, number])))


def _draw(estimator: Estimator, generator: np.random.Generator | None) -> dict[str, Any]:
    drawn: dict[str, Any] = {}
    for name, space in estimator.parameters.items():
        if isinstance(space, Choices):
            if generator is not None:
                drawn[name] = space.choices[int(generator.integers(len(space.choices)))]
        elif isinstance(space, Range):
            if generator is not None:
                drawn[name] = _draw_number(space, generator)
        else:
            drawn[name] = space
    return drawn


def _draw_number(space: Range, generator: np.random.Generator) -> float:
    if space.log:
        value = math.exp(generator.uniform(math.log(space.low), math.log(space.high)))
    elif space.integer:
        return int(generator.integers(round(space.low), round(space.high), endpoint=True))
    else:
        value = generator.uniform(space.low, space.high)
    return as_drawn(space, value)


def as_drawn(space: Range, value: float) -> float:
    """Round a number of a range to one that a trial tries: whole, or of six digits."""
    return round(value) if space.integer else float(f"{value:.6g}")


def run_trial(dataset: str, commit: str, train: Path, number: int) -> TrialResult:
    """Run a trial of the search that the spec of a commit describes.

    Parameters
    ----------
    dataset, commit
        Say which spec.
    train
        Training rows, Parquet, whose last column marks those for validation: metrics are of those rows, the fit is on the others.
    number
        Number of the trial, from 0.

    Returns
    -------
    TrialResult
        With `error` set, and no metrics, if the fit failed.
    """
    from lakeline.data.specfile import pinned_spec
    from lakeline.lake import open_lake

    return try_out(pinned_spec(open_lake(dataset), commit).spec, train, number)


def try_out(spec: DatasetSpec, train: Path, number: int, parameters: Mapping[str, Any] | None = None) -> TrialResult:
    """Run a trial of a spec; a failing fit is reported, not raised, unless the place was to blame.

    Parameters
    ----------
    spec, train, number
        As for `run_trial`.
    parameters
        Instead of those that would be drawn.
    """
    from lakeline.errors import blame_place, describe
    from lakeline.training import features, fold
    from lakeline.training.score import predict, score

    started, clock = time.time(), time.perf_counter()
    trial = sample(spec, number)
    used = trial.parameters if parameters is None else dict(parameters)
    metrics: Metrics = {}
    error = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            types = features.feature_types(spec)
            model = features.pipeline(spec, trial.estimator, used)
            exact = trial.estimator in features.LINEAR
            rows = fold.rows_to_fit(train, types, spec.target.column, "fit", exact=exact)
            features.fit(model, rows.features, rows.target, rows.weight)
            seen = fold.read(train, types, spec.target.column, part="validation")
            metrics = score(seen.target, predict(model, seen.features, list(types)))
            if not all(map(math.isfinite, metrics.values())):
                metrics, error = {}, f"predictions are not finite numbers: {metrics}"
        except Exception as failure:
            if not isinstance(failure, MemoryError):  # how much memory it takes is the estimator's own affair
                blame_place(failure, f"{spec.name}: trial {trial.number} ({trial.estimator}) could not be made")
            error = describe(failure)
    note = "; ".join(sorted({str(each.message).splitlines()[0] for each in caught if issubclass(each.category, UserWarning)})) or None
    return TrialResult(trial.number, trial.estimator, used, metrics, time.perf_counter() - clock, started, error, note)
