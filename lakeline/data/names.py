"""Which columns of a file a spec means, where SQL does not tell names apart that differ in case only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lakeline.data.spec import Column, Table


def declared(table: Table, names: Sequence[str]) -> dict[str, Column]:
    """Columns of a file that a spec names, in the spec's order; a name may be a regular expression, but a plain one comes first."""
    found = {name: column for name, column in table.columns.items() if name in names and not column.regex}
    for pattern, column in table.columns.items():
        if column.regex:
            found |= {name: column for name in names if name not in found and re.fullmatch(pattern, name)}
    return found


def spelled(names: Sequence[str], known: Iterable[str]) -> list[str]:
    """Spell the names of a query's result as they are known.

    `SELECT Size AS size` has a column that DuckDB calls `Size`, as the table does. So a name is that of the known one from which
    it differs in case only, where no other has that name.
    """
    spelling = {name.lower(): name for name in known if name not in names}
    return [name if name in known or name.lower() not in spelling else spelling.pop(name.lower()) for name in names]


def alike(names: Iterable[str]) -> Mapping[str, Sequence[str]]:
    """Find names that SQL does not tell apart, by the first of them, which is followed by the others."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.lower(), []).append(name)
    return {group[0]: group[1:] for group in groups.values() if len(group) > 1}


def numbered(path: str, columns: int) -> str:
    """SQL that reads a Parquet file with its columns called c0, c1, …: names of ours, which none of its own can meet.

    Parameters
    ----------
    path
        SQL that says where the file is.
    columns
        How many it has.
    """
    return f"read_parquet({path}, hive_partitioning = false) AS rows({', '.join(f'c{number}' for number in range(columns))})"
