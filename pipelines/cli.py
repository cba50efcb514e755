"""The `lakeline` command."""

from __future__ import annotations

import io
import os
import signal
import sys
from types import FrameType

import typer

from lakeline.errors import Interrupted, LakelineError, UsageError, describe
from pipelines.commands import (
    cluster,
    dataset,
    event,
    experiment,
    lake,
    models,
    predict,
    project,
    promote,
    report,
    run,
    schedule,
    serve,
    submit,
    watch,
)

app = typer.Typer(
    name="lakeline",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="rich",
    help="""Turn a commit of data into a deployed, monitored model.

    The first time: [bold]lakeline demo[/bold] (real data arrives, a first model, more data, a better model, a corrupted arrival).

    Then: [bold]lakeline run continuous --month 8[/bold], [bold]lakeline models[/bold], [bold]lakeline report[/bold].

    Settings come from the environment: LAKELINE_HOME (where all is kept), LAKELINE_DATA (local copies of data sets),
    LAKELINE_LAKE (git or lakefs), MLFLOW_TRACKING_URI. Exit codes: 0 done (also when a gate holds the model back), 1 failed, 2 wrong usage,
    130 interrupted (SIGINT), 143 ended (SIGTERM).
    """,
)
_EXTRA = {"allow_extra_args": True, "ignore_unknown_options": True}
app.command("watch")(watch.watch)
app.command("demo")(watch.demo)
app.command("run", context_settings=_EXTRA)(run.run)
app.command("submit", context_settings=_EXTRA)(submit.submit)
app.command("schedule", context_settings=_EXTRA)(schedule.schedule)
app.command("upload")(submit.upload)
app.command("runs")(submit.runs)
app.command("models")(models.models)
app.command("serve")(serve.serve)
app.command("predict")(predict.predict)
app.command("reproduce")(models.reproduce)
app.command("promote")(promote.promote)
app.command("rollback")(promote.rollback)
app.command("history")(promote.history)
app.command("report")(report.report)
app.command("ui")(report.ui)
app.command("doctor")(project.doctor)
app.command("compile")(project.compile_all)
app.add_typer(dataset.app, name="dataset")
app.add_typer(lake.app, name="lake")
app.add_typer(cluster.app, name="cluster")
app.add_typer(event.app, name="event")
app.add_typer(experiment.app, name="experiment")


@app.callback(invoke_without_command=True)
def _options(version: bool = typer.Option(False, "--version", help="Print the version and end.")) -> None:
    if version:
        from lakeline import __version__

        typer.echo(__version__)
        raise typer.Exit


def _interrupt(number: int, _: FrameType | None) -> None:
    raise Interrupted(number)


def main() -> None:
    """Run the command; what goes wrong ends it with a sentence and a code that scripts can trust."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a character that the locale doesn't have is shown as another, and ends nothing
            stream.reconfigure(errors="replace")
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app(standalone_mode=True)
    except UsageError as error:
        print(f"lakeline: {describe(error)}", file=sys.stderr)
        sys.exit(2)
    except (LakelineError, OSError) as error:
        if isinstance(error, OSError) and "LAKELINE_DEBUG" in os.environ:
            raise
        print(f"lakeline: {describe(error)}", file=sys.stderr)
        sys.exit(1)
    except Interrupted as error:
        print(f"\nlakeline: {describe(error)}", file=sys.stderr)
        sys.exit(128 + error.number)


if __name__ == "__main__":
    main()
