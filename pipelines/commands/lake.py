"""`lakeline lake`: look at the versions of a data set, and get files out of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from lakeline.lake import Commit, CommitId, Lake

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Look at the lake: commits, files, what changed, what failed.

    A REF is a branch (main, ingest-2013-07), a tag (DATASET/2013-07, model/3) or a commit id, which may be shortened;
    main~1 is the commit before main's last.
    """,
)

DATASET = Annotated[str, typer.Argument(help="Name of the data set.", show_default=False)]
REF = Annotated[str, typer.Argument(help="Branch, tag or commit.", show_default=False)]
JSON = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; all else on stderr.")]

_ID = 12
_REPORTS = "_lakeline/reports/"


@app.command()
def log(
    dataset: DATASET,
    ref: Annotated[str, typer.Option("--ref", "-r", help="Branch, tag or commit to start from.")] = "main",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most commits to show.")] = 20,
    as_json: JSON = False,
) -> None:
    """Commits of a data set, newest first.

    For example:

      lakeline lake log DATASET

      lakeline lake log DATASET --ref ingest-2013-07 --json

    JSON: dataset, ref, commits (id, parents, message, author, time, metadata).
    """
    from lakeline.lake import open_lake

    commits = open_lake(dataset).log(ref, limit)
    if as_json:
        _print({"dataset": dataset, "ref": ref, "commits": [_commit(commit) for commit in commits]})
        return
    table = _table("commit", "when", "what", "data")
    for commit in commits:
        table.add_row(commit.id[:_ID], _when(commit), commit.message.partition("\n")[0], _with(commit))
    _show(table)


@app.command()
def show(dataset: DATASET, ref: REF, as_json: JSON = False) -> None:
    """Show a commit: its metadata, its files, and which checks failed where an arrival was refused.

    For example:

      lakeline lake show DATASET main

      lakeline lake show DATASET ingest-2013-07

      lakeline lake show DATASET model/3 --json

    JSON: dataset, ref, url, commit (id, parents, message, author, time, metadata), files (path, size, digest),
    reports (validation reports that main doesn't have, by arrival and layer).
    """
    from lakeline.lake import open_lake

    lake = open_lake(dataset)
    commit = lake.log(ref, 1)[0]
    files = lake.ls(commit.id)
    reports = _reports(lake, commit.id)
    if as_json:
        entries = [{"path": entry.path, "size": entry.size, "digest": entry.digest} for entry in files]
        _print({"dataset": dataset, "ref": ref, "url": lake.url, "commit": _commit(commit), "files": entries, "reports": reports})
        return
    facts = _table("", "")
    facts.show_header = False
    said = [("commit", commit.id), ("parents", " ".join(parent[:_ID] for parent in commit.parents)), ("by", commit.author)]
    for label, text in [*said, ("when", _when(commit)), ("what", commit.message), *commit.metadata.items(), ("in", lake.url)]:
        facts.add_row(label, text)
    _show(facts)
    listing = _table("file", "bytes")
    listing.columns[1].justify = "right"
    for entry in files:
        listing.add_row(entry.path, f"{entry.size:,}")
    _show(listing)
    _show_failures(reports)


@app.command()
def diff(
    dataset: DATASET,
    base: Annotated[str, typer.Argument(metavar="A", help="Branch, tag or commit.", show_default=False)],
    other: Annotated[str, typer.Argument(metavar="B", help="Branch, tag or commit.", show_default=False)],
    as_json: JSON = False,
) -> None:
    """Files that differ between two commits: what B has that A hasn't is added.

    For example:

      lakeline lake diff DATASET main~1 main

      lakeline lake diff DATASET main ingest-2013-07 --json

    JSON: dataset, base and other (commit ids), changes (path, kind: added, changed or removed).
    """
    from lakeline.lake import open_lake

    lake = open_lake(dataset)
    left, right = lake.resolve(base), lake.resolve(other)
    changes = lake.diff(left, right)
    if as_json:
        listed = [{"path": change.path, "kind": change.kind} for change in changes]
        _print({"dataset": dataset, "base": left, "other": right, "changes": listed})
        return
    table = _table("change", "file")
    for change in changes:
        table.add_row(change.kind, change.path)
    if changes:
        _show(table)
    else:
        typer.echo("no file differs")


@app.command()
def get(
    dataset: DATASET,
    ref: REF,
    path: Annotated[str, typer.Argument(help="Path of the file in the lake (`lakeline lake show` lists them).", show_default=False)],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write.", show_default="standard output")] = None,
    as_json: JSON = False,
) -> None:
    """Get a file as it was at a commit.

    For example:

      lakeline lake get DATASET main clean/2013-07.parquet -o july.parquet

      lakeline lake get DATASET model/3 _lakeline/dataset.yaml

    JSON (with -o): dataset, ref, commit, path, file, size.
    """
    import sys

    from lakeline.errors import UsageError
    from lakeline.lake import open_lake

    if output is None and as_json:
        raise UsageError("--json says where the file went. Give -o FILE as well.")
    if output is None and path.endswith(".parquet") and sys.stdout.isatty():
        raise UsageError(f"{path} is no text to show. Give -o FILE, or send the output elsewhere.")
    lake = open_lake(dataset)
    commit = lake.resolve(ref)
    if output is None:
        sys.stdout.buffer.write(lake.read(commit, path))
        return
    target = output / Path(path).name if output.is_dir() else output
    lake.download(commit, path, target)
    size = target.stat().st_size
    if as_json:
        _print({"dataset": dataset, "ref": ref, "commit": commit, "path": path, "file": str(target), "size": size})
    else:
        typer.echo(f"{target}: {size:,} bytes, {path} at {commit[:_ID]}")


