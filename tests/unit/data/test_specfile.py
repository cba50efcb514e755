"""Specs: every mistake is named with its line, and the lake gets none of them."""

import json
import pickle
import re
from typing import Any

import pytest

from lakeline.data.mistakes import SpecMistakes
from lakeline.data.specfile import check, dataset_names, load_spec, local_spec, pinned_spec, push
from lakeline.errors import LakeNotFound, SpecError, UsageError
from lakeline.lake import open_lake


def mistakes(things: Any, *changes: tuple[str, str], sql: str | None = None) -> list[str]:
    things.define(*changes, **({"sql": sql} if sql else {}))
    with pytest.raises(SpecMistakes) as error:
        check("things")
    return [line.removeprefix(f"{things.folder}/") for line in str(error.value).splitlines()]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title:", "titel:", "dataset.yaml line 2: titel: there is no such key. Did you mean 'title'?"),
        ("  format: csv", "  fromat: csv", "dataset.yaml line 7: source.fromat: there is no such key. Did you mean 'format'?"),
        ("type: text }\n    size: { type: number }\ntarget", "type: txt }\n    size: { type: number }\ntarget",
         "dataset.yaml line 22: clean.columns.kind.type: 'txt' is not one of 'integer', 'number', 'text', 'timestamp', 'boolean' or 'any'. "
         "Did you mean 'text'?"),
        ("categorical: [kind]", "categorical: [kid]",
         "dataset.yaml line 26: features.categorical: 'kid' is not a column of clean.columns (kind, size)"),
        ("categorical: [kind]", "numeric: [kind]",
         "dataset.yaml line 26: features.numeric: 'kind' is 'text' in clean.columns; it must be integer or number or boolean"),
        ("categorical: [kind]", "numeric: [size]", "dataset.yaml line 26: features: 'size' is the target; a model must not see it"),
        ("categorical: [kind]", "categorical: [kind, kind]", "dataset.yaml line 26: features: 'kind' is named twice"),
        ("name: linear_regression", "name: lightgbm",
         "dataset.yaml line 30: search.estimators[0].name: 'lightgbm' is not one of 'linear_regression', 'ridge', 'lasso', "
         "'decision_tree', 'random_forest' or 'hist_gradient_boosting'"),
        ("name: linear_regression", "{ name: ridge, parameters: { alpha: 2024-01-01 } }",
         "dataset.yaml line 30: search.estimators[0].parameters.alpha: should be text, a number or true or false "
         "(it is the date 2024-01-01; in quotes it is text)"),
        ("kind: { type: text }\n    size: { type: number, n", "kind: { type: text, one_of: [a, 2024-01-01] }\n    size: { type: number, n",
         "dataset.yaml line 17: raw.columns.kind.one_of[1]: should be text, a number or true or false "
         "(it is the date 2024-01-01; in quotes it is text)"),
        ("month: { type: integer, minimum: 1, maximum: 12 }", "month: { choices: [1.5] }",
         "dataset.yaml line 12: arrival.parameters.month.choices[0]: should be text or a whole number (it is 1.5)"),
        ("title: Amounts of things", '"a\\nb": 1', "dataset.yaml line 2: 'a\\nb': there is no such key"),
        ("  estimators:\n    - name: linear_regression", "  estimators: []",
         "dataset.yaml line 29: search.estimators: is empty: give at least one"),
        ("title: Amounts of things", "title: 2024", "dataset.yaml line 2: title: should be text (it is 2024)"),
        ("title: Amounts of things", "title:", "dataset.yaml line 2: title: has no value. Give it one, or leave the key out"),
        ("target: { column: size }", "target: size", "dataset.yaml line 24: target: should be a mapping of keys to values (it is 'size')"),
        ("title: Amounts of things", "title: 2024-13-45", "dataset.yaml line 1: not valid YAML: month must be in 1..12"),
        ("title: Amounts of things", "title: &a [*a]",
         "dataset.yaml line 1: not a spec: nested too deep, or too large with its aliases written out"),
        ("  categorical: [kind]", "  categorical: []", "dataset.yaml line 25: features: name at least one categorical or numeric column"),
        ("column: size", "column: kind",
         "dataset.yaml line 24: target.column: 'kind' is 'text' in clean.columns; it must be integer or number"),
        ("kind: random", "kind: randm", "dataset.yaml line 27: split: 'randm' is not one of 'random', 'time'. Did you mean 'random'?"),
        ('"null": NA', "null: NA", 'dataset.yaml line 8: source.null: a key is text: put it in quotes'),
        ("kind: random", "seed: 1", "dataset.yaml line 27: split: kind is missing: it says which variant this is"),
        ("kind: random", "kind: time", "dataset.yaml line 27: split.column: is missing"),
        ("name: linear_regression", "name: linear_regresion",
         "dataset.yaml line 30: search.estimators[0].name: 'linear_regresion' is not one of 'linear_regression', 'ridge', 'lasso', "
         "'decision_tree', 'random_forest' or 'hist_gradient_boosting'. Did you mean 'linear_regression'?"),
        ("name: linear_regression", "{ name: ridge, parameters: { alpha: { low: 1, hihg: 2 } } }",
         "dataset.yaml line 30: search.estimators[0].parameters.alpha.hihg: there is no such key. Did you mean 'high'?"),
        ("name: linear_regression", "{ name: ridge, parameters: { alpha: { low: 2, high: 1 } } }",
         "dataset.yaml line 30: search.estimators[0].parameters.alpha: low (2.0) must be less than high (1.0)"),
        ("{month:02d}.csv\n  local", "{mnth:02d}.csv\n  local",
         "dataset.yaml line 5: source.url: there is no arrival parameter 'mnth' (there are: month)"),
        ('"m{month:02d}"', "month",
         "dataset.yaml line 10: arrival.id: every parameter belongs in the id, for no two arrivals may share one: month"),
        ('"m{month:02d}"', '"{month"', "dataset.yaml line 10: arrival.id: '{month' is not a template: expected '}' before end of string"),
        ("url: http:", "url: ftp:",
         "dataset.yaml line 5: source.url: string should match pattern '^https?://' (it is 'ftp://127.0.0.1:1/things-{month:02d}.csv')"),
        ("kind: { type: text }\n    size: { type: number, n", "kind: { type: text, pattern: '[' }\n    size: { type: number, n",
         "dataset.yaml line 17: raw.columns.kind.pattern: not a regular expression: unterminated character set at position 0"),
        ("month: { type: integer }", "month: { type: integer, minimum: 3, maximum: 2 }",
         "dataset.yaml line 15: raw.columns.month: minimum (3) is more than maximum (2)"),
        ("time: { type: timestamp }", "time: { type: timestamp, minimum: 3 }",
         "dataset.yaml line 16: raw.columns.time: minimum and maximum: only numbers have them; the type is 'timestamp'"),
        ("size: { type: number }", "size: { type: number, nullable: true }",
         "dataset.yaml line 24: target.column: 'size' is nullable or optional in clean.columns; every row needs it"),
        ("name: things", "name: thinks", "dataset.yaml line 1: name: 'thinks' differs from the name of the folder, 'things'"),
        ("name: things", "name: 'Things!'", "dataset.yaml line 1: name: string should match pattern"),
        ("  format: csv", "  format: csv\n  delimiter: '\"'",
         "dataset.yaml line 8: source.delimiter: '\"' can't separate fields: give an ASCII character that is no quote and no line end"),
        ("  format: csv", "  format: csv\n  delimiter: '§'", "dataset.yaml line 8: source.delimiter: '§' can't separate fields"),
        ("  format: csv", "  format: csv\n  where_null: drop",
         "dataset.yaml line 8: source.where_null: there is no source.where that could be null"),
        ("search:", "experiment: { minimum: 500, maximum: 100 }\nsearch:",
         "dataset.yaml line 28: experiment: maximum (100) is less than minimum (500)"),
        ("search:", "search:\n  trials: many", "dataset.yaml line 29: search.trials: input should be a valid integer"),
        ("search:", "search:\n\ttrials: 1", "dataset.yaml line 29: not valid YAML: found character '\\t' that cannot start any token"),
        ("search:", "search: {}\nsearch:", "dataset.yaml line 29: not valid YAML: found duplicate key \"search\""),
    ],
)  # fmt: skip
def test_mistake_is_named_with_its_line(things: Any, old: str, new: str, said: str):
    lines = mistakes(things, (old, new))

    assert any(line.startswith(said) for line in lines), lines


