"""`lakeline watch` and `lakeline demo`: runs that start by themselves."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.run import DATASET, JSON, LAKE

if TYPE_CHECKING:
    from pipelines.show import Console


def watch(
    dataset: DATASET,
    arrivals: Annotated[
        str | None, typer.Option("--arrivals", "-a", help="Arrivals to look for at the source as well, such as 2013-07..2013-12, or next.")
    ] = None,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 30.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, run what there is to run, and end.")] = False,
    lake: LAKE = None,
    as_json: JSON = False,
) -> None:
    """Train when new data arrives in the lake: one run for each commit, also for those that came while no watch ran.

    Where the model is served by this machine (`lakeline serve`), a move of the alias production is deployed, once for each move; what
    something other than the version's own fault keeps from an end is tried three times, and then every quarter of an hour.
    With --arrivals, the source is looked at as well, and what has arrived there is brought into the lake.
    With --json there is one object a run, a line each. Exit code 1 with --once if a run failed, or a deployment has come to no end.
    """
    from pipelines.show import Console
    from pipelines.watching import promoted, stuck, watching

    console, told = Console(as_json), None
    with watching(dataset) as seen:
        console.say(f"Watching {dataset}" + ("." if once else f", every {interval:g} s. Ctrl-C ends it."))
        while True:
            results = look(dataset, seen, arrivals, console)
            waits = stuck(promoted(dataset), seen)
            if waits and waits != told:
                console.rich.print(f"lakeline: {waits}", markup=False)
            told = waits
            if once:
                if not results and not waits:
                    console.say("Nothing new.")
                raise typer.Exit(1 if waits or any(result["status"] != "succeeded" for result in results) else 0)
            time.sleep(interval)


def look(dataset: str, seen: Any, arrivals: str | None, console: Console) -> list[dict[str, Any]]:
    """Look once, and run what there is to run; results as of `execute`."""
    from lakeline.data.arrivals import NEXT, expand
    from lakeline.events.alias import move_of
    from pipelines.deployments import deployment_of
    from pipelines.events import training_of
    from pipelines.execute import current_spec, execute, push_first
    from pipelines.show import show_result
    from pipelines.watching import arrived, promoted, stuck, untrained

    results: list[dict[str, Any]] = []

    def run(pipeline: str, arguments: dict[str, Any]) -> dict[str, Any]:
        result = execute(pipeline, arguments, console)
        show_result(result, console)
        results.append(result)
        return result

    if arrivals is not None:
        wanted = [NEXT] if arrivals == NEXT else expand(current_spec(dataset, console), arrivals)
        push_first(dataset, console)
        for arrival in arrived(dataset, wanted, seen):
            outcome = run("data", {"dataset": dataset, "arrivals": [arrival]})
            if not outcome["other_run"]:  # else it is looked for again: that run may fail
                seen.arrivals[arrival] = outcome["run_id"]
                seen.save()
    for commit in untrained(dataset, seen):
        outcome = run("training", training_of(dataset, commit))
        seen.runs[commit] = outcome["run_id"]
        seen.head = commit
        seen.save()
    at = promoted(dataset)
    if at is not None and at.production is not None and not stuck(at, seen):
        outcome, move = run("deployment", deployment_of(dataset, at.production)), move_of(at)
        seen.deployments[move] = outcome["run_id"]
        seen.tries[move], seen.ended[move] = seen.tries.get(move, 0) + 1, time.time()
        seen.save()
    return results


def demo(
    dataset: DATASET,
    lake: LAKE = None,
    as_json: JSON = False,
) -> None:
    """Show the whole loop on real data: arrivals, a first model, a new arrival that retrains it, a corrupted one that is refused.

    What is played is in the data set's demo.yaml. Playing it again does no work twice.
    """
    from pipelines.demo import play
    from pipelines.show import Console

    if not play(dataset, Console(as_json)):
        raise typer.Exit(1)
