"""`make bench`: run the benchmarks, print their tables, write the numbers as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.contest import WORKLOADS, Result, contest
from benchmarks.fitting import fitting
from benchmarks.serving import Load, serving
from benchmarks.startup import startup
from benchmarks.steps import Step, profile

PARTS = ("startup", "fit", "contest", "serving", "steps")


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="make bench BENCH_ARGS=...", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS[:-1]), help="parts to run (default: all but steps)")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), help="how much data (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="measured runs a side (default: 3)")
    parser.add_argument("--seconds", type=float, default=5, help="length of a round of serving (default: 5)")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results.json"), help="where the numbers go")
    options = parser.parse_args()
    data = os.environ.get("LAKELINE_DATA")
    if not data and set(options.only) != {"startup"}:
        print(
            "bench: set LAKELINE_DATA to a folder with nyc-taxi/green_tripdata_YYYY-MM.parquet, 2021-03 and 2022-01 to 2023-02.",
            file=sys.stderr,
        )
        return 2

    console, notes = Console(width=150), Console(stderr=True, width=150)
    found: dict[str, Any] = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "machine": _machine()}
    if "startup" in options.only:
        found["startup"] = startup(10, notes.log)
        console.print(_startup_table(found["startup"]))
    if "fit" in options.only and data:
        found["fit"] = fitting(Path(data).resolve(), options.workloads, options.rounds, notes.log)
        console.print(_fit_table(found["fit"]))
    if "contest" in options.only and data:
        results = contest(Path(data).resolve(), options.workloads, options.rounds, notes.log)
        found["contest"] = [result.to_dict() for result in results]
        console.print(_contest_table(results))
    if "serving" in options.only and data:
        loads = serving(Path(data).resolve(), options.rounds, options.seconds, notes.log)
        found["serving"] = [load.to_dict() for load in loads]
        console.print(_serving_table(loads))
    if "steps" in options.only and data:
        for workload in options.workloads:
            steps = profile(Path(data).resolve(), workload)
            found.setdefault("steps", {})[workload] = [step.to_dict() for step in steps]
            console.print(_steps_table(workload, steps))
    options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    notes.log(f"numbers: {options.json}")
    return 0


def _machine() -> dict[str, Any]:
    load = os.getloadavg()[0]
    return {"system": platform.platform(), "cpus": os.cpu_count(), "python": platform.python_version(), "load_before": round(load, 2)}


def _contest_table(results: Sequence[Result]) -> Table:
    table = Table(title="From raw months to a tracked model, medians")
    for heading in ("data", "rows", "side", "RMSE", "wall s", "faster", "CPU s", "peak MiB, all processes", "of script", "MiB, largest"):
        table.add_column(heading, justify="left" if heading in {"data", "side"} else "right")
    for number, result in enumerate(results):
        script = next(other for other in results if other.workload == result.workload and other.side == "script")
        outcome = result.outcome
        table.add_row(
            result.workload,
            f"{outcome.rows:,}" if outcome else "",
            result.side,
            f"{outcome.rmse:.4f}" if outcome else "",
            f"{result.middle('seconds'):.1f}",
            f"{script.middle('seconds') / result.middle('seconds'):.2f}×",
            f"{result.middle('cpu_seconds'):.1f}",
            f"{result.middle('tree_mib'):.0f}",
            f"{result.middle('tree_mib') / script.middle('tree_mib'):.2f}",
            f"{result.middle('largest_mib'):.0f}",
            end_section=result.workload not in {other.workload for other in results[number + 1 :]},
        )
    return table


def _fit_table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="The fit alone, after all imports, medians")
    for heading in ("data", "rows", "side", "RMSE of the fit", "seconds", "faster", "peak MiB"):
        table.add_column(heading, justify="left" if heading in {"data", "side"} else "right")
    for row in rows:
        script = next(other for other in rows if other["workload"] == row["workload"] and other["side"] == "script")
        faster = f"{script['seconds'] / row['seconds']:.1f}×"
        table.add_row(
            row["workload"], f"{row['rows']:,}", row["side"], f"{row['rmse']:.6f}", f"{row['seconds']:.2f}", faster, f"{row['mib']:.0f}"
        )
    return table


def _serving_table(loads: Sequence[Load]) -> Table:
    table = Table(title="The same model, served")
    for heading in ("connections", "rows each", "server", "requests/s", "faster", "p50 ms", "p99 ms", "MiB"):
        table.add_column(heading, justify="left" if heading == "server" else "right")
    for number, load in enumerate(loads):
        other = next(first for first in loads if (first.connections, first.rows) == (load.connections, load.rows))
        table.add_row(
            str(load.connections),
            f"{load.rows:,}",
            load.side,
            f"{load.per_second:,.0f}",
            f"{load.per_second / other.per_second:.2f}×",
            f"{load.quantile(0.5):.1f}",
            f"{load.quantile(0.99):.1f}",
            f"{load.peak_mib:.0f}",
            end_section=bool(number % 2),
        )
    return table


def _startup_table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="Start-up, medians")
    for heading in ("command", "seconds", "times", "MiB"):
        table.add_column(heading, justify="left" if heading == "command" else "right")
    for row in rows:
        table.add_row(row["command"], f"{row['seconds']:.2f}", f"{row['times']:.1f}×", f"{row['mib']:.0f}")
    return table


def _steps_table(workload: str, steps: Sequence[Step]) -> Table:
    table = Table(title=f"Where the time of {workload} goes")
    for heading in ("step", "wall s", "of which imports", "slowest imports, cumulative"):
        table.add_column(heading, justify="right" if heading in {"wall s", "of which imports"} else "left")
    for step in steps:
        table.add_row(
            step.name, f"{step.seconds:.2f}", f"{step.imports:.2f}", ", ".join(f"{name} {cost:.2f}" for name, cost in step.slowest)
        )
    return table


if __name__ == "__main__":
    sys.exit(main())
