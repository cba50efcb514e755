"""The step that checks arrivals against the pinned spec, and says what failed."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from lakeline.data.check import Check, TableReport, check_table
from lakeline.data.ingest import rows_left_out
from lakeline.data.specfile import pinned_spec
from lakeline.errors import DataError, UsageError, ValidationFailed
from lakeline.lake import CommitId, Lake, open_lake

Layer = Literal["raw", "clean"]
_SHOWN_FAILURES = 5
_INDENT = "\n          "


@dataclass(frozen=True)
class ArrivalReport:
    """All checks of one arrival."""

    arrival: str
    table: TableReport

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return not self.table.failures

    def to_dict(self) -> dict[str, Any]:
        """Turn into what JSON has."""
        return {"passed": self.passed, "rows": self.table.rows, "checks": [_check_dict(check) for check in self.table.checks]}


@dataclass(frozen=True)
class Validation:
    """What was found in one layer of a delivery's arrivals, as they are at a commit."""

    layer: Layer
    commit: CommitId
    arrivals: tuple[ArrivalReport, ...]

    @property
    def passed(self) -> bool:
        """Whether every check of every arrival passed."""
        return all(report.passed for report in self.arrivals)

    @property
    def rows(self) -> int:
        """Number of rows checked."""
        return sum(report.table.rows for report in self.arrivals)

    def to_dict(self) -> dict[str, Any]:
        """Turn into what JSON has: `arrivals` maps an id to `passed`, `rows` and `checks` (`check`, `failed`, `samples`, ...)."""
        arrivals = {report.arrival: report.to_dict() for report in self.arrivals}
        return {"layer": self.layer, "commit": self.commit, "passed": self.passed, "rows": self.rows, "arrivals": arrivals}


def report_path(arrival: str) -> str:
    """Path in the lake of an arrival's validation report."""
    return f"_lakeline/reports/{arrival}.json"


def validate(dataset: str, branch: str, commit: str, arrivals: Sequence[str], layer: str, report_html: Path | None = None) -> Validation:
    """Check each arrival's raw or clean rows against the spec of the commit.

    Parameters
    ----------
    dataset
        Name of the data set.
    branch
        Branch of the delivery: where a failure is reported, as _lakeline/reports/<arrival>.json.
    commit
        Commit whose rows are checked, and whose spec says what they must be.
    arrivals
        Ids of the arrivals.
    layer
        "raw" or "clean". Among raw rows, text will do for a number, a timestamp or a boolean if all of it can be read as one.
    report_html
        Where to write the checks as a page to look at, if anywhere.

    Returns
    -------
    Validation
        Every check of every arrival.

    Raises
    ------
    ValidationFailed
        If rows fail: names the worst checks, and where the rows are.
    DataError
        If a file can't be read.
    """
    if layer not in {"raw", "clean"}:
        raise UsageError(f'there is no layer {layer!r}. Give "raw" or "clean".')
    lake = open_lake(dataset)
    spec = pinned_spec(lake, commit).spec
    table = spec.raw if layer == "raw" else spec.clean
    reports: list[ArrivalReport] = []
    for arrival in arrivals:
        with tempfile.TemporaryDirectory(prefix="lakeline-") as folder:
            path = lake.download(commit, f"{layer}/{arrival}.parquet", Path(folder) / f"{arrival}.parquet")
            try:
                checked = check_table(path, table, text_may_parse=layer == "raw")
            except DataError as error:
                raise DataError(f"{dataset} {arrival}, {layer} rows: {error}") from error
        said = rows_left_out(lake, commit, [arrival]) if layer == "raw" else []
        reports.append(ArrivalReport(arrival, TableReport(checked.rows, (*checked.checks, *(Check(text.rstrip(".")) for text in said)))))
    result = Validation(cast("Layer", layer), CommitId(commit), tuple(reports))
    if report_html is not None:
        _write_page(result, dataset, report_html)
    if not result.passed:
        _commit_failure(lake, branch, result)
        raise ValidationFailed(_sentences(dataset, branch, result))
    return result


def _check_dict(check: Check) -> dict[str, Any]:
    content: dict[str, Any] = {"check": check.text, "column": check.column, "failed": check.failing}
    content["samples"] = [dataclasses.asdict(sample) for sample in check.samples]
    return content | ({"problem": check.problem} if check.problem else {})


def _commit_failure(lake: Lake, branch: str, result: Validation) -> None:
    files: dict[str, Path | bytes] = {}
    for report in result.arrivals:
        path = report_path(report.arrival)
        before: dict[str, Any] = json.loads(lake.read(branch, path)) if lake.exists(branch, path) else {}
        files[path] = as_json(before | {result.layer: report.to_dict()})
    failed = [report.arrival for report in result.arrivals if not report.passed]
    lake.commit(branch, files, f"Report what fails in the {result.layer} rows of {', '.join(failed)}", {"validation": "failed"})


def as_json(content: Mapping[str, Any]) -> bytes:
    """JSON as it is committed: the same content, the same bytes."""
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _sentences(dataset: str, branch: str, result: Validation) -> str:
    """Name what fails: tables as a whole first, then by rows, worst first."""
    found = [(report, check) for report in result.arrivals for check in report.table.failures]
    found.sort(key=lambda pair: pair[1].severity())
    layer = " (clean rows)" if result.layer == "clean" else ""
    lines = [f"{dataset} {report.arrival}{layer}: {_sentence(check, report.table.rows)}" for report, check in found[:_SHOWN_FAILURES]]
    more = len(found) - _SHOWN_FAILURES
    lines += [f"... and {more} more {'checks fail' if more > 1 else 'check fails'}."] if more > 0 else []
    where = f"Nothing was merged; the rows are on branch {branch}. See: lakeline lake show {dataset} {branch}"
    return _INDENT.join([*lines, where])


def _sentence(check: Check, rows: int) -> str:
    if check.problem:
        return f"{check.problem}."
    verb = "fails" if check.failing == 1 else "fail"
    first = check.samples[0]
    value = "null" if first.value is None else repr(first.value)
    return f'{check.failing:,} of {rows:,} rows {verb} "{check.text}" (first: row {first.row:,}, {value}).'


def _write_page(result: Validation, dataset: str, path: Path) -> None:
    from lakeline.report import build

    checked = [{"arrival": report.arrival, "layer": result.layer} | report.to_dict() for report in result.arrivals]
    run = {"pipeline": "data", "dataset": dataset, "status": "succeeded" if result.passed else "failed"}
    path.write_text(build({"run": run, "data": {"commit": result.commit}, "validation": checked}), encoding="utf-8")
