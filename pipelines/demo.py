"""The demo: a data set's real arrivals, played through the whole loop."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from lakeline.errors import UsageError
from lakeline.lake import open_lake
from lakeline.settings import get_settings
from pipelines.commands.watch import look
from pipelines.execute import current_spec, execute, push_first
from pipelines.show import Console, show_result, span
from pipelines.watching import watching

if TYPE_CHECKING:
    from lakeline.data.spec import DatasetSpec


def play(dataset: str, console: Console) -> bool:
    """Play the scenario of `datasets/<dataset>/demo.yaml`.

    Parameters
    ----------
    dataset
        Name of a data set with a demo.yaml: `first` and `next` name arrivals; `corrupt` an arrival, a column, a text
        to write there, and in which rows.
    console
        Where it is shown.

    Returns
    -------
    bool
        Whether all went as it should: the corrupted arrival was refused and left main as it was.
    """
    import yaml

    from lakeline.data.arrivals import expand

    path = get_settings().datasets / dataset / "demo.yaml"
    if not path.is_file():
        raise UsageError(f"{dataset} has no demo ({path} is missing). `lakeline demo` without --dataset plays one that has.")
    scene = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec = current_spec(dataset, console)
    push_first(dataset, console)
    ends: list[dict[str, Any]] = []

    _title(console, "1. The first arrivals, and a first model")
    ends.append(
        execute("continuous", {"dataset": dataset, "arrivals": expand(spec, scene["first"]), "learn_from": "*", "trials": 0}, console)
    )
    show_result(ends[-1], console)

    _title(console, "2. More data arrives; the watch notices, retrains, and the gates decide")
    if ends[-1]["status"] == "succeeded":
        ends.append(execute("data", {"dataset": dataset, "arrivals": expand(spec, scene["next"])}, console))
        show_result(ends[-1], console)
        with watching(dataset) as seen:
            ends += look(dataset, seen, None, console) or [_nothing_new(console)]

    _title(console, "3. A corrupted arrival is refused, and main stays as it is")
    lake = open_lake(dataset)
    before = lake.resolve("main")
    refused = _arrive_corrupted(dataset, spec, scene["corrupt"], console)
    show_result(refused, console)
    unchanged = lake.resolve("main") == before
    console.say(f"main is {'unchanged' if unchanged else 'CHANGED'}: {before[:10]}")

    good = all(end["status"] == "succeeded" for end in ends if end) and refused["status"] == "failed" and unchanged
    _end(dataset, [*(end for end in ends if end), refused], console)
    return good


def _nothing_new(console: Console) -> dict[str, Any]:
    console.say("The watch found nothing new: every commit has its run.")
    return {}


def _title(console: Console, text: str) -> None:
    console.say()
    console.rich.rule(f"[bold]{text}", align="left")


def _arrive_corrupted(dataset: str, spec: DatasetSpec, scene: dict[str, Any], console: Console) -> dict[str, Any]:
    """Bring in a copy of an arrival with text where numbers belong, as a broken export would have it."""
    from lakeline.data.arrivals import arrival_parameters

    folder = get_settings().home / "demo"
    local = spec.source.local
    if local is None:
        raise UsageError(f"{dataset}: its demo needs source.local in dataset.yaml, for the corrupted copy to be found.")
    copy = folder / local.format_map(arrival_parameters(spec, scene["arrival"]))
    copy.parent.mkdir(parents=True, exist_ok=True)
    _write_corrupted(spec, scene, copy)
    kept = os.environ.get("LAKELINE_DATA")
    os.environ["LAKELINE_DATA"] = str(folder.resolve())
    try:
        return execute("data", {"dataset": dataset, "arrivals": [scene["arrival"]]}, console)
    finally:
        if kept is None:
            del os.environ["LAKELINE_DATA"]
        else:
            os.environ["LAKELINE_DATA"] = kept


def _write_corrupted(spec: DatasetSpec, scene: dict[str, Any], to: Path) -> None:
    import tempfile

    import duckdb

    from lakeline.data.source import fetch

    with tempfile.TemporaryDirectory() as folder:
        source = fetch(spec, scene["arrival"], Path(folder))
        with duckdb.connect() as database:
            database.execute("CREATE TABLE rows AS SELECT * FROM read_csv(?, all_varchar = true)", [str(source.path)])
            column, every = scene["column"].replace('"', '""'), int(scene["every"])
            database.execute(f'UPDATE rows SET "{column}" = ? WHERE rowid % {every} = 0', [scene["value"]])  # noqa: S608 (our own file)
            database.table("rows").write_csv(str(to))


def _end(dataset: str, ends: list[dict[str, Any]], console: Console) -> None:
    from lakeline.registry import models

    _title(console, "What there is now")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("run", "arrivals", "rows", "rmse / production", "outcome"):
        table.add_column(heading, overflow="fold")
    for end in ends:
        metrics, production = end["metrics"] or {}, end["production_metrics"] or {}
        name = next(iter(metrics), None)
        against = (
            f"{metrics[name]:.3f} / {production[name]:.3f}" if name and name in production else (f"{metrics[name]:.3f} / –" if name else "")
        )
        outcome = end["verdict"] or ("refused" if end["status"] == "failed" else end["message"] or "published")
        rows = f"{end['rows_clean']:,}" if end["rows_clean"] else ""
        table.add_row(end["run_id"], span(end["arrivals"]), rows, against, outcome)
    console.rich.print(table)
    console.say()
    for version in models(dataset):
        aliases = ", ".join(version.aliases)
        console.say(f"{dataset} version {version.version}{f'  [bold]{aliases}[/bold]' if aliases else ''}")
    report = next((end["report"] for end in reversed(ends) if end["report"] and end["verdict"]), None)
    if report:
        console.say(f"\nThe report: {report}")
    console.say("Next: lakeline report, lakeline models, lakeline ui, lakeline lake log --help")
