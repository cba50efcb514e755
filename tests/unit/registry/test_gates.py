"""A gate says in a sentence what was seen and what was needed."""

from typing import Any

from lakeline.data.spec import DatasetSpec
from lakeline.registry.gates import judge, judge_signature, judge_smoke, number, percent


def _spec(**gates: Any) -> DatasetSpec:
    column = {"type": "number"}
    columns = {"columns": {"x": column, "y": column}}
    return DatasetSpec.model_validate(
        {
            "name": "ferries",
            "title": "Ferries",
            "source": {"kind": "url", "format": "csv", "url": "https://example.org/{year}.csv"},
            "arrival": {"id": "{year}", "parameters": {"year": {}}},
            "raw": columns,
            "clean": columns,
            "target": {"column": "y", "unit": "min"},
            "features": {"numeric": ["x"]},
            "split": {"kind": "random"},
            "gates": gates,
            "search": {"estimators": [{"name": "ridge"}]},
        }
    )


def _metrics(rmse: float) -> Any:
    return {"rmse": rmse, "mae": rmse / 2, "r2": 1 - rmse / 100}


def _evaluation(ours: float, theirs: float | None, slices: Any = ()) -> dict[str, Any]:
    return {
        "metric": "rmse",
        "candidate": _metrics(ours),
        "production": None if theirs is None else _metrics(theirs),
        "production_version": None if theirs is None else 2,
        "production_reason": None,
        "rows": 40112,
        "slices": [
            {"slice": "route", "value": value, "rows": rows, "candidate": _metrics(mine), "production": _metrics(yours)}
            for value, rows, mine, yours in slices
        ],
    }


def _texts(spec: DatasetSpec, evaluation: dict[str, Any], rival: int | None = 2) -> Any:
    return {gate.name: (gate.passed, gate.text) for gate in judge(spec, evaluation, rival=rival)}


def test_worse_than_production():
    passed, text = _texts(_spec(), _evaluation(12.31, 11.93))["improvement"]

    assert not passed
    assert text == "rmse 12.31 is 3.2 % worse than production's 11.93 (version 2) on the same 40,112 rows; needed: not worse."


def test_a_little_worse_may_be_allowed():
    passed, text = _texts(_spec(improvement=-0.05), _evaluation(12.31, 11.93))["improvement"]

    assert passed
    assert text.endswith("needed: at most 5 % worse.")


def test_bounds_from_both_sides():
    texts = _texts(_spec(bounds={"rmse": {"maximum": 10}, "r2": {"minimum": 0.5, "maximum": 0.99}}), _evaluation(12.0, None), None)

    assert texts["rmse maximum"] == (False, "rmse 12 min; needed: at most 10.")
    assert texts["r2 minimum"] == (True, "r2 0.88; needed: at least 0.5.")
    assert texts["r2 maximum"] == (True, "r2 0.88; needed: at most 0.99.")


def test_a_slice_with_too_few_rows_is_not_judged():
    slices = [("a", 5000, 10.0, 10.0), ("b", 199, 30.0, 10.0)]

    passed, text = _texts(_spec(), _evaluation(10, 10, slices))["slices"]

    assert passed
    assert text == "none of 1 slices is more than 10 % worse; least good: route a (5,000 rows): rmse 10 is as good as 10."
    assert _texts(_spec(slice_rows=9000), _evaluation(10, 10, slices))["slices"] == (True, "no slice was judged: none has 9,000 rows.")


def test_the_worst_slices_come_first_and_the_rest_is_counted():
    slices = [(str(n), 500, 10.0 + n, 10.0) for n in range(2, 10)]

    passed, text = _texts(_spec(), _evaluation(10, 10, slices))["slices"]

    assert not passed
    assert text.startswith(
        "8 of 8 slices are worse than production by more than 10 %: route 9 (500 rows): rmse 19 is 90 % worse than 10; route 8 "
    )
    assert text.endswith(", and 3 more.")


def test_signatures():
    assert judge_signature({"x": "double"}, None, None).passed
    assert judge_signature({"x": "double"}, {"x": "double"}, 2).text == "takes the same 1 columns as production's version 2."
    gate = judge_signature({"x": "string", "z": "double"}, {"x": "double", "y": "double"}, 2)
    assert not gate.passed
    assert gate.text == (
        "differs from production's version 2: it takes 'z' (double) besides; it does not take 'y'; it takes 'x' as string, not double."
    )


def test_smoke():
    assert judge_smoke([1.0, 2.0], [1.0, 2.0 + 1e-12], None).passed
    assert judge_smoke([1.0, 2.5], [1.0, 2.0], None).text.endswith("by up to 25 %.")
    assert not judge_smoke([1.0], [1.0, 2.0], None).passed
    assert "ValueError: no" in judge_smoke(None, [1.0], "ValueError: no").text


def test_numbers_are_said_in_four_digits():
    assert [number(value) for value in (12.3149, 0.000123456, 1204.4, -3.0)] == ["12.31", "0.0001235", "1,204", "-3"]
    assert [percent(value) for value in (0.0318, 0.5, 0.125, 0.00021)] == ["3.2 %", "50 %", "12.5 %", "0.021 %"]
