"""Ids of arrivals: made of parameters, read back into them, and counted from one to another."""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lakeline.errors import UsageError

if TYPE_CHECKING:
    from lakeline.data.spec import ArrivalParameter, DatasetSpec, ParameterValue

Parameters = Mapping[str, int | str]

NEXT = "next"
"""Asked for in place of ids: the arrivals that follow the newest one in the lake, as far as the source has them."""

_LONGEST_RANGE = 10_000
ID = re.compile(r"[A-Za-z0-9_-]+")
"""Ids, and values of parameters, are of these characters."""


def arrival_id(spec: DatasetSpec, parameters: Parameters) -> str:
    """Make an arrival's id.

    Parameters
    ----------
    spec
        Spec of the data set.
    parameters
        Value of each arrival parameter. One that can have a single value only may be left out.

    Returns
    -------
    str
        Letters, digits, `-` and `_`.

    Raises
    ------
    UsageError
        If a parameter is missing, unknown or impossible: says which values it may have.
    """
    known = spec.arrival.parameters
    for name in parameters:
        if name not in known:
            raise UsageError(f"{spec.name}: an arrival has no {name!r}. {how_to_ask(spec)}")
    values: dict[str, ParameterValue] = {}
    for name, parameter in known.items():
        value = parameters.get(name, only_value(parameter))
        if value is None:
            raise UsageError(f"{spec.name}: which {name}? Give --{name} {_possible(parameter)}.")
        values[name] = _typed(spec, name, value)
    shown = spec.arrival.id.format(**values)
    for name, value in values.items():
        _check(f"{spec.name} {shown}", name, value, known[name])
    return shown


def only_arrival(spec: DatasetSpec) -> str | None:
    """The id of the only arrival that there can be; None if there can be others."""
    return None if open_parameters(spec) else arrival_id(spec, {})


def open_parameters(spec: DatasetSpec) -> list[str]:
    """Names of the parameters that can have more than one value: those that must be given."""
    return [name for name, parameter in spec.arrival.parameters.items() if only_value(parameter) is None]


def only_value(parameter: ArrivalParameter) -> ParameterValue | None:
    """The value of a parameter that can have no other; None if it can."""
    if parameter.choices:
        return parameter.choices[0] if len(parameter.choices) == 1 else None
    return parameter.minimum if parameter.minimum is not None and parameter.minimum == parameter.maximum else None


def option(spec: DatasetSpec, name: str) -> str:
    """Option of the command line that gives a parameter, with a value that it may have, or its own name in capitals."""
    parameter = spec.arrival.parameters[name]
    value = parameter.choices[0] if parameter.choices else parameter.minimum
    return f"--{name} {name.upper() if value is None else value}"


def how_to_ask(spec: DatasetSpec) -> str:
    """Say, in a sentence, by which options an arrival is asked for."""
    options = " ".join(option(spec, name) for name in open_parameters(spec))
    if options:
        return f"Give {options}, or --arrival with ids such as {arrival_id(spec, example(spec))}."
    return f"Its only arrival is {arrival_id(spec, {})}, which need not be named."


def arrival_parameters(spec: DatasetSpec, arrival: str) -> dict[str, int | str]:
    """Read an arrival's id back into its parameters.

    Raises
    ------
    UsageError
        If it is no id of this data set, or one of an arrival that can't be (month 13).
    """
    pattern = ""
    for literal, name, _, _ in string.Formatter().parse(spec.arrival.id):
        pattern += re.escape(literal)
        if name:
            parameter = spec.arrival.parameters[name]
            choices = "|".join(re.escape(str(choice)) for choice in parameter.choices or ()) + "|" if parameter.choices else ""
            pattern += rf"(?P<{name}>{choices}{r'-?[0-9]+' if parameter.type == 'integer' else r'[A-Za-z0-9_]+'})"
    match = re.fullmatch(pattern, arrival)
    if match is None:
        like = spec.arrival.id.format(**example(spec))
        raise UsageError(f"{spec.name} {arrival}: that is no arrival of this data set. Its arrivals are named like {like}.")
    right = arrival_id(spec, match.groupdict())
    if right != arrival:
        raise UsageError(f"{spec.name} {arrival}: that is no arrival of this data set. Did you mean {right}?")
    return {name: _typed(spec, name, value) for name, value in match.groupdict().items()}