def test_all_mistakes_are_named_at_once_in_order(things: Any):
    lines = mistakes(things, ("title:", "titel:"), ("format: csv", "format: cvs"), ("kind: random", "kind: randm"))

    assert [re.findall(r"line (\d+)", line)[0] for line in lines] == ["1", "2", "7", "27"]


@pytest.mark.parametrize("text", ["", "- a list", "just words"])
def test_text_that_is_no_mapping_is_no_spec(text: str):
    with pytest.raises(SpecError, match="line 1: a spec is a mapping"):
        load_spec(text, "dataset.yaml")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT kind,\n  sise AS size\nFROM raw", 'transform.sql line 2: Referenced column "sise" not found in FROM clause!'),
        ("SELECT kind, size\nFORM raw", "transform.sql line 2: syntax error at or near"),
        ("SELECT kind, sizze(size) AS size FROM raw", "transform.sql line 1: Scalar Function with name sizze does not exist!"),
        ("SELECT kind FROM raw", "transform.sql line 1: the result has no column 'size', which clean.columns names"),
        ("SELECT * FROM raw", "transform.sql line 1: the result has a column 'count', which clean.columns does not name"),
        (
            "SELECT kind, size::VARCHAR AS size FROM raw",
            "transform.sql line 1: the result's column 'size' is VARCHAR; clean.columns says 'number'",
        ),
        ("SELECT 1; SELECT 2", "transform.sql line 1: write one SELECT statement over the table `raw`, and nothing else"),
        ("DROP TABLE raw", "transform.sql line 1: write one SELECT statement"),
        ("PRAGMA version", "transform.sql line 1: write one SELECT statement"),
        ("COPY raw TO '/tmp/rows.csv'", "transform.sql line 1: write one SELECT statement"),
        (";", "transform.sql line 1: write one SELECT statement"),
        ("SELECT kind, size, size FROM raw", "transform.sql line 1: the result has a column 'size_1', which clean.columns does not name"),
        ("SELECT kind, size, rowid FROM raw", 'transform.sql line 1: Referenced column "rowid" not found'),
        ("-- nothing", "transform.sql line 1: write one SELECT statement"),
        ("SELECT * FROM read_csv('/etc/passwd')", "transform.sql line 1: Cannot access file"),
    ],
)
def test_mistake_in_the_transform_is_found_without_data(things: Any, sql: str, said: str):
    lines = mistakes(things, sql=sql)

    assert any(line.startswith(said) for line in lines), lines


