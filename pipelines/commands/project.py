"""`lakeline compile` and `lakeline doctor`: the suite's own state."""

from __future__ import annotations

from typing import Annotated

import typer


def compile_all(
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a file isn't current.")] = False,
) -> None:
    """Compile every component and pipeline to YAML, and write the components' READMEs.

    The image that steps run in is LAKELINE_STEPS_IMAGE, where that is set.
    """
    from pipelines.compile import ROOT, generate, stale

    files = generate()
    old = stale(files)
    if check:
        for path in old:
            typer.echo(f"not current: {path.relative_to(ROOT)}", err=True)
        if old:
            typer.echo("lakeline: run `lakeline compile` and commit what it writes.", err=True)
            raise typer.Exit(1)
        typer.echo(f"{len(files)} files are current.")
        return
    for path in old:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], encoding="utf-8")
    typer.echo(f"Wrote {len(old)} of {len(files)} files; the others were current.")


def doctor(
    cluster: Annotated[bool, typer.Option("--cluster", help="Look at the cluster that kubectl speaks to instead.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout; all else on stderr.")] = False,
) -> None:
    """Check what Lakeline needs here, and say what to do where it isn't there. Exit code 1 if something fails."""
    import json

    from rich.table import Table

    from pipelines.diagnose import diagnose, diagnose_cluster
    from pipelines.show import Console

    findings = diagnose_cluster() if cluster else diagnose()
    good = all(finding.state != "fails" for finding in findings)
    if as_json:
        typer.echo(json.dumps({"ok": good, "findings": [finding.__dict__ for finding in findings]}))
    else:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        colours = {"good": "green", "note": "yellow", "fails": "red"}
        for finding in findings:
            table.add_row(f"[{colours[finding.state]}]{finding.state}[/]", finding.what, finding.said)
        Console().rich.print(table)
    if not good:
        raise typer.Exit(1)
