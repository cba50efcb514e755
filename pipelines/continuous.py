"""The continuous pipeline: arrivals into the lake, then a model from the commit that has them."""

# pyright: basic, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# A component called in a pipeline is a task; to a type checker it is the function that it was made of.

from typing import List

from kfp import dsl

from components.ingest.component import ingest
from components.record.component import record
from components.resolve.component import resolve
from pipelines.cluster import config, on_cluster
from pipelines.data import deliver
from pipelines.training import learn


@dsl.pipeline(name="continuous", pipeline_config=config())
def continuous(dataset: str, arrivals: List[str], learn_from: str = "*", trials: int = 0, most: int = 12) -> None:
    """Bring arrivals into the lake and train from the commit that has them, in one run.

    If the lake has the arrivals already, the head of main is trained from, unless a model was registered from it before.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    arrivals
        Ids of the arrivals, such as ["2013-01", "2013-02"]; or ["next"]: those that follow the newest one in the lake, as far as
        the source has them.
    learn_from
        Which arrivals to learn from, as a pattern such as "2013-0*"; "*" is all.
    trials
        Number of trials of the search; 0 takes what the spec says.
    most
        How many arrivals "next" brings in at once, the oldest first; another run brings in the others.
    """
    ending = on_cluster(record(dataset=dataset, pipeline="continuous", run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER))
    with dsl.ExitHandler(ending, name="continuous"):
        ingested = on_cluster(ingest(dataset=dataset, arrivals=arrivals, run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER, most=most))
        with dsl.If(ingested.outputs["Output"] == "new", name="new"):
            published = deliver(dataset, ingested, trained_in=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
        with dsl.Else(name="repeated"):
            known = resolve(dataset=dataset, ref=ingested.outputs["commit"], arrivals=learn_from, trials=trials, retrain=False)
            on_cluster(known).set_display_name("find")
        commit = dsl.OneOf(published.outputs["Output"], known.outputs["commit"])
        resolved = on_cluster(resolve(dataset=dataset, ref=commit, arrivals=learn_from, trials=trials, retrain=False))
        with dsl.If(resolved.outputs["Output"] == "train", name="train"):
            learn(dataset, learn_from, resolved)
