"""`lakeline cluster`: Lakeline's services on a Kubernetes cluster."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.clusters.deploy import Deployed
    from pipelines.clusters.secrets import Outcome
    from pipelines.show import Console

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Lakeline's services on a Kubernetes cluster: Kubeflow Pipelines, lakeFS, MLflow, Argo Events.

    The cluster is the one that kubectl speaks to (KUBECONFIG, kubectl config use-context). docs/DEPLOYMENT.md leads there from nothing.
    """,
)

OVERLAY = Annotated[str, typer.Option("--overlay", "-o", help="Folder of kubernetes/overlays: kind (all in the cluster) or production.")]
JSON = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; all else on stderr.")]
MINUTES = Annotated[float, typer.Option("--timeout", min=0.1, help="Minutes that everything may take to become healthy.")]
YES = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask whether this is the right cluster.")]


@app.command()
def deploy(overlay: OVERLAY = "kind", timeout: MINUTES = 20, yes: YES = False, as_json: JSON = False) -> None:
    """Deploy everything, or bring it up to date; wait until it is healthy; ask each service what a step will ask it.

    Run again, it changes nothing. KFP_MANIFESTS and ARGO_EVENTS_MANIFESTS name other manifests of Kubeflow Pipelines and Argo
    Events than the pinned ones; empty, they leave out what the cluster has. LAKELINE_STEPS_IMAGE names another image of the steps,
    which the cluster then keeps.

    JSON: context, changed (kind/namespace/name), secrets, workloads, answers, seconds.
    """
    from pipelines.clusters.kubectl import context
    from pipelines.show import Console

    console = Console(as_json)
    cluster = context()
    console.say(f"cluster {cluster.name} ({cluster.server}), overlay {overlay}")
    if sys.stdin.isatty() and not yes and not typer.confirm("Deploy there?", err=as_json):
        raise typer.Exit(1)
    _deploy(console, cluster.name, overlay, timeout)


@app.command()
def secrets(
    overlay: OVERLAY = "kind",
    rotate: Annotated[
        str | None, typer.Option(metavar="NAME", help="Make the values of this Secret anew, and restart who reads them.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Make the Secrets that are missing, and add missing keys. Values are random, and seen by nobody.

    What is there stays as it is, unless --rotate names it:

      lakeline cluster secrets --rotate postgres

    JSON: secrets (name, namespace, did: made, kept, changed or left out; keys; why), restarted.
    """
    from pipelines.clusters import secrets as made
    from pipelines.clusters.kubectl import context
    from pipelines.show import Console

    console = Console(as_json)
    console.say(f"cluster {context().name}")
    outcomes = made.ensure(overlay, rotate)
    if not as_json:
        _show_secrets(console, outcomes)
    restarted = made.restart(outcomes) if rotate else []
    if restarted:
        console.say(f"restarted: {', '.join(restarted)}")
    if as_json:
        typer.echo(json.dumps({"secrets": [asdict(outcome) for outcome in outcomes], "restarted": restarted}))


@app.command()
def check(as_json: JSON = False) -> None:
    """Ask each service what a step will ask it, from where a step runs. Exit code 1 if an answer is not good.

    JSON: answers (what, good, said).
    """
    from pipelines.clusters.deploy import smoke
    from pipelines.show import Console

    answers = smoke(Console(as_json).say)
    if as_json:
        typer.echo(json.dumps({"answers": answers}))


@app.command()
def urls(as_json: JSON = False) -> None:
    """How to reach each service from this machine. JSON: places (what, url, forward, user, login)."""
    from pipelines.clusters.deploy import places
    from pipelines.show import Console

    if as_json:
        typer.echo(json.dumps({"places": [asdict(place) for place in places()]}))
    else:
        _show_places(Console())


@app.command(context_settings={"ignore_unknown_options": True})
def connect(
    command: Annotated[list[str] | None, typer.Argument(help="Command to run; a shell if there is none.", show_default=False)] = None,
) -> None:
    """Run a command, or a shell, that uses the cluster from here: ports of this machine lead to its services while it runs.

      lakeline cluster connect lakeline submit training --dataset NAME --wait

      lakeline cluster connect

    The command finds lakeFS, MLflow, Kubeflow Pipelines and the webhook of events in its environment, with what they ask for.
    Its exit code is this one's.
    """
    import os

    from pipelines.clusters.connection import run_connected

    if not command:
        typer.echo("A shell that uses the cluster; `exit` ends it. KF_PIPELINES_UI_ENDPOINT, MLFLOW_TRACKING_URI and", err=True)
        typer.echo("LAKECTL_SERVER_ENDPOINT_URL are also what a browser opens.", err=True)
    raise typer.Exit(run_connected(command or [os.environ.get("SHELL", "/bin/sh")]))


@app.command()
def up(overlay: OVERLAY = "kind", timeout: MINUTES = 30, as_json: JSON = False) -> None:
    """Have a cluster on this machine, made by kind, with everything in it. Run again, it changes nothing.

    JSON: as of `deploy`.
    """
    from pipelines.clusters import kind, manifests
    from pipelines.show import Console

    console = Console(as_json)
    console.say(f"cluster {kind.CONTEXT}: {'made' if kind.up() else 'is there'}")
    images = sorted(image for image in manifests.images(manifests.overlay(overlay)) if image.startswith("ghcr.io/lakeline/"))
    for image in kind.load(images):
        console.say(f"image {image}: brought from this machine")
    _deploy(console, kind.CONTEXT, overlay, timeout)


@app.command()
def down() -> None:
    """Delete the cluster that `up` made, with all that is in it."""
    from pipelines.clusters import kind

    typer.echo(f"cluster {kind.CONTEXT}: {'deleted' if kind.down() else 'there was none'}")


def _deploy(console: Console, name: str, overlay: str, timeout: float) -> None:
    from pipelines.clusters.deploy import deploy as bring

    began = time.monotonic()

    def say(text: str) -> None:
        console.rich.print(f"[dim]{time.monotonic() - began:5.0f} s[/dim]  {text}", markup=True)

    deployed: Deployed = bring(overlay, timeout * 60, say)
    seconds = round(time.monotonic() - began, 1)
    if console.as_json:
        typer.echo(json.dumps({"context": name, **asdict(deployed), "seconds": seconds}))
        return
    changed = f"{len(deployed.changed)} objects changed" if deployed.changed else "nothing had to be changed"
    console.say(f"[bold green]healthy[/bold green]: {len(deployed.workloads)} workloads, {changed}, {seconds:.0f} s\n")
    _show_places(console)


def _show_secrets(console: Console, outcomes: list[Outcome]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in ("secret", "namespace", "", "keys"):
        table.add_column(title, overflow="fold")
    for outcome in outcomes:
        table.add_row(outcome.name, outcome.namespace, outcome.did, ", ".join(outcome.keys) or outcome.why)
    console.rich.print(table)


def _show_places(console: Console) -> None:
    from pipelines.clusters.deploy import places

    for place in places():
        user = f"\n  user:     {place.user}" if place.user else ""
        console.rich.print(f"{place.what}: {place.url} after\n    {place.forward}{user}\n  password: {place.login}", markup=False)