@pytest.mark.parametrize("sql", ["SELECT KIND, SIZE FROM raw", "SELECT Kind AS kind, sum(size) OVER () AS Size FROM raw"])
def test_result_has_the_names_of_the_spec_where_they_differ_in_case_only(things: Any, sql: str):
    """DuckDB calls a column as the table does, whatever the SQL calls it."""
    things.define(sql=sql)

    assert check("things").spec.name == "things"


def test_columns_whose_names_differ_in_case_only_are_a_mistake(things: Any):
    lines = mistakes(things, ("    count: {", "    Kind: { type: text }\n    count: {"))

    assert lines == ["dataset.yaml line 19: raw.columns.Kind: differs from 'kind' in case only, which SQL doesn't tell apart"]


def test_mistake_in_where_is_found_without_data(things: Any):
    (line,) = mistakes(things, ("  format: csv", "  format: csv\n  where: mnth = {month}"))

    assert line.startswith('dataset.yaml line 8: source.where: Referenced column "mnth" not found')


def test_transform_may_use_the_parameters_of_the_arrival(things: Any):
    things.define(sql="SELECT kind, size / getvariable('month') AS size FROM raw")

    assert check("things").spec.name == "things"


def test_semicolon_in_where_is_a_mistake(things: Any):
    (line,) = mistakes(things, ("  format: csv", "  format: csv\n  where: month = {month}); SELECT (true"))

    assert line == 'dataset.yaml line 8: source.where: syntax error at or near ";"'