def expand(spec: DatasetSpec, text: str) -> list[str]:
    """List the arrivals that a person asks for.

    Parameters
    ----------
    spec
        Spec of the data set.
    text
        Ids, separated by commas; `first..last` means all from one to the other: "2013-01,2013-04..2013-06".

    Returns
    -------
    list of str
        Ids in order of arrival, each once.

    Raises
    ------
    UsageError
        If an id is wrong, or a range runs backwards or can't be counted.
    """
    found: set[str] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        first, dots, last = (piece.strip() for piece in part.partition(".."))
        if dots:
            found.update(_between(spec, first, last))
        else:
            arrival_parameters(spec, first)
            found.add(first)
    if not found:
        raise UsageError(f"{spec.name}: which arrivals? Name at least one, like {spec.arrival.id.format(**example(spec))}.")
    return sorted(found)


def series(spec: DatasetSpec, arrival: str) -> tuple[ParameterValue, ...]:
    """Values of the parameters that an arrival shares with those that follow it: names before the first number of an id, if it has one."""
    values = arrival_parameters(spec, arrival)
    names = _names(spec)
    return tuple(values[name] for name in names[: len(names) - len(_counted(spec))])


def following(spec: DatasetSpec, arrival: str) -> Iterator[str]:
    """Count on from an arrival, within its series; the last parameter of the id turns fastest. Ends where the parameters do, if they do.

    Raises
    ------
    UsageError
        If it is no arrival of this data set, or one of its parameters can't be counted.
    """
    at = arrival_parameters(spec, arrival)
    turning = _counted(spec)[::-1]
    while True:
        again: dict[str, ParameterValue] = {}
        for name in turning:
            higher = _after(spec, name, at[name])
            if higher is not None:
                at |= {name: higher} | again
                break
            again[name] = _first(spec, name) if name != turning[-1] else at[name]
        else:
            return
        yield arrival_id(spec, at)


def example(spec: DatasetSpec) -> dict[str, int | str]:
    """Parameters of some possible arrival: the first choice, or the least value, of each."""
    return {name: _some(parameter)[0] for name, parameter in spec.arrival.parameters.items()}


def examples(spec: DatasetSpec) -> Iterator[dict[str, int | str]]:
    """Parameters of possible arrivals: each choice, and both ends, of each parameter, one at a time; then the last of all at once."""
    first = example(spec)
    yield first
    some = {name: _some(parameter) for name, parameter in spec.arrival.parameters.items()}
    for name, values in some.items():
        for value in values[1:]:
            yield first | {name: value}
    if len(some) > 1:
        yield {name: values[-1] for name, values in some.items()}


def _names(spec: DatasetSpec) -> list[str]:
    """Parameters in the order that they have in an id."""
    return [name for _, name, _, _ in string.Formatter().parse(spec.arrival.id) if name]


def _counted(spec: DatasetSpec) -> list[str]:
    """Parameters from the first number of an id on; all of them, if it has none."""
    names = _names(spec)
    numbers = [number for number, name in enumerate(names) if spec.arrival.parameters[name].type == "integer"]
    return names[numbers[0] if numbers else 0 :]


def _after(spec: DatasetSpec, name: str, value: ParameterValue) -> ParameterValue | None:
    """The next value of a parameter; None after the last one."""
    parameter = spec.arrival.parameters[name]
    if parameter.choices:
        at = parameter.choices.index(value) + 1
        return parameter.choices[at] if at < len(parameter.choices) else None
    if not isinstance(value, int):
        raise UsageError(f"{spec.name}: what comes next can't be counted, for {name} is text without choices. Name the arrivals.")
    return value + 1 if parameter.maximum is None or value < parameter.maximum else None


