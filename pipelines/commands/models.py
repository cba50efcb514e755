"""`lakeline models` and `lakeline reproduce`: what the registry holds, and whether it can be built again."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.run import JSON

if TYPE_CHECKING:
    from lakeline.registry import VersionInfo

_ID = 8


def models(
    name: Annotated[str | None, typer.Argument(help="Name of a model, which is that of its data set.", show_default=False)] = None,
    as_json: JSON = False,
) -> None:
    """List the versions of models: where each stands, how good it is, what it learned from, what the gates said.

    For example:

      lakeline models

      lakeline models NAME --json

    JSON: models, an object for each version: name, version, aliases, metrics (rmse, mae, r2 on held-out rows; production_... of the
    version that it was compared with; validation_..., train_...), data_commit, lineage, verdict (promoted, held, abandoned, null),
    reasons, created (seconds since 1970), run_id (MLflow's) and failed_trials (how many of its search failed and why, or null).
    """
    import json

    from lakeline.errors import UsageError
    from lakeline.registry import models as list_models

    found = list_models()
    known = sorted({info.name for info in found})
    if name and name not in known:
        raise UsageError(f"there is no model {name!r}. {'There are: ' + ', '.join(known) if known else 'None is registered yet'}.")
    found = [info for info in found if name in (None, info.name)]
    if as_json:
        typer.echo(json.dumps({"models": [info.to_dict() for info in found]}))
    elif found:
        _show(found)
    else:
        typer.echo("No model is registered yet. Train one: lakeline run continuous --help")


def reproduce(
    model: Annotated[str, typer.Argument(help="Name of the model, which is that of its data set.", show_default=False)],
    version: Annotated[int, typer.Argument(min=1, help="Version to build again.", show_default=False)],
    as_json: JSON = False,
) -> None:
    """Build a version again from its lineage alone, and fail if a metric differs by a bit.

    For example:

      lakeline reproduce NAME 3

    JSON: model, version, data_commit, metrics (all that were compared), notes (what is not as it was and made no difference), seconds.
    """
    import json

    from lakeline.reproduce import reproduce as build_again

    result = build_again(model, version)
    if as_json:
        typer.echo(json.dumps(result.to_dict()))
        return
    typer.echo(
        f"{model} version {version} is reproduced: {len(result.metrics)} metrics are the same, bit for bit ({result.seconds:.1f} s)."
    )
    for note in result.notes:
        typer.echo(f"Note: {note}")


def _show(found: list[VersionInfo]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("model", "", "stands", "rmse", "against", "gates", "data", "registered"):
        table.add_column(heading, justify="right" if heading in ("", "rmse", "against") else "left", no_wrap=heading != "stands")
    for info in found:
        when = datetime.fromtimestamp(info.created).astimezone().strftime("%Y-%m-%d")
        values = [f"{info.metrics[name]:.4f}" if name in info.metrics else "–" for name in ("rmse", "production_rmse")]
        table.add_row(
            info.name, str(info.version), ", ".join(info.aliases), *values, info.verdict or "not judged", info.data_commit[:_ID], when
        )
    console = Console(highlight=False)
    console.print(table)
    for info in [info for info in found if info.verdict == "held"][-1:]:
        console.print(f"\n{info.name} {info.version} was held: {' '.join(info.reasons)}", soft_wrap=True)
