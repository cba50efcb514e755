"""`lakeline experiment`: test a version beside the one in production, and bring the truth that they are judged by."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.run import JSON

if TYPE_CHECKING:
    from lakeline.serving.experiment.assessment import Assessment
    from lakeline.serving.experiment.state import State

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Test a version beside the one in production (A/B test; docs/EXPERIMENTS.md).

    [bold]start[/bold] shares requests out, [bold]status[/bold] looks and changes nothing, [bold]lakeline run experiment[/bold] looks
    and concludes: the challenger is promoted, or the test ends, once there is enough to tell.
    """,
)

MODEL = Annotated[str, typer.Argument(help="Name of the model, which is that of its data set.", show_default=False)]


@app.command()
def start(
    model: MODEL,
    version: Annotated[int, typer.Argument(min=1, help="Version to test beside production.", show_default=False)],
    as_json: JSON = False,
) -> None:
    """Have a version serve beside production and answer the part of the requests that the spec says (experiment.weight).

    It is tried apart from all traffic first. What was interrupted goes on when it is run again.

    For example:

      lakeline experiment start NAME 3

    JSON: model and the test: id, production, challenger, weight, unkeyed, commit, who, started, ended, outcome, why.
    """
    from lakeline.serving.experiment.running import start as begin

    state = begin(model, version)
    if as_json:
        _print({"model": model} | state.to_dict())
        return
    typer.echo(f"Version {version} answers {state.weight:.0%} of the requests for {model} beside version {state.production}.")
    typer.echo(f"Look: lakeline experiment status {model}. Conclude: lakeline run experiment --dataset {model}")


@app.command()
def status(model: MODEL, as_json: JSON = False) -> None:
    """Look at the test that a model is in, or was in last; nothing is changed.

    What is found now: continue, promote or end, and why. `lakeline run experiment` does it.

    JSON: model, test (as of start; null if there never was one), assessment (verdict, reasons, test, metric, alpha, weight, production
    and challenger with version, units and metric, needed, planned, now, shares, improvement, lower, upper, p_value, rows, crossed,
    left_out, looks; null if no test is under way).
    """
    from lakeline.registry.store import connect
    from lakeline.serving.experiment.running import look
    from lakeline.serving.experiment.state import load

    state = load(connect(), model)
    under_way = state is not None and state.running and state.started is not None
    found = look(model)[2] if under_way else None
    if as_json:
        _print({"model": model, "test": state.to_dict() if state else None, "assessment": found.to_dict() if found else None})
    else:
        _show(model, state, found)


@app.command()
def stop(
    model: MODEL,
    why: Annotated[str, typer.Option("--why", "-m", help="Reason, which is recorded.", prompt="Why")],
    as_json: JSON = False,
) -> None:
    """End the test that a model is in without a winner: production answers all requests again.

    For example:

      lakeline experiment stop NAME --why "the wrong version"

    JSON: as of start.
    """
    from lakeline.serving.experiment.running import stop as end
    from lakeline.serving.site import open_site

    state = end(model, why)
    if as_json:
        _print({"model": model} | state.to_dict())
        return
    now = open_site().serving(model).get("production")  # which somebody may have promoted since the test began
    answers = f"Version {now.version} answers all requests for {model}." if now else f"Nothing serves {model}."
    typer.echo(f"The test of version {state.challenger} is stopped. {answers}")


@app.command()
def truth(
    model: MODEL,
    file: Annotated[Path, typer.Argument(help="CSV or Parquet.", show_default=False)],
    as_json: JSON = False,
) -> None:
    """Bring what really happened: a file with the target, and the key or the request's id (and row, from 0) that it is of.

    It is committed to the lake as truth/NAME.parquet; nothing is trained from it.

    For example:

      lakeline experiment truth NAME july.csv

    JSON: model, commit, rows.
    """
    from lakeline.data.specfile import pinned_spec
    from lakeline.lake import open_lake
    from lakeline.lake.base import MAIN
    from lakeline.serving.experiment.truth import bring

    lake = open_lake(model)
    commit, rows = bring(lake, pinned_spec(lake, lake.resolve(MAIN)).spec, file)
    if as_json:
        _print({"model": model, "commit": commit, "rows": rows})
        return
    typer.echo(f"{rows:,} rows of truth are in the lake (commit {commit[:10]}). Look: lakeline experiment status {model}")


def _show(model: str, state: State | None, found: Assessment | None) -> None:
    if state is None:
        typer.echo(f"{model} never was in a test. Start one: lakeline experiment start {model} VERSION")
        return
    if found is None:
        if state.running:
            typer.echo(
                f"The test of version {state.challenger} is not set up yet. Do: lakeline experiment start {model} {state.challenger}"
            )
        else:
            typer.echo(f"{model} is in no test. The last one, of version {state.challenger}, was {state.outcome}: {state.why}")
        return
    from rich.console import Console
    from rich.table import Table

    from lakeline.registry.gates import number, percent

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("variant", "version", "units", found.metric):
        table.add_column(heading, justify="left" if heading == "variant" else "right")
    for name, side in (("production", found.production), ("challenger", found.challenger)):
        table.add_row(name, str(side.version), f"{side.units:,}", "–" if side.metric is None else number(side.metric))
    console = Console(highlight=False)
    console.print(table)
    if found.lower is not None and found.upper is not None:
        console.print(f"better by {percent(found.lower)} to {percent(found.upper)}", markup=False)
    for name, amount in found.left_out.items():
        console.print(f"left out: {amount:,} {name}", markup=False, style="dim")
    console.print(f"{found.verdict}: {' '.join(found.reasons)}", markup=False, soft_wrap=True)


def _print(content: Any) -> None:
    import json

    typer.echo(json.dumps(content))
