"""What no part of a spec can check alone: that the names in one part are those of another."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lakeline.data.spec import DatasetSpec

_TYPES = {
    "target.column": ("integer", "number"),
    "features.numeric": ("integer", "number", "boolean"),
    "split.column": ("timestamp", "integer", "number"),
}


def inconsistencies(spec: DatasetSpec) -> Iterator[str]:
    """Find what doesn't fit together; each mistake is one line, after the field that it is in."""
    yield from _columns(spec)
    yield from _templates(spec)


def _columns(spec: DatasetSpec) -> Iterator[str]:
    clean = spec.clean.columns
    uses = [("target.column", spec.target.column), *(("features.categorical", name) for name in spec.features.categorical)]
    uses += [("features.numeric", name) for name in spec.features.numeric] + [("slices", name) for name in spec.slices]
    uses += [("split.column", spec.split.column)] if spec.split.kind == "time" else []
    for where, name in uses:
        if name not in clean:
            yield f"{where}: {name!r} is not a column of clean.columns ({', '.join(clean)})"
        elif clean[name].nullable or clean[name].optional:
            yield f"{where}: {name!r} is nullable or optional in clean.columns; every row needs it"
        elif where in _TYPES and clean[name].type not in _TYPES[where]:
            yield f"{where}: {name!r} is {clean[name].type!r} in clean.columns; it must be {' or '.join(_TYPES[where])}"
    if spec.experiment.key is not None and spec.experiment.key not in clean:
        yield f"experiment.key: {spec.experiment.key!r} is not a column of clean.columns ({', '.join(clean)})"
    if not spec.features.all:
        yield "features: name at least one categorical or numeric column"
    if spec.target.column in spec.features.all:
        yield f"features: {spec.target.column!r} is the target; a model must not see it"
    for name in sorted({name for name in spec.features.all if spec.features.all.count(name) > 1}):
        yield f"features: {name!r} is named twice"


def _templates(spec: DatasetSpec) -> Iterator[str]:
    known = set(spec.arrival.parameters)
    source: dict[str, Any] = spec.source.model_dump()
    templates = [("arrival.id", spec.arrival.id)]
    templates += [(f"source.{key}", source[key]) for key in ("url", "local", "path", "member", "where") if source.get(key)]
    for where, template in templates:
        try:
            used = {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
        except ValueError as error:
            yield f"{where}: {template!r} is not a template: {error}"
            continue
        for name in sorted(used - known):
            yield f"{where}: there is no arrival parameter {name!r} (there are: {', '.join(sorted(known))})"
        if where == "arrival.id" and known - used:
            yield f"{where}: every parameter belongs in the id, for no two arrivals may share one: {', '.join(sorted(known - used))}"
