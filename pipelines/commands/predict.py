"""`lakeline predict`: rows of a file to a server, and where its predictions go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.run import JSON
from pipelines.commands.serve import MODEL

if TYPE_CHECKING:
    from lakeline.serving.asking import Answered

_PATIENCE = 2.0
"""Seconds after which a person is shown that something happens."""


def predict(
    model: MODEL,
    file: Annotated[Path, typer.Argument(help="Rows: CSV with a header, Parquet, JSON, or JSON lines.", show_default=False)],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where they go (.csv, .parquet, .json); else stdout.")] = None,
    url: Annotated[str | None, typer.Option(help="Address of the server; else that of this model here.")] = None,
    as_json: JSON = False,
) -> None:
    """Have a server predict the rows of a file: one number for each, in their order.

    For example:

      lakeline predict NAME rows.parquet

      lakeline predict NAME rows.csv --output predictions.csv --url http://127.0.0.1:8080

    Columns that the model doesn't take stay here. The token, if the server wants one, is LAKELINE_SERVING_TOKEN.

    JSON: model, url, rows, versions (those that answered), predictions (unless they go to --output).
    """
    import json

    from lakeline.errors import UsageError
    from lakeline.serving.asking import predict as ask
    from lakeline.serving.site import authorization, open_site

    if output and output.suffix.lower() not in _WRITERS:
        raise UsageError(f"{output}: predictions are written to a file whose name ends with {', '.join(_WRITERS)}.")
    if output and output.exists() and file.exists() and output.samefile(file):
        raise UsageError(f"{output} is the file that the rows are in: it would be overwritten. Name another one.")
    address = url.rstrip("/") if url else open_site().url(model)
    predictions: list[float] = []
    versions: set[str] = set()
    for answered in _shown(ask(model, address, authorization(), file)):
        predictions += answered.predictions
        versions |= {answered.version} if answered.version else set()
    if output:
        _WRITERS[output.suffix.lower()](output, predictions)
    told = {"model": model, "url": address, "rows": len(predictions), "versions": sorted(versions)}
    if as_json:
        typer.echo(json.dumps(told if output else told | {"predictions": predictions}))
    elif output:
        by = f" by version {', '.join(told['versions'])}" if versions else ""
        typer.echo(f"{len(predictions):,} predictions{by}: {output}")
    else:
        for value in predictions:
            typer.echo(repr(value))


def _shown(answers: Iterator[Answered]) -> Iterator[Answered]:
    """Show a person how far it is, if that takes longer than they like to wait."""
    import time

    from rich.console import Console
    from rich.status import Status

    console, began, rows = Console(stderr=True), time.monotonic(), 0
    shown = Status("", console=console)
    try:
        for answered in answers:
            rows += len(answered.predictions)
            if console.is_terminal and time.monotonic() - began > _PATIENCE:
                shown.update(f"{rows:,} rows predicted")
                shown.start()
            yield answered
    finally:
        shown.stop()


def _write_csv(path: Path, predictions: list[float]) -> None:
    path.write_text("prediction\n" + "".join(f"{value!r}\n" for value in predictions), encoding="utf-8")


def _write_json(path: Path, predictions: list[float]) -> None:
    import json

    path.write_text(json.dumps({"predictions": predictions}) + "\n", encoding="utf-8")


def _write_parquet(path: Path, predictions: list[float]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"prediction": pa.array(predictions, pa.float64())}), path)


_WRITERS = {".csv": _write_csv, ".json": _write_json, ".parquet": _write_parquet}
