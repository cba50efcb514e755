"""The training pipeline: a commit of clean rows to a registered and, if the gates hold, promoted model."""

# pyright: basic, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# A component called in a pipeline is a task; to a type checker it is the function that it was made of.

from typing import Any

from kfp import dsl

from components.evaluate.component import evaluate
from components.fit.component import fit
from components.promote.component import promote
from components.record.component import record
from components.register.component import register
from components.resolve.component import resolve
from components.search.component import search
from components.split.component import split
from pipelines.cluster import config, on_cluster


def learn(dataset: Any, arrivals: Any, resolved: Any) -> None:
    """Train, score, register and promote from a pinned commit; the wiring shared with `continuous`."""
    pinned = {"dataset": dataset, "commit": resolved.outputs["commit"]}
    rows = on_cluster(split(arrivals=arrivals, **pinned))
    with dsl.ParallelFor(resolved.outputs["trials"], name="trials") as trial:
        tried = on_cluster(search(trial=trial, train=rows.outputs["train"], **pinned))
    fitted = on_cluster(fit(train=rows.outputs["train"], results=dsl.Collected(tried.output), **pinned))
    evaluated = on_cluster(evaluate(model=fitted.outputs["model"], holdout=rows.outputs["holdout"], **pinned))
    registered = register(
        train=rows.outputs["train"],
        model=fitted.outputs["model"],
        evaluation=evaluated.outputs["evaluation"],
        results=dsl.Collected(tried.output),
        run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        started=resolved.outputs["started"],
        **pinned,
    )
    on_cluster(registered)
    promoted = promote(
        version=registered.output,
        evaluation=evaluated.outputs["evaluation"],
        results=dsl.Collected(tried.output),
        best=fitted.outputs["Output"],
        run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        **pinned,
    )
    on_cluster(promoted)


@dsl.pipeline(name="training", pipeline_config=config())
def training(dataset: str, ref: str = "main", arrivals: str = "*", trials: int = 0, retrain: bool = True) -> None:
    """Train from a commit of the lake: split, search, fit, evaluate, register, promote.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    ref
        Branch, tag or commit to learn from; it is pinned to a commit once, at the start.
    arrivals
        Which arrivals to learn from, as a pattern such as "2013-0*"; "*" is all.
    trials
        Number of trials of the search; 0 takes what the spec says.
    retrain
        Train also if a model was registered from this commit before.
    """
    ending = on_cluster(record(dataset=dataset, pipeline="training", run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER))
    with dsl.ExitHandler(ending, name="training"):
        resolved = on_cluster(resolve(dataset=dataset, ref=ref, arrivals=arrivals, trials=trials, retrain=retrain))
        with dsl.If(resolved.outputs["Output"] == "train", name="train"):
            learn(dataset, arrivals, resolved)
