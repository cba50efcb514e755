"""Versions that must never be live: the server refuses to start with them, and says why."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pandas as pd
import pytest

from lakeline.errors import RolloutFailed, VersionFailed
from lakeline.serving.server import load as load_version
from tests.unit.serving.models import NAME, foreign, made_here, settings

Caller = Callable[..., httpx.Client]


def refusal(caller: Caller, folder: Path) -> str:
    with pytest.raises(VersionFailed) as refused:
        caller(folder)
    return str(refused.value)


def test_files_that_were_changed_are_not_served(tmp_path: Path):
    folder = made_here(tmp_path / "changed")
    told = settings(folder)
    (folder / "MLmodel").write_text((folder / "MLmodel").read_text() + "\n")
    with pytest.raises(RolloutFailed, match=f"have the digest .* not {told.digest[:12]} as when it was released"):
        load_version(told)


def test_a_model_that_predicts_something_else_than_when_it_was_made_is_not_served(caller: Caller, tmp_path: Path):
    from lakeline.training.model import read_card

    folder = made_here(tmp_path / "first")
    example = read_card(folder).example
    other = made_here(
        tmp_path / "second", example=type(example)(example.columns, example.rows, [value + 1e-3 for value in example.predictions])
    )
    assert "for its own example, and [" in refusal(caller, other)


def test_a_model_that_learned_from_other_columns_than_it_says_is_not_served(caller: Caller, tmp_path: Path):
    other = made_here(tmp_path / "other", features={"route": "text", "load": "number"}, optional=[])
    assert "is not what it learned from" in refusal(caller, other)


def test_a_model_that_predicts_no_number_or_fails_is_not_served(caller: Caller, tmp_path: Path):
    example = pd.DataFrame({"load": [1.0]})
    assert "each must be a finite number" in refusal(caller, foreign(tmp_path / "nan", lambda model_input: [float("nan")], example))
    assert "fails on its own example: ZeroDivisionError" in refusal(caller, foreign(tmp_path / "fails", _fails, example))
    assert "one number a row" in refusal(caller, foreign(tmp_path / "two", lambda model_input: [1.0, 2.0], example))


def _fails(model_input: pd.DataFrame) -> list[float]:
    return [1 / (model_input["load"].iloc[0] - 1) if model_input["load"].iloc[0] != 1 else 1 // 0]


@pytest.mark.parametrize(
    ("error", "own"),
    [
        (MemoryError(), False),
        (OSError(28, "No space left on device"), False),
        (ConnectionRefusedError("the store of its tables"), False),
        (ModuleNotFoundError("lightgbm"), True),
        (FileNotFoundError(2, "No such file"), True),
        (SystemExit(3), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_model_meets_while_it_predicts_is_its_fault_unless_it_is_the_places(tmp_path: Path, error: BaseException, own: bool):
    def fails(model_input: pd.DataFrame) -> list[float]:
        raise error

    folder = foreign(tmp_path / "fails", fails, pd.DataFrame({"load": [1.0]}))

    with pytest.raises(RolloutFailed, match="fails on its own example") as failed:
        load_version(settings(folder))

    assert isinstance(failed.value, VersionFailed) == own


def test_a_model_that_cannot_be_read_is_not_served(caller: Caller, tmp_path: Path):
    folder = made_here(tmp_path / "torn")
    (folder / "model.skops").write_bytes(b"no model")
    assert f"{NAME} version 3: the model can't be loaded" in refusal(caller, folder)


def test_a_model_without_a_signature_is_not_served(caller: Caller, tmp_path: Path):
    folder = foreign(tmp_path / "none", lambda model_input: [1.0], pd.DataFrame({"load": [1.0]}))
    lines = (folder / "MLmodel").read_text().splitlines(keepends=True)
    start = lines.index("signature:\n")
    end = next(number for number in range(start + 1, len(lines)) if not lines[number].startswith(" "))
    (folder / "MLmodel").write_text("".join(lines[:start] + lines[end:]))
    assert "has no signature" in refusal(caller, folder)
