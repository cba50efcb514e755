"""`lakeline dataset`: define data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lakeline.data.specfile import Definition

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Define data sets: where rows come from, what they must be, what is learned from them.

    A data set is a folder with dataset.yaml and transform.sql. To make one: [bold]lakeline dataset new NAME[/bold], edit the
    two files until [bold]lakeline dataset check NAME[/bold] is content, then [bold]lakeline dataset push NAME[/bold].
    """,
)

NAME = Annotated[str, typer.Argument(help="Name of the data set.", show_default=False)]
JSON = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; all else on stderr.")]


@app.command("list")
def list_all(as_json: JSON = False) -> None:
    """List the data sets that are defined here, and those that the lake has.

    JSON: datasets (name, title, folder: whether it is defined here; lake: whether the lake has it; mistakes: how many).
    """
    from lakeline.data.mistakes import SpecMistakes
    from lakeline.data.specfile import dataset_names, local_spec
    from lakeline.errors import SpecError
    from lakeline.lake import list_lakes

    here, there = dataset_names(), list_lakes()
    rows: list[dict[str, Any]] = []
    for name in sorted({*here, *there}):
        title, mistakes = "", 0
        try:
            title = local_spec(name).spec.title if name in here else ""
        except SpecError as error:
            mistakes = len(error.mistakes) if isinstance(error, SpecMistakes) else 1
        rows.append({"name": name, "title": title, "folder": name in here, "lake": name in there, "mistakes": mistakes})
    if as_json:
        _print({"datasets": rows})
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("data set", "", "in the lake"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        said = f"[red]{row['mistakes']} mistakes: lakeline dataset check {row['name']}[/red]" if row["mistakes"] else row["title"]
        table.add_row(row["name"], said if row["folder"] else "(defined elsewhere)", "yes" if row["lake"] else "")
    Console(highlight=False).print(table if rows else "There are no data sets yet. Make one: lakeline dataset new NAME")


@app.command()
def new(name: NAME) -> None:
    """Make the folder of a new data set: a working skeleton, which its comments explain."""
    from lakeline.data.skeleton import make

    folder = make(name)
    typer.echo(f"{folder} has dataset.yaml and transform.sql. Edit them, then: lakeline dataset check {name}")


@app.command()
def check(name: NAME, as_json: JSON = False) -> None:
    """Check a data set's definition: every mistake with its line.

    The transform is run on an empty table of the raw columns, so that a wrong name in the SQL is found as well.

    JSON: dataset, ok, mistakes (file, line, field, text), spec_digest.
    """
    from lakeline.data import specfile
    from lakeline.data.mistakes import SpecMistakes

    try:
        definition = specfile.check(name)
    except SpecMistakes as error:
        if not as_json:
            raise
        _print({"dataset": name, "ok": False, "mistakes": error.to_dict(), "spec_digest": None})
        raise typer.Exit(1) from None
    if as_json:
        _print({"dataset": name, "ok": True, "mistakes": [], "spec_digest": definition.digest})
        return
    typer.echo(f"{name}: OK\n{_summary(definition)}")


@app.command()
def push(name: NAME, as_json: JSON = False) -> None:
    """Commit a data set's definition to its repository in the lake, from where every run takes it.

    JSON: dataset, commit, changed, spec_digest.
    """
    from lakeline.data import specfile

    commit, changed = specfile.push(name)
    if as_json:
        _print({"dataset": name, "commit": commit, "changed": changed, "spec_digest": specfile.local_spec(name).digest})
    elif changed:
        typer.echo(f"{name}: the lake has this definition now (commit {commit[:12]} of main).")
    else:
        typer.echo(f"{name}: the lake has this definition already (main is at {commit[:12]}).")


@app.command()
def schema(
    to: Annotated[Path | None, typer.Option("--write", "-w", help="File to write it to.", dir_okay=False, show_default=False)] = None,
) -> None:
    """Print the JSON Schema of dataset.yaml, by which editors complete and check it."""
    from lakeline.data.specfile import json_schema_text

    if to is None:
        typer.echo(json_schema_text(), nl=False)
    else:
        to.write_text(json_schema_text(), encoding="utf-8")


def _summary(definition: Definition) -> str:
    from lakeline.data.arrivals import open_parameters

    spec = definition.spec
    options = " ".join(f"--{name}" for name in open_parameters(spec)) or "the only one"
    split = "at random" if spec.split.kind == "random" else f"the latest by {spec.split.column}"
    features = f"{len(spec.features.categorical)} categorical and {len(spec.features.numeric)} numeric features"
    lines = {
        "what": spec.title,
        "from": spec.source.url if spec.source.kind == "url" else f"{spec.source.path} of the Python package {spec.source.package}",
        "arrivals": f"{spec.arrival.id} ({options})",
        "columns": f"{len(spec.raw.columns)} raw, {len(spec.clean.columns)} clean",
        "learns": f"{spec.target.column}{f' ({spec.target.unit})' if spec.target.unit else ''} from {features}",
        "held out": f"{spec.split.holdout:.0%} of the rows, {split}",
        "search": f"{spec.search.trials} trials of {', '.join(dict.fromkeys(one.name for one in spec.search.estimators))}",
    }
    return "\n".join(f"  {key:<9} {value}" for key, value in lines.items())


def _print(content: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(content, indent=2))
