"""The data pipeline: arrivals from their source to clean, checked rows on main."""

# pyright: basic, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# A component called in a pipeline is a task; to a type checker it is the function that it was made of.

from typing import Any, List

from kfp import dsl

from components.ingest.component import ingest
from components.publish.component import publish
from components.record.component import record
from components.transform.component import transform
from components.validate.component import validate
from pipelines.cluster import config, on_cluster


def deliver(dataset: Any, ingested: Any, trained_in: str = "") -> dsl.PipelineTask:
    """Check, transform, check again and publish what was ingested; the wiring shared with `continuous`, which then trains from it."""
    place = {"dataset": dataset, "branch": ingested.outputs["branch"], "arrivals": ingested.outputs["arrivals"]}
    raw = on_cluster(validate(commit=ingested.outputs["commit"], layer="raw", **place)).set_display_name("validate raw")
    transformed = on_cluster(transform(commit=ingested.outputs["commit"], **place)).after(raw)
    clean = on_cluster(validate(commit=transformed.outputs["commit"], layer="clean", **place)).set_display_name("validate clean")
    published = publish(
        commit=transformed.outputs["commit"],
        raw_report=raw.outputs["report"],
        clean_report=clean.outputs["report"],
        run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        trained_in=trained_in,
        **place,
    )
    return on_cluster(published)


@dsl.pipeline(name="data", pipeline_config=config())
def data(dataset: str, arrivals: List[str], most: int = 12) -> None:
    """Bring arrivals into the lake: ingest, validate, transform, validate, publish.

    The arrivals are written to a branch of their own, checked there as raw and as clean rows, and merged into main
    all together or not at all. Arrivals that the lake has already are left out; if it has all, nothing is done.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    arrivals
        Ids of the arrivals, such as ["2013-01", "2013-02"]; or ["next"]: those that follow the newest one in the lake, as far as
        the source has them.
    most
        How many arrivals "next" brings in at once, the oldest first; another run brings in the others.
    """
    ending = on_cluster(record(dataset=dataset, pipeline="data", run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER))
    with dsl.ExitHandler(ending, name="data"):
        ingested = on_cluster(ingest(dataset=dataset, arrivals=arrivals, run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, most=most))
        # kfp's local runner can branch on an output named "Output" only; another is skipped in silence.
        with dsl.If(ingested.outputs["Output"] == "new", name="new"):
            deliver(dataset, ingested)
