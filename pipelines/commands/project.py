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
        path.write_text(files[path])
    typer.echo(f"Wrote {len(old)} of {len(files)} files; the others were current.")
