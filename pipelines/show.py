"""What a run shows a person: its steps as they go, and a table of what came out."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TextColumn
from rich.table import Table

if TYPE_CHECKING:
    from pipelines.local import Progress


MANY = 3
_GOOD = ("promoted", "deployed", "promote")


class Console:
    """Where things are said: people read stdout, unless it carries JSON; then they read stderr."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.rich = RichConsole(stderr=as_json, highlight=False, soft_wrap=True)

    def say(self, text: str = "") -> None:
        """Say a line to a person."""
        self.rich.print(text)


class Steps:
    """Shows the steps of a run: on a terminal a line that moves, elsewhere a line for each step that ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began: dict[str, list[float]] = {}
        self._count: dict[str, int] = {}
        self._bars = Bars(
            SpinnerColumn(), TextColumn("{task.description}"), console=console.rich, transient=True, disable=not console.rich.is_terminal
        )
        self._line = self._bars.add_task("starting")
        self.failed: str | None = None

    def __enter__(self) -> Steps:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def __call__(self, progress: Progress) -> None:
        """Take notice that a step began or ended."""
        name = progress.task
        if progress.state == "began":
            self._began.setdefault(name, []).append(time.monotonic())
        else:
            self._count[name] = self._count.get(name, 0) + 1
            began = self._began.get(name)
            seconds = time.monotonic() - began.pop(0) if began else 0.0
            mark = "[green]✓[/green]" if progress.state == "done" and not progress.failure else "[red]✗[/red]"
            number = f" {self._count[name]}" if self._count[name] > 1 or name == "search" else ""
            if progress.state == "failed":
                self.failed = name
            if name != "record":
                why = f"  {escape(progress.failure)}" if progress.failure else ""
                self._bars.console.print(f"  {mark} {name + number:<14} [dim]{seconds:5.1f} s[/dim]{why}")
        running = [name for name, began in self._began.items() if began and name != "record"]
        self._bars.update(self._line, description=", ".join(running) or "between steps")


def show_result(result: Mapping[str, Any], console: Console) -> None:
    """Show what came out of a run, as a table for people or as one JSON object."""
    if console.as_json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    if result["status"] != "succeeded":
        console.rich.print(f"[bold red]failed[/bold red] after {result['seconds']:.0f} s", style=None)
        console.rich.print(f"lakeline: {result['error']}", markup=False)
        console.rich.print(f"log: {result['log']}", markup=False, style="dim")
        return
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in _lines(result):
        table.add_row(label, value)
    console.say()
    console.rich.print(table)


def show_verdict(result: Mapping[str, Any], console: Console) -> None:
    """Show how a run on a server ended, and what the registry says of the version that it made."""
    if result["status"] != "succeeded":
        console.rich.print(f"[bold red]{result['status']}[/bold red] after {result['seconds']:.0f} s", style=None)
        console.rich.print(f"lakeline: {result['error']}", markup=False)
        return
    console.say(f"succeeded after {result['seconds']:.0f} s")
    if result.get("failed_trials"):
        console.rich.print(result["failed_trials"], markup=False, style="red")
    if result.get("verdict"):
        colour = "green" if result["verdict"] == "promoted" else "yellow"
        console.say(f"version {result['version']}: [{colour}]{result['verdict']}[/{colour}]")
        for reason in result["reasons"]:
            console.rich.print(f"  {reason}", markup=False)


def _lines(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = [("data set", result["dataset"])]
    if result["data_commit"]:
        lines.append(("data commit", result["data_commit"]))
    if result["rows_raw"] is not None and result["rows_clean"] is not None:
        lines.append(("rows", f"{result['rows_raw']:,} raw → {result['rows_clean']:,} clean ({span(result['arrivals'])})"))
    if result["message"]:
        lines.append(("", result["message"]))
    best = next((trial for trial in result["trials"] or [] if trial["best"]), None)
    if best:
        parameters = ", ".join(f"{name}={_number(value)}" for name, value in best["parameters"].items())
        lines.append(("best trial", f"{best['number']} of {len(result['trials'])}: {best['estimator']}({parameters})"))
    if result.get("failed_trials"):
        lines.append(("", f"[red]{escape(result['failed_trials'])}[/red]"))
    if result["metrics"]:
        against = result["production_metrics"] or {}
        shown = [
            f"{name} {_number(value)}" + (f" (production {_number(against[name])})" if name in against else "")
            for name, value in result["metrics"].items()
        ]
        lines.append(("held-out rows", ", ".join(shown)))
    if result["verdict"]:
        colour = "green" if result["verdict"] in _GOOD else "yellow"
        lines.append(("verdict", f"[{colour}]{result['verdict']}[/{colour}]"))
        lines += [("", reason) for reason in result["reasons"]]
        lines.append(("model", f"{result['model']} version {result['version']}"))
    if result["url"]:
        lines.append(("address", result["url"]))
    if result["report"]:
        lines.append(("report", result["report"]))
    return lines


def span(arrivals: Sequence[str]) -> str:
    """Name arrivals by the first and the last, if they are many."""
    return ", ".join(arrivals) if len(arrivals) <= MANY else f"{arrivals[0]} to {arrivals[-1]}, {len(arrivals)} arrivals"


def _number(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