@pytest.mark.parametrize("name", ["from", "order", "group", "table", "end", "select", "é"])
def test_parameter_may_be_called_what_sql_has_a_meaning_for(things: Any, name: str):
    things.define(
        ('"m{month:02d}"', f'"m{{{name}:02d}}"'),
        ("-{month:02d}.csv", f"-{{{name}:02d}}.csv"),
        ("/{month:02d}.csv", f"/{{{name}:02d}}.csv"),
        ("    month: { type: integer, minimum: 1", f"    {name}: {{ type: integer, minimum: 1"),
        sql=f"SELECT kind, size / getvariable('{name}') AS size, FROM raw",  # noqa: S608
    )

    assert list(check("things").spec.arrival.parameters) == [name]


@pytest.mark.parametrize("name", ['a"b', "a'b", "a b", "a.b", "{a}", "größe", "select", "x" * 300, "a;b", "--a", "$1", "?"])
def test_column_may_have_any_name(things: Any, name: str):
    quoted = '"' + name.replace('"', '""') + '"'
    things.define(
        ("    kind: { type: text }", f"    {json.dumps(name)}: {{ type: text }}"),
        ("categorical: [kind]", f"categorical: [{json.dumps(name)}]"),
        sql=f"SELECT {quoted}, size FROM raw",  # noqa: S608
    )

    assert check("things").spec.features.categorical == (name,)


@pytest.mark.parametrize("name", ["[ck]ind", "(?:kind|sort)", "^k.*$"])
def test_column_may_be_named_by_an_expression(things: Any, name: str):
    things.define(
        ("kind: { type: text }\n    size: { type: number, n", f"'{name}': {{ type: text, regex: true }}\n    size: {{ type: number, n"),
        sql=f"SELECT COLUMNS('{name}') AS kind, size FROM raw WHERE size IS NOT NULL",  # noqa: S608
    )

    assert name in check("things").spec.raw.columns


def test_unknown_data_set_is_refused_with_those_there_are(things: Any):
    with pytest.raises(UsageError, match=r"unknown data set 'thing'\. Did you mean 'things'\? There are: things\. .*dataset new thing"):
        local_spec("thing")
    assert dataset_names() == ["things"]


def test_folder_without_transform_is_refused(things: Any):
    (things.folder / "transform.sql").unlink()

    with pytest.raises(SpecError, match=r"transform\.sql is missing"):
        local_spec("things")


def test_mistakes_survive_the_way_between_processes(things: Any):
    things.define(("title:", "titel:"))
    with pytest.raises(SpecMistakes) as error:
        local_spec("things")

    again = pickle.loads(pickle.dumps(error.value))  # noqa: S301

    assert (str(again), again.mistakes) == (str(error.value), error.value.mistakes)


def test_push_creates_the_lake_and_pushing_again_changes_nothing(things: Any):
    first, made = push("things")
    again, remade = push("things")

    assert (made, remade) == (True, False)
    assert first == again == open_lake("things").resolve("main")


def test_pinned_spec_is_that_of_the_commit_whatever_the_folder_says_now(things: Any):
    first, _ = push("things")
    before = local_spec("things")
    things.define(("title: Amounts", "title: Quantities"))
    second, made = push("things")
    lake = open_lake("things")

    assert made
    assert pinned_spec(lake, first) == before
    assert pinned_spec(lake, second).spec.title == "Quantities of things"
    assert pinned_spec(lake, second).digest != before.digest
    assert pinned_spec(lake, second).data_digest == before.data_digest
    assert lake.log(second)[0].metadata["spec_digest"] == pinned_spec(lake, second).digest


def test_definition_with_mistakes_is_not_pushed(things: Any):
    things.define(sql="SELECT nothing FROM raw")

    with pytest.raises(SpecError):
        push("things")
    with pytest.raises(LakeNotFound):
        open_lake("things")


def test_commit_without_a_spec_says_how_to_push_one(things: Any):
    lake = open_lake("things", create=True)

    with pytest.raises(SpecError, match="lakeline dataset push things"):
        pinned_spec(lake, lake.resolve("main"))
