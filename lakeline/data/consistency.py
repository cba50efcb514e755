"""What no part of a spec can check alone: that the names in one part are those of another."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lakeline.data.spec import DatasetSpec

_TYPES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("target", "column"): ("integer", "number"),
    ("features", "numeric"): ("integer", "number", "boolean"),
    ("split", "column"): ("timestamp", "integer", "number"),
}
TEMPLATES = ("url", "local", "path", "member", "where")
"""Keys of `source` that arrival parameters are filled into."""


@dataclass(frozen=True)
class Flaw:
    """Something wrong in a spec: the field it is in, what is wrong, and the item of the field that it is about, if it has several."""

    path: tuple[str | int, ...]
    text: str
    item: str | None = None


def uses(spec: DatasetSpec) -> Iterator[tuple[tuple[str, ...], str]]:
    """Fields that name a clean column which every row needs, each with the name."""
    yield ("target", "column"), spec.target.column
    for kind, names in (("categorical", spec.features.categorical), ("numeric", spec.features.numeric)):
        yield from ((("features", kind), name) for name in names)
    yield from ((("slices",), name) for name in spec.slices)
    if spec.split.kind == "time":
        yield ("split", "column"), spec.split.column


def templates(spec: DatasetSpec) -> Iterator[tuple[tuple[str, ...], str]]:
    """Fields that arrival parameters are filled into, each with its text."""
    yield ("arrival", "id"), spec.arrival.id
    for key in TEMPLATES:
        text = getattr(spec.source, key, None)
        if text is not None:
            yield ("source", key), text


def inconsistencies(spec: DatasetSpec) -> Iterator[Flaw]:
    """Find what doesn't fit together."""
    yield from _columns(spec)
    yield from _templates(spec)


def _columns(spec: DatasetSpec) -> Iterator[Flaw]:
    clean = spec.clean.columns
    for where, name in uses(spec):
        if name not in clean:
            yield Flaw(where, f"{name!r} is not a column of clean.columns ({_listed(clean)})", name)
        elif clean[name].nullable or clean[name].optional:
            yield Flaw(where, f"{name!r} is nullable or optional in clean.columns; every row needs it", name)
        elif where in _TYPES and clean[name].type not in _TYPES[where]:
            yield Flaw(where, f"{name!r} is {clean[name].type!r} in clean.columns; it must be {' or '.join(_TYPES[where])}", name)
    key = spec.experiment.key
    if key is not None and key not in clean:
        yield Flaw(("experiment", "key"), f"{key!r} is not a column of clean.columns ({_listed(clean)})")
    if not spec.features.all:
        yield Flaw(("features",), "name at least one categorical or numeric column")
    if spec.target.column in spec.features.all:
        yield Flaw(("features",), f"{spec.target.column!r} is the target; a model must not see it", spec.target.column)
    for name in sorted({name for name in spec.features.all if spec.features.all.count(name) > 1}):
        yield Flaw(("features",), f"{name!r} is named twice", name)


def _templates(spec: DatasetSpec) -> Iterator[Flaw]:
    known = set(spec.arrival.parameters)
    for where, template in templates(spec):
        try:
            used = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
        except ValueError as error:
            yield Flaw(where, f"{template!r} is not a template: {error}")
            continue
        for name in sorted(used - known):
            there = f"there are: {_listed(sorted(known))}" if known else "there are none"
            yield Flaw(where, f"there is no arrival parameter {name!r} ({there})" if name else "name the parameter between the braces {}")
        if where == ("arrival", "id") and known - used:
            yield Flaw(where, f"every parameter belongs in the id, for no two arrivals may share one: {_listed(sorted(known - used))}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(name if name.isprintable() else repr(name) for name in names)
