"""A model as a server has it: columns that it takes, a function that predicts, and an example that it is tried on before anybody asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lakeline.errors import DataError, RolloutFailed, VersionFailed, of_the_place
from lakeline.registry.files import kept_as_it_is
from lakeline.serving.rows import KINDS, Column, Refused, frame_of, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    import pandas as pd
    from mlflow.models import Model

    from lakeline.training.model import Card

TOLERANCE = 1e-9
"""How far a prediction may be from the recorded one, relative to it: other processors add up in another order."""


@dataclass(frozen=True)
class ServedModel:
    """A loaded model.

    Attributes
    ----------
    columns
        What it takes, in order.
    predict
        From a DataFrame of n rows with these columns to n numbers.
    target, unit
        What the numbers are; empty where the files don't say.
    metadata
        MLflow's description.
    """

    columns: tuple[Column, ...]
    predict: Callable[[pd.DataFrame], np.ndarray]
    target: str
    unit: str
    metadata: Model


def load(folder: Path) -> ServedModel:
    """Load the model of a folder, and try it on its own example.

    A model made here is read by skops, which runs no code of the file's; one that isn't, as MLflow's flavor of it does.

    Parameters
    ----------
    folder
        Files of a version, as MLflow keeps them.

    Returns
    -------
    ServedModel
        It predicted a finite number for each row of its example, the recorded ones if there are some.

    Raises
    ------
    VersionFailed
        If it can't be loaded, doesn't say what it takes, or fails its example: says how.
    RolloutFailed
        If that is the place's fault: no memory, no disk, no network.
    """
    from lakeline.training.model import CARD_FILE

    card, fitted = None, None
    if (folder / CARD_FILE).is_file():
        from lakeline.training.model import load as load_ours

        try:
            fitted, card = load_ours(folder)  # before MLflow: skops, when imported, looks through every module that there is
        except DataError as error:
            raise (RolloutFailed if of_the_place(error) else VersionFailed)(str(error)) from error
        except (Exception, SystemExit) as error:
            raise _failed("the model can't be loaded", error) from error
    from lakeline.registry.store import quiet

    quiet()
    import mlflow.pyfunc
    from mlflow.models import Model

    quiet()
    try:
        metadata = Model.load(str(folder))
        if fitted is None:
            with kept_as_it_is():
                fitted = mlflow.pyfunc.load_model(str(folder))
    except (Exception, SystemExit) as error:
        raise _failed("the model can't be loaded", error) from error
    model = ServedModel(
        columns=_columns(metadata, card),
        predict=_numbers(fitted.predict),
        target=card.target if card else "",
        unit=card.unit if card else "",
        metadata=metadata,
    )
    with kept_as_it_is():
        _try_out(model, *_example(folder, metadata, card))
    return model


def _failed(what: str, error: BaseException) -> RolloutFailed:
    kind = RolloutFailed if of_the_place(error) else VersionFailed
    return kind(f"{what}: {type(error).__name__}: {error}")


def _columns(metadata: Model, card: Card | None) -> tuple[Column, ...]:
    """What the signature says that the model takes."""
    from mlflow.types.schema import ColSpec, DataType

    schema = metadata.get_input_schema()
    if schema is None:
        raise VersionFailed(
            "the model has no signature, so nobody can tell what it takes. Log it with a signature (mlflow.models.infer_signature)."
        )
    if metadata.get_params_schema():
        raise VersionFailed("the model takes parameters beside its rows (its signature's `params`), which are not served.")
    columns: list[Column] = []
    for spec in schema.inputs:
        if not isinstance(spec, ColSpec) or not spec.name or not isinstance(spec.type, DataType) or spec.type.name not in KINDS:
            raise VersionFailed(f"the model's signature wants {spec}: what is served are named columns of {', '.join(sorted(KINDS))}.")
        columns.append(Column(spec.name, spec.type.name, optional=not spec.required))
    if not columns:
        raise VersionFailed("the model's signature names no column.")
    if card:
        says = {name: ("string" if kind == "text" else "double", name in card.optional) for name, kind in card.features.items()}
        if {column.name: (column.kind, column.optional) for column in columns} != says:
            raise VersionFailed(f"the model's signature ({', '.join(map(str, columns))}) is not what it learned from ({', '.join(says)}).")
    return tuple(columns)


def _numbers(predict: Callable[[pd.DataFrame], Any]) -> Callable[[pd.DataFrame], np.ndarray]:
    """Have a model's predictions be an array of numbers, one a row, however its library hands them over."""

    def numbers(frame: pd.DataFrame) -> np.ndarray:
        import numpy as np

        given = np.asarray(predict(frame))
        if given.size != len(frame):
            raise ValueError(f"{len(frame)} rows got predictions of shape {given.shape}: a served model gives one number a row")
        return given.reshape(len(frame)).astype(np.float64, copy=False)

    return numbers


def _example(folder: Path, metadata: Model, card: Card | None) -> tuple[Any, Sequence[float] | None]:
    """Body of a request with the model's example, and the predictions that were recorded for it, each None if there are none."""
    if card:
        return {"dataframe_split": {"columns": card.example.columns, "data": card.example.rows}}, card.example.predictions
    try:
        return metadata.get_serving_input(str(folder)), None
    except Exception as error:
        raise _failed("the model's input example can't be read", error) from error


def _try_out(model: ServedModel, body: Any, recorded: Sequence[float] | None) -> None:
    """Predict an example the way that a request is: what a caller would be refused for is seen here too."""
    import json

    import numpy as np

    if body is None:
        return
    text = body if isinstance(body, str) else json.dumps(body)
    try:
        rows = parse_json(text.encode(), model.columns, most=1_000_000)
    except Refused as error:
        raise VersionFailed(f"the model's own example isn't what its signature wants: {error}") from error
    try:
        predicted = model.predict(frame_of([rows], model.columns))
    except (Exception, SystemExit) as error:
        raise _failed("the model fails on its own example", error) from error
    if not np.isfinite(predicted).all():
        raise VersionFailed(f"the model predicts {predicted.tolist()} for its own example: each must be a finite number.")
    if recorded is None:
        return
    if len(recorded) != len(predicted) or not np.allclose(predicted, recorded, rtol=TOLERANCE, atol=1e-12):
        raise VersionFailed(
            f"the model predicts {predicted.tolist()} for its own example, and {list(recorded)} when it was made. "
            "Serve it with the packages that it was made with."
        )
