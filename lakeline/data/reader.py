"""Clean rows as they are learned from: the columns that a model needs, each of the one type that the spec gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from lakeline.data.check import shown
from lakeline.data.conversion import ARROW, FITS, ROWS, converted, lost
from lakeline.data.spec import TimeSplit
from lakeline.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from lakeline.data.spec import ColumnType, DatasetSpec

pc: Any = pyarrow.compute  # its functions are made when it is imported


class Reader:
    """Reads files of clean rows, those of older versions of Lakeline among them, whose types may be others.

    Parameters
    ----------
    spec
        Says what is learned from, the target, the slices, and by which column rows are split.
    """

    def __init__(self, spec: DatasetSpec) -> None:
        time = (spec.split.column,) if isinstance(spec.split, TimeSplit) else ()
        self._dataset, self._target = spec.name, spec.target.column
        self._kinds: dict[str, ColumnType] = {
            name: spec.clean.columns[name].type for name in (*spec.features.all, spec.target.column, *spec.slices, *time)
        }
        self.schema = pa.schema([pa.field(name, ARROW[kind]) for name, kind in self._kinds.items()])

    def batches(self, path: Path, arrival: str) -> Iterator[pa.RecordBatch]:
        """Read all that is learned from, streaming.

        Raises
        ------
        DataError
            If a column is missing or has a value that its type has no place for, or the target has nulls, NaN or infinities: says
            in which row, and what to do.
        """
        rows, missing, first = 0, 0, 0
        for batch in self._read(path, arrival, list(self._kinds)):
            bad = np.flatnonzero(~np.asarray(pc.fill_null(pc.is_finite(batch.column(self._target)), False)))
            if len(bad) and not missing:
                first = rows + int(bad[0]) + 1
            missing += len(bad)
            rows += batch.num_rows
            yield batch
        if missing:
            raise DataError(
                f"{self._dataset} {arrival}: {missing:,} of {rows:,} clean rows have no {self._target}, which is the target "
                f"(first: row {first:,}). Have transform.sql leave them out, {self._again()}"
            )

    def table(self, path: Path, arrival: str) -> pa.Table:
        """Read all that is learned from, at once; as `batches`."""
        return pa.Table.from_batches(list(self.batches(path, arrival)), self.schema)

    def times(self, path: Path, arrival: str, column: str) -> npt.NDArray[np.float64 | np.int64]:
        """Values of the column that rows are split by, as what can be compared: numbers, or microseconds since 1970.

        Raises
        ------
        DataError
            If there are nulls or NaN, which are before or after nothing.
        """
        batches = list(self._read(path, arrival, [column]))
        times: Any = pa.chunked_array([batch.column(0) for batch in batches], ARROW[self._kinds[column]])
        nulls = np.flatnonzero(np.asarray(pc.is_null(times, nan_is_null=True)))
        if len(nulls):
            raise DataError(
                f"{self._dataset} {arrival}: {len(nulls):,} of {len(times):,} rows have no time to split them by, {column} "
                f"(first: row {nulls[0] + 1:,}). Have transform.sql leave them out, {self._again()}"
            )
        return np.asarray(times.cast(pa.int64()) if pa.types.is_timestamp(times.type) else times)

    def _read(self, path: Path, arrival: str, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
        schema = pa.schema([self.schema.field(name) for name in names])
        with pq.ParquetFile(path, pre_buffer=False) as file:
            missing = [name for name in names if name not in file.schema_arrow.names]
            if missing:
                where = f"{self._dataset} {arrival}: the clean rows have no column {', '.join(missing)}"
                raise DataError(f"{where}, which the spec learns from. Run the arrival again.")
            start = 1
            for batch in file.iter_batches(ROWS, columns=list(names)):
                columns = [self._converted(batch.column(name), name, arrival, start) for name in names]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
                start += batch.num_rows

    def _converted(self, column: Any, name: str, arrival: str, start: int) -> pa.Array:
        kind = self._kinds[name]
        result = converted(column, kind)
        bad = np.flatnonzero(np.asarray(lost(column, result)))
        if len(bad):
            value = shown(column, int(bad[0]))
            raise DataError(
                f"{self._dataset} {arrival}: clean column {name} is stored as {column.type}, and row {start + bad[0]:,}, {value!r}, is not "
                f"{FITS[kind]}. Have transform.sql convert it or leave it out, {self._again()}"
            )
        return result

    def _again(self) -> str:
        return f"push it (lakeline dataset push {self._dataset}) and run the arrival again."
