"""`lakeline promote`, `lakeline rollback` and `lakeline history`: which version serves, by hand, and who moved what when."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.run import JSON

if TYPE_CHECKING:
    from pipelines.show import Console

MODEL = Annotated[str, typer.Argument(help="Name of the model, which is that of its data set.", show_default=False)]
WHY = Annotated[str, typer.Option("--why", help="The reason, which is recorded.", show_default=False)]
WAIT = Annotated[
    bool, typer.Option("--wait", help="With KF_PIPELINES_ENDPOINT: follow the deployment to its end; exit code 1 if it fails.")
]
TIMEOUT = Annotated[float, typer.Option(min=0.1, help="--wait: minutes to wait at most.")]


def promote(
    model: MODEL,
    version: Annotated[int, typer.Argument(min=1, help="Version that is to be in production.", show_default=False)],
    why: WHY,
    wait: WAIT = False,
    timeout: TIMEOUT = 60.0,
    as_json: JSON = False,
) -> None:
    """Put a version into production because you say so: the gates on its metrics aren't asked.

    It must load and predict its own example as when it was made. What was in production becomes `previous`. Where the model is
    served by this machine (`lakeline serve`), the deployment pipeline runs at once; on a cluster, the registry's webhook starts it.

      lakeline promote NAME 7 --why "the regulator asks for it"

    JSON: model, version, replaced (the version that was in production, or null), deployment (what came of it, or null), test (version
    and weight of the challenger of an A/B test that goes on, or null).
    """
    from lakeline.registry import promote_by_hand
    from pipelines.served import standing_told
    from pipelines.show import Console

    console = Console(as_json)
    with standing_told(model):
        replaced = promote_by_hand(model, version, _reason(why))
        if replaced == version:
            console.say(f"{model} version {version} is in production already.")
        else:
            console.say(f"{model} version {version} is in production" + (f"; version {replaced} is `previous`." if replaced else "."))
        _follow(model, version, replaced, wait, timeout, console)


def rollback(model: MODEL, why: WHY, wait: WAIT = False, timeout: TIMEOUT = 60.0, as_json: JSON = False) -> None:
    """Bring the version that was in production before back there; the one that was becomes `previous`.

    What follows is what follows a promotion. Where somebody has rolled back already, nothing is changed: twice would be there and back.

      lakeline rollback NAME --why "complaints since Monday"

    JSON: model, version (that is in production now), replaced, deployment, test.
    """
    from lakeline.registry import roll_back
    from lakeline.registry.deployed import standing
    from pipelines.served import standing_told
    from pipelines.show import Console

    console = Console(as_json)
    with standing_told(model):
        replaced = standing(model).production
        version = roll_back(model, _reason(why))
        console.say(f"{model} version {version} is in production again" + (f"; version {replaced} is `previous`." if replaced else "."))
        _follow(model, version, replaced, wait, timeout, console)


def history(model: MODEL, as_json: JSON = False) -> None:
    """Show who moved which alias of a model when, from which version to which, and why; the latest last.

    JSON: moves (at, alias, origin, target, who, why, kind: rollback if a person took a version back, unrecorded if the alias was set in
    MLflow's own interface, made: false if the move was interrupted before it was made), production (where the alias stands).
    """
    from rich.table import Table

    from lakeline.registry.deployed import standing
    from lakeline.registry.moves import no_model, recorded
    from lakeline.registry.records import last_move, unmade
    from lakeline.report.words import moment
    from pipelines.show import Console

    found, production = recorded(model), standing(model).production
    if found is None:
        raise no_model(model)
    moves = found[2]
    never = unmade(moves, production, {int(version.version) for version in found[1]})
    if as_json:
        typer.echo(json.dumps({"moves": [move.to_dict() | {"made": move not in never} for move in moves], "production": production}))
        return
    console = Console()
    if not moves:
        console.say(f"No alias of {model} has been moved by Lakeline.")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("when", "alias", "from", "to", "who", "why"):
        table.add_column(heading, justify="right" if heading in ("from", "to") else "left", no_wrap=heading in ("when", "alias"))
    for move in moves:
        origin, target = ("–" if number is None else str(number) for number in (move.origin, move.target))
        table.add_row(moment(move.at)[0], move.alias, origin, target, move.who, ("(not made) " if move in never else "") + move.why)
    console.rich.print(table)
    last = last_move(moves)
    if last is not None and last not in never and last.target != production:
        stands = "stands nowhere" if production is None else f"stands at version {production}"
        console.say(f"The alias production {stands} now: it was moved in MLflow's own interface.")


def _reason(why: str) -> str:
    from pipelines.commands.run import refuse

    if not why.strip():
        refuse("--why is empty: say the reason, for those who ask later.")
    return why.strip()


def _follow(model: str, version: int, replaced: int | None, wait: bool, timeout: float, console: Console) -> None:
    """Deploy here, or follow the deployment there, and say what came of it."""
    deployment = _deployment(model, version, version != replaced, wait, timeout, console)
    test = _test(model)
    if test:
        console.say(
            f"Version {test['version']} still answers {test['weight']:.0%} of requests (A/B test). "
            f"To end that: lakeline experiment stop {model} --why ..."
        )
    if console.as_json:
        typer.echo(json.dumps({"model": model, "version": version, "replaced": replaced, "deployment": deployment, "test": test}))
    elif deployment is not None and deployment["status"] != "succeeded":
        console.rich.print(f"lakeline: {deployment['error']}", markup=False)
    if deployment is not None and deployment["status"] != "succeeded":
        raise typer.Exit(1)


def _test(model: str) -> dict[str, Any] | None:
    """Find the A/B test that a model is in, which no promotion ends."""
    from lakeline.registry.store import connect
    from lakeline.serving.experiment.state import load

    state = load(connect(), model)
    if state is None or not state.running or state.started is None:
        return None
    return {"version": state.challenger, "weight": state.weight}


def _deployment(model: str, version: int, moved: bool, wait: bool, timeout: float, console: Console) -> dict[str, Any] | None:
    from lakeline.serving.site import open_site
    from lakeline.settings import get_settings

    settings = get_settings()
    if settings.serving == "local" and open_site().serving(model):
        from pipelines.execute import execute

        return execute("deployment", {"dataset": model, "version": version}, console)
    if settings.pipelines_endpoint and wait:
        from pipelines.awaiting import await_deployment
        from pipelines.show import Steps

        with Steps(console) as steps:
            return await_deployment(model, version, timeout, steps)
    if settings.pipelines_endpoint and not moved:
        from lakeline.registry.deployed import standing

        does = f"It does not serve. To deploy it: lakeline submit deployment --dataset {model}" if standing(model).pending else "It serves."
        console.say(does)
    elif settings.pipelines_endpoint:
        console.say("The registry's webhook starts its deployment. To follow it: lakeline runs")
    else:
        console.say(f"To serve it on this machine: lakeline run deployment --dataset {model}")
    return None
