"""Whether scikit-learn takes the parameters that a search would draw, by its own rules for each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lakeline.data.consistency import Flaw
from lakeline.data.mistakes import did_you_mean
from lakeline.data.spec import Choices, Range

if TYPE_CHECKING:
    from lakeline.data.spec import DatasetSpec, ParameterSpace

_OURS = {
    "random_state": "search.seed decides on it",
    "categorical_features": "features.categorical decides on it",
    "n_jobs": "a fit takes one thread, so that it gives the same model wherever it is made",
    "verbose": "what a fit prints is not kept",
    "warm_start": "every trial begins anew",
}
"""Parameters that Lakeline sets itself, and why."""


def unfit(spec: DatasetSpec) -> Iterator[Flaw]:
    """Find parameters that their estimator hasn't got, or values that it refuses.

    Of a range both ends and the middle are tried, as they would be drawn; of choices each.
    """
    from lakeline.training.features import estimator_class

    for number, estimator in enumerate(spec.search.estimators):
        kind = estimator_class(estimator.name)
        known = sorted(set(kind().get_params()) - set(_OURS))
        for name, space in estimator.parameters.items():
            path = ("search", "estimators", number, "parameters", name)
            if name in _OURS:
                yield Flaw(path, f"can't be set here: {_OURS[name]}")
            elif name not in known:
                hint = did_you_mean(name, known) or f". There are: {', '.join(known)}"
                yield Flaw(path, f"{estimator.name} has no such parameter{hint}")
            else:
                for value in _some(space):
                    refusal = refused(kind, name, value)
                    if refusal:
                        whole = isinstance(space, Range) and not space.integer and "an int" in refusal
                        yield Flaw(path, refusal + (". Give the range integer: true" if whole else ""))
                        break


def refused(kind: Any, name: str, value: Any) -> str | None:
    """Say why an estimator of scikit-learn refuses the value of a parameter, as it would when it is fitted; None if it doesn't."""
    from sklearn.utils._param_validation import InvalidParameterError

    try:
        kind(**{name: value})._validate_params()  # there is no public way to ask before there are rows
    except InvalidParameterError as error:
        return re.sub(r"^The '\w+' parameter of \w+ (.*) Got (.*) instead\.$", r"\1 It is \2", str(error), flags=re.DOTALL)
    return None


def _some(space: ParameterSpace) -> Sequence[Any]:
    if isinstance(space, Choices):
        return space.choices
    if isinstance(space, Range):
        from lakeline.training.search import as_drawn

        return [as_drawn(space, value) for value in (space.low, (space.low + space.high) / 2, space.high)]
    return [space]