def _first(spec: DatasetSpec, name: str) -> ParameterValue:
    """The value that a parameter begins anew with."""
    parameter = spec.arrival.parameters[name]
    if parameter.choices:
        return parameter.choices[0]
    if parameter.minimum is None:
        raise UsageError(f"{spec.name}: what comes next can't be counted, for {name} has no minimum. Name the arrivals.")
    return parameter.minimum


def _some(parameter: ArrivalParameter) -> Sequence[ParameterValue]:
    if parameter.choices:
        return parameter.choices
    if parameter.type == "text":
        return ["x"]
    return [bound for bound in (parameter.minimum, parameter.maximum) if bound is not None] or [1]


def _between(spec: DatasetSpec, first: str, last: str) -> Iterator[str]:
    """Count from one id to another; the last parameter of the id turns fastest, as on an odometer."""
    start, end = arrival_parameters(spec, first), arrival_parameters(spec, last)
    names = _names(spec)
    same = list(itertools.takewhile(lambda name: start[name] == end[name], names))
    turning = names[len(same) :]
    wheels = [_values(spec, name, start, end, leading=name == turning[0]) for name in turning]
    low, high = (tuple(wheel.index(key[name]) for name, wheel in zip(turning, wheels, strict=True)) for key in (start, end))
    if low > high:
        raise UsageError(f"{spec.name} {first}..{last}: the range runs backwards. Give {last}..{first}.")
    count = 0
    for at in itertools.product(*(range(len(wheel)) for wheel in wheels)):
        if low <= at <= high:
            count += 1
            if count > _LONGEST_RANGE:
                raise UsageError(f"{spec.name} {first}..{last}: a range may have at most {_LONGEST_RANGE:,} arrivals.")
            yield arrival_id(spec, {**start, **{name: wheel[i] for name, wheel, i in zip(turning, wheels, at, strict=True)}})


def _values(spec: DatasetSpec, name: str, start: Parameters, end: Parameters, *, leading: bool) -> list[int | str]:
    parameter = spec.arrival.parameters[name]
    if parameter.choices:
        return list(parameter.choices)
    low, high = start[name], end[name]
    if leading and isinstance(low, int) and isinstance(high, int):
        return list(range(min(low, high), max(low, high) + 1))
    if parameter.minimum is None or parameter.maximum is None:
        raise UsageError(f"{spec.name}: a range over {name} can't be counted, for {name} has no bounds. Name the arrivals one by one.")
    return list(range(parameter.minimum, parameter.maximum + 1))


def _typed(spec: DatasetSpec, name: str, value: ParameterValue) -> ParameterValue:
    if spec.arrival.parameters[name].type == "text":
        return str(value)
    try:
        return int(value)
    except ValueError:
        possible = _possible(spec.arrival.parameters[name])
        raise UsageError(f"{spec.name}: {name} {value!r} is not a whole number. Give --{name} {possible}.") from None


def _check(what: str, name: str, value: ParameterValue, parameter: ArrivalParameter) -> None:
    right = True
    if parameter.choices:
        right = value in parameter.choices
    elif isinstance(value, int):
        right = (parameter.minimum is None or value >= parameter.minimum) and (parameter.maximum is None or value <= parameter.maximum)
    if not right:
        raise UsageError(f"{what}: there is no {name} {value}. Give --{name} {_possible(parameter)}.")
    if not ID.fullmatch(str(value)):
        raise UsageError(f"{what}: {name} {value!r} may hold letters, digits, - and _ only.")


def _possible(parameter: ArrivalParameter) -> str:
    if parameter.choices:
        return " or ".join(str(choice) for choice in parameter.choices)
    if parameter.minimum is not None and parameter.maximum is not None:
        return f"{parameter.minimum} to {parameter.maximum}" if parameter.minimum < parameter.maximum else str(parameter.minimum)
    if parameter.minimum is not None:
        return f"{parameter.minimum} or more"
    if parameter.maximum is not None:
        return f"{parameter.maximum} or less"
    return "a whole number" if parameter.type == "integer" else "a name"
