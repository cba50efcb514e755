"""`lakeline run`: run a pipeline on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from lakeline.data.spec import DatasetSpec

PIPELINE = Annotated[
    Literal["data", "training", "continuous", "deployment", "experiment"],
    typer.Argument(
        help="data: bring arrivals into the lake. training: train from a commit. continuous: both. "
        "deployment: serve what is in production. experiment: judge the A/B test that is under way.",
        show_default=False,
    ),
]


def default_dataset() -> str:
    """Name of the data set that a command is about, unless it is told."""
    from lakeline.settings import get_settings

    path = get_settings().datasets / "DEFAULT"
    if not path.is_file():
        refuse("which data set? Give --dataset; `lakeline dataset list` shows what there is.")
    return path.read_text(encoding="utf-8").strip()


DATASET = Annotated[
    str,
    typer.Option(
        "--dataset",
        "-d",
        envvar="LAKELINE_DATASET",
        default_factory=default_dataset,
        show_default="the one that datasets/DEFAULT names",
        help="Name of the data set (`lakeline dataset list`).",
    ),
]


def _choose_lake(value: str | None) -> None:
    """Have this process, and the steps that it starts, use a store."""
    if value is not None:
        import os

        from lakeline.settings import get_settings

        os.environ["LAKELINE_LAKE"] = value
        get_settings.cache_clear()


LAKE = Annotated[
    Literal["git", "lakefs"] | None,
    typer.Option(
        "--lake",
        callback=_choose_lake,
        help="Store of the lake: git (the default), or lakefs: the one that is configured, or a private one.",
    ),
]
ARRIVAL = Annotated[
    str | None, typer.Option("--arrival", "-a", help="Arrivals: an id, several (2013-01,2013-02), a range (2013-01..2013-06), or next.")
]
MOST = Annotated[
    int | None, typer.Option(min=1, help="--arrival next: bring in this many at once at most, the oldest first.", show_default="12")
]
REF = Annotated[str, typer.Option(help="training: branch, tag or commit of the lake to learn from.")]
LEARN_FROM = Annotated[str, typer.Option(help="Pattern of the arrivals to learn from, such as '2013-0*'.")]
TRIALS = Annotated[int, typer.Option(min=0, help="Trials of the search; 0: as the spec says.", show_default=False)]
VERSION = Annotated[
    int,
    typer.Option(
        "--version",
        min=0,
        help="deployment: version that must be in production; 0: whichever is. experiment: version to start a test of.",
        show_default=False,
    ),
]
WAIT = Annotated[
    bool,
    typer.Option("--wait", help="If another run is bringing the same arrivals in: wait for its end, then do what is left."),
]
JSON = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; all else on stderr.")]


def run(
    context: typer.Context,
    pipeline: PIPELINE,
    dataset: DATASET,
    arrival: ARRIVAL = None,
    most: MOST = None,
    ref: REF = "main",
    learn_from: LEARN_FROM = "*",
    trials: TRIALS = 0,
    version: VERSION = 0,
    lake: LAKE = None,
    wait: WAIT = False,
    as_json: JSON = False,
) -> None:
    """Run a pipeline on this machine.

    An arrival is named by its id, or by the data set's own parameters:

      lakeline run data --month 7

      lakeline run continuous --dataset NAME --year 2022 --month 1

      lakeline run training --dataset NAME --ref main

      lakeline run data --arrival next

    next is what follows the newest arrival in the lake, as far as the source has it: all of it at once, as one delivery, but no more
    than --most (12). Nothing is no failure.

    The last table says what came out; --json gives the same with the keys pipeline, dataset, status, error, data_commit,
    arrivals, rows_raw, rows_clean, trials, failed_trials, metrics, production_metrics, verdict, reasons, model, version, url, run_id,
    other_run (which is bringing the same arrivals in), seconds, report and log. What doesn't apply is null.
    """
    from lakeline.liveness import under_way
    from pipelines.execute import current_spec, execute, push_first
    from pipelines.local import SERVING_PIPELINES
    from pipelines.show import Console, show_result

    console = Console(as_json)
    if pipeline in SERVING_PIPELINES:
        arguments = serving_arguments(pipeline, dataset, version, arrival, context.args)
    else:
        arguments = pipeline_arguments(
            pipeline, dataset, arrival, context.args, learn_from, trials, lambda: current_spec(dataset, console), most
        )
    if pipeline == "training":
        arguments |= {"ref": ref, "retrain": True}
    elif pipeline not in SERVING_PIPELINES:
        push_first(dataset, console)
    result = execute(pipeline, arguments, console)
    while wait and result.get("other_run"):
        console.say(f"Waiting for run {result['other_run']}.")
        while under_way(result["other_run"]):
            time.sleep(1)
        result = execute(pipeline, arguments, console)
    show_result(result, console)
    if result["status"] != "succeeded":
        raise typer.Exit(1)


def serving_arguments(pipeline: str, dataset: str, version: int, arrival: str | None, extra: list[str]) -> dict[str, Any]:
    """Parameters of a pipeline that is about what serves; UsageError if the command line gives what means nothing to it."""
    if extra or arrival:
        refuse(f"{pipeline} is about a model that is trained already, so {' '.join(extra) or '--arrival'} means nothing to it.")
    return {"dataset": dataset, "version" if pipeline == "deployment" else "challenger": version}


def pipeline_arguments(
    pipeline: str,
    dataset: str,
    arrival: str | None,
    extra: list[str],
    learn_from: str,
    trials: int,
    spec: Callable[[], DatasetSpec],
    most: int | None = None,
) -> dict[str, Any]:
    """Parameters of a pipeline as the command line gives them, less `ref` and `retrain`; UsageError if they mean nothing to it.

    `spec` is asked for where arrivals are to be named.
    """
    from lakeline.data.arrivals import NEXT

    if pipeline == "training":
        if most is not None:
            refuse(f"training learns from a commit of the lake (--ref), so --most {most} means nothing to it.")
        if extra or arrival:
            refuse(f"training learns from a commit of the lake (--ref), so {' '.join(extra) or '--arrival'} means nothing to it.")
        return {"dataset": dataset, "arrivals": learn_from, "trials": trials}
    arguments: dict[str, Any] = {"dataset": dataset, "arrivals": arrivals_asked(spec(), arrival, extra)}
    if most is not None:
        if arguments["arrivals"] != [NEXT]:
            refuse(f"--most {most} is for --arrival next: arrivals that are named are all brought in.")
        arguments["most"] = most
    return arguments | {"learn_from": learn_from, "trials": trials} if pipeline == "continuous" else arguments


def arrivals_asked(spec: DatasetSpec, text: str | None, extra: list[str]) -> list[str]:
    """Arrivals that the command line asks for, by id or by the data set's own parameters; UsageError if neither is right."""
    from lakeline.data.arrivals import NEXT, arrival_id, expand, how_to_ask, open_parameters, option

    parameters = spec.arrival.parameters
    if text and extra:
        refuse(f"{spec.name}: give --arrival or {' '.join(extra)}, not both.")
    if text:
        return [NEXT] if text.strip() == NEXT else expand(spec, text)
    values: dict[str, str] = {}
    words = iter(extra)
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in parameters:
            refuse(f"{spec.name} has no option {word!r}. {how_to_ask(spec)}")
        values[name] = value if equals else next(words, "")
        if not values[name]:
            refuse(f"{spec.name}: --{name} needs a value, such as {option(spec, name)}.")
    if not values and open_parameters(spec):
        refuse(f"{spec.name}: which arrival? {how_to_ask(spec)}")
    return [arrival_id(spec, values)]


def refuse(message: str) -> None:
    """Say that what was asked for can't be asked for."""
    from lakeline.errors import UsageError

    raise UsageError(message)