@app.command()
def branches(dataset: DATASET, as_json: JSON = False) -> None:
    """Branches: main, which holds what was published, and one for each delivery that is under way or was refused.

    JSON: dataset, branches (name, head).
    """
    from lakeline.lake import open_lake

    found = [(branch.name, branch.head) for branch in open_lake(dataset).branches()]
    if as_json:
        _print({"dataset": dataset, "branches": [{"name": name, "head": head} for name, head in found]})
    else:
        _show_refs("branch", found)


@app.command()
def tags(dataset: DATASET, as_json: JSON = False) -> None:
    """Tags: one for each arrival (DATASET/ARRIVAL), one for the data of each model version (model/VERSION).

    Where events start runs, also one for each delivery whose run was taken on (run/training/COMMIT).

    JSON: dataset, tags (name, commit).
    """
    from lakeline.lake import open_lake

    found = list(open_lake(dataset).tags().items())
    if as_json:
        _print({"dataset": dataset, "tags": [{"name": name, "commit": commit} for name, commit in found]})
    else:
        _show_refs("tag", found)


@app.command()
def init(dataset: DATASET, as_json: JSON = False) -> None:
    """Have lakeFS tell the cluster's event source (LAKELINE_EVENTS_URL, or LAKELINE_HOOK_URL) of each commit on a data set's main.

    The webhook is a file of the repository, _lakefs_actions/lakeline.yaml; its secret is not in it. Doing it again changes
    nothing, unless the address has changed. `lakeline dataset push` does it for a new data set where the address is set.

    JSON: dataset, commit, changed.
    """
    from lakeline.events import hook

    commit, changed = hook.install(dataset)
    if as_json:
        _print({"dataset": dataset, "commit": commit, "changed": changed})
    elif changed:
        typer.echo(f"{dataset}: lakeFS tells the event source of each commit on main from now on (commit {commit[:_ID]}).")
    else:
        typer.echo(f"{dataset}: lakeFS tells the event source of each commit on main already (main is at {commit[:_ID]}).")


def _reports(lake: Lake, commit: CommitId) -> dict[str, Any]:
    """Validation reports of arrivals that main doesn't have, or not so: those of a delivery on its branch."""
    import json

    published = {entry.path: entry.digest for entry in lake.ls("main", _REPORTS)}
    own = [entry.path for entry in lake.ls(commit, _REPORTS) if published.get(entry.path) != entry.digest]
    return {Path(path).stem: json.loads(lake.read(commit, path)) for path in own}


def _show_failures(reports: dict[str, Any]) -> None:
    table = _table("arrival", "layer", "check that failed", "rows", "first")
    for arrival, layers in reports.items():
        for layer, report in layers.items():
            for check in report["checks"]:
                if check["failed"] or check.get("problem"):
                    first = next((f"row {sample['row']:,}: {sample['value']!r}" for sample in check["samples"]), "")
                    counts = f"{check['failed']:,} of {report['rows']:,}" if check["failed"] else ""
                    table.add_row(arrival, layer, check.get("problem") or check["check"], counts, first)
    if table.rows:
        _show(table)


def _show_refs(kind: str, found: list[tuple[str, CommitId]]) -> None:
    table = _table(kind, "commit")
    for name, commit in found:
        table.add_row(name, commit[:_ID])
    if found:
        _show(table)
    else:
        typer.echo(f"no {kind} yet")


def _commit(commit: Commit) -> dict[str, Any]:
    content = {"id": commit.id, "parents": list(commit.parents), "message": commit.message, "author": commit.author}
    return content | {"time": commit.time.isoformat(), "metadata": dict(commit.metadata)}


def _when(commit: Commit) -> str:
    return commit.time.astimezone().strftime("%Y-%m-%d %H:%M")


def _with(commit: Commit) -> str:
    """Pick what of a commit's metadata says most in a line."""
    rows = [f"{int(count):,} {layer}" for layer in ("raw", "clean") if (count := commit.metadata.get(f"rows_{layer}", "")).isdecimal()]
    return ", ".join([*filter(None, [commit.metadata.get("arrivals")]), *([f"{' → '.join(rows)} rows"] if rows else [])])


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _show(table: Table) -> None:
    from pipelines.show import Console

    console = Console()
    console.rich.print(table, markup=False)
    console.say()


def _print(content: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps(content))
