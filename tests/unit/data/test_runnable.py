"""What no run could use is found in the spec before it is pushed, in the line that it is in."""

from pathlib import Path
from typing import Any

import pytest

from lakeline.data.mistakes import Lines, flaw_mistakes
from lakeline.data.runnable import OPTIONS, obstacles
from lakeline.data.specfile import check, load_spec, pinned_spec
from lakeline.errors import SpecError
from lakeline.lake import open_lake

THINGS = (Path(__file__).parent / "conftest.py").read_text(encoding="utf-8").partition('YAML = """\\\n')[2].partition('"""')[0]
KIND = "kind: { type: text }\n    size: { type: number, n"
MONTH = "month: { type: integer, minimum: 1, maximum: 12 }"


def found(*changes: tuple[str, str]) -> list[str]:
    """What is wrong with the spec of things with some of its text changed."""
    text = THINGS
    for old, new in changes:
        assert old in text, f"{old!r} is not in the spec"
        text = text.replace(old, new)
    return [str(mistake).removeprefix("y ") for mistake in sorted(set(flaw_mistakes(obstacles(load_spec(text, "y")), Lines(text), "y")))]


def test_spec_that_a_run_can_use_has_no_obstacles():
    assert found() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([(KIND, KIND.replace("text }", "text, one_of: [0, 1] }"))],
         "line 17: raw.columns.kind.one_of: 0 is a whole number; the type is 'text': put it in quotes"),
        ([(KIND, KIND.replace("text }", "text, one_of: [] }"))], "line 17: raw.columns.kind.one_of: is empty: no value would do"),
        ([(KIND, KIND.replace("text }", "boolean, one_of: ['True'] }"))],
         "line 17: raw.columns.kind.one_of: 'True' is text; the type is 'boolean': write true or false without quotes"),
        ([(KIND, KIND.replace("text }", "integer, one_of: [1, true] }"))],
         "line 17: raw.columns.kind.one_of: true is true or false; the type is 'integer'"),
        ([(KIND, KIND.replace("text }", "integer, one_of: [1.5] }"))],
         "line 17: raw.columns.kind.one_of: 1.5 is a number; the type is 'integer'"),
        ([(KIND, KIND.replace("text }", "timestamp, one_of: [soon] }"))],
         "line 17: raw.columns.kind.one_of: 'soon' is text; the type is 'timestamp'"),
        ([(KIND, KIND.replace("text }", "integer, one_of: [1, 2], minimum: 3 }"))],
         "line 17: raw.columns.kind.one_of: none of the values passes the other checks of this column"),
        ([(KIND, KIND.replace("text }", "text, one_of: [a], pattern: b }"))],
         "line 17: raw.columns.kind.one_of: none of the values passes the other checks of this column"),
        ([(KIND, KIND.replace("text }", "text, unique: true, one_of: [a] }")), ("raw:\n", "raw:\n  minimum_rows: 2\n")],
         "line 18: raw.columns.kind.unique: an arrival has at least 2 rows, and here are 1 values"),
        ([(KIND, KIND.replace("text }", "integer, minimum: 1.2, maximum: 1.8 }"))],
         "line 17: raw.columns.kind: no whole number lies between 1.2 and 1.8"),
        ([(KIND, KIND.replace("text }", "number, maximum: .inf }"))],
         "line 17: raw.columns.kind.maximum: should be a finite number, or be left out"),
        ([("title: Amounts of things", 'title: "\\0"')], "line 2: title: '\\x00' has a character that can't be written"),
        ([(MONTH, MONTH.replace("12", "0"))], "line 12: arrival.parameters.month: minimum (1) is more than maximum (0)"),
        ([(MONTH, MONTH.replace("integer", "text")), (":02d", "")],
         "line 12: arrival.parameters.month: minimum and maximum: only whole numbers have them; the type is 'text'"),
        ([(MONTH, "month: { type: text, choices: [1] }"), (":02d", "")],
         "line 12: arrival.parameters.month.choices: 1 is a whole number; the type is 'text': put it in quotes"),
        ([(MONTH, "month: { choices: ['01'] }")], "line 12: arrival.parameters.month.choices: '01' is text; the type is 'integer'"),
        ([(MONTH, "month: { choices: [] }")], "line 12: arrival.parameters.month.choices: is empty: no value would do"),
        ([(MONTH, "month: { choices: [3, 3] }")], "line 12: arrival.parameters.month.choices: 3 is there twice"),
        ([(MONTH, "month: { type: text, choices: [a/b] }"), (":02d", "")],
         "line 12: arrival.parameters.month.choices: 'a/b' may hold letters, digits, - and _ only"),
        ([(MONTH, "month: { choices: [13], maximum: 12 }")],
         "line 12: arrival.parameters.month.choices: 13 is not between minimum and maximum"),
        ([(MONTH, MONTH.replace("month", "ref")), ("{month", "{ref")],
         "line 12: arrival.parameters.ref: --ref is an option of `lakeline run` already: choose another name"),
        ([(MONTH, MONTH.replace("month", "the-month")), ("{month", "{the-month")],
         "line 12: arrival.parameters.the-month: a parameter's name is of letters, digits and _, and doesn't begin with a digit"),
        ([(MONTH, f"{MONTH}\n    Month: {{}}"), ("m{month:02d}", "m{month:02d}-{Month}")],
         "line 13: arrival.parameters.Month: differs from 'month' in case only, which SQL doesn't tell apart"),
        ([("m{month:02d}", "m{month:zz}")],
         "line 10: arrival.id: 'm{month:zz}' can't be filled in: "),
        ([("m{month:02d}", "m {month}")], "line 10: arrival.id: an id is of letters, digits, - and _ only; this makes 'm 1'"),
        ([("m{month:02d}", "m{month:999}")], "line 10: arrival.id: an id is of letters, digits, - and _ only; this makes"),
        ([("m{month:02d}", "m{month:0999999999d}")], "line 10: arrival.id: '0999999999d' is too wide a format"),
        ([("m{month:02d}", "m{month:0200d}")], "line 10: arrival.id: an id has 150 characters at most; this makes one of 201"),
        ([("m{month:02d}", "m{month:x}")], "line 10: arrival.id: makes 'mc' of month 12, which can't be read back"),
        ([("m{month:02d}", "{year}{month}"), (MONTH, f"year: {{ minimum: 2000, maximum: 2100 }}\n    {MONTH}")],
         "line 10: arrival.id: makes '200012' of year 2000, month 12, which can't be read back"),
        ([("m{month:02d}", "{month}"), (MONTH, "month: { type: text, choices: [next] }"), (":02d", "")],
         "line 10: arrival.id: makes 'next', which stands for the arrivals that follow"),
        ([("things/{month:02d}", "../{month:02d}")], "line 6: source.local: '../01.csv' leads out of its folder"),
        ([("http://127.0.0.1:1/", "http:///")], "line 5: source.url: 'http:///things-01.csv' names no host"),
        ([("http://127.0.0.1:1/", "http://127.0.0.1:99999999/")],
         "line 5: source.url: 'http://127.0.0.1:99999999/things-01.csv' is no URL"),
        ([("  format: csv", f"  format: csv\n  sha256:\n    m13: {'a' * 64}")],
         "line 9: source.sha256.m13: things m13: there is no month 13."),
        ([("categorical: [kind]", "categorical: [kind]\nslices: [k.*]"), ("target:", "    k.*: { type: text, regex: true }\ntarget:")],
         "line 28: slices: 'k.*' is an expression in clean.columns: name the column that it is to be"),
        ([("categorical: [kind]", "categorical: [kind, time]"), ("target:", "    time: { type: timestamp }\ntarget:")],
         "line 27: features.categorical: 'time' is a timestamp: derive numbers or text from it in transform.sql"),
        ([("kind: random", "kind: random, seed: -1")], "line 27: split.seed: should be 0 to 4,294,967,294 (it is -1)"),
        ([("search:", "search:\n  seed: 4294967295")], "line 29: search.seed: should be 0 to 4,294,967,294 (it is 4294967295)"),
        ([("search:", "gates: { bounds: { rmse: { minimum: 2, maximum: 1 } } }\nsearch:")],
         "line 28: gates.bounds.rmse: minimum (2) is more than maximum (1)"),
        ([("search:", "gates: { bounds: { r2: { minimum: 60 } } }\nsearch:")],
         "line 28: gates.bounds.r2.minimum: r2 is never more than 1 (it is 60)"),
        ([("search:", "serving: { cpu: 1.2.3 }\nsearch:")],
         "line 28: serving.cpu: '1.2.3' is no amount that Kubernetes takes, such as 500m or 0.5"),
        ([("search:", "serving: { memory: 0Mi }\nsearch:")],
         "line 28: serving.memory: '0Mi' is no amount that Kubernetes takes, such as 512Mi"),
    ],
)  # fmt: skip
def test_what_no_run_could_use_is_said_once_in_its_line(changes: list[tuple[str, str]], said: str):
    mistakes = found(*changes)

    assert len(mistakes) == 1, mistakes
    assert mistakes[0].startswith(said), mistakes


def test_names_that_no_parameter_may_have_are_the_options_of_the_commands():
    import typer

    from pipelines.cli import app

    commands: Any = typer.main.get_command(app)
    options = {
        option.removeprefix("--")
        for name in ("run", "submit")
        for parameter in commands.commands[name].params
        for option in parameter.opts
        if option.startswith("--")
    }

    assert {option for option in options if option.isidentifier()} | {"help"} == OPTIONS


def test_spec_that_was_pushed_before_a_check_was_made_is_still_read(things: Any):
    things.push()
    lake = open_lake("things")
    old = (things.folder / "dataset.yaml").read_text(encoding="utf-8").replace(KIND, KIND.replace("text }", "text, one_of: [1] }"))
    head = lake.commit("main", {"_lakeline/dataset.yaml": old.encode()}, "As an earlier version pushed it")

    assert pinned_spec(lake, head).spec.raw.columns["kind"].one_of == (1,)
    (things.folder / "dataset.yaml").write_text(old, encoding="utf-8")
    with pytest.raises(SpecError, match="put it in quotes"):
        check("things")
