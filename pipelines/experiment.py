"""The experiment pipeline: an A/B test is judged, and its winner promoted or the test ended when there is enough to tell."""

# pyright: basic, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# A component called in a pipeline is a task; to a type checker it is the function that it was made of.

from kfp import dsl

from components.assess_experiment.component import assess_experiment
from components.conclude_experiment.component import conclude_experiment
from components.record.component import record
from components.start_experiment.component import start_experiment
from pipelines.cluster import config, on_cluster


@dsl.pipeline(name="experiment", pipeline_config=config())
def experiment(dataset: str, challenger: int = 0) -> None:
    """Judge the A/B test that a model is in, and conclude it if there is enough to tell: promote the winner, or end the test.

    Parameters
    ----------
    dataset
        Name of the data set, which is its model's name.
    challenger
        Version to start a test of, if none of it is under way; 0: none.
    """
    ending = on_cluster(record(dataset=dataset, pipeline="experiment", run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER))
    with dsl.ExitHandler(ending, name="experiment"):
        assessed = on_cluster(assess_experiment(dataset=dataset, challenger=challenger, run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER))
        with dsl.If(assessed.outputs["Output"] == "start", name="start"):
            on_cluster(start_experiment(dataset=dataset, version=challenger, run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER))
        found = {
            "dataset": dataset,
            "experiment": assessed.outputs["experiment"],
            "why": assessed.outputs["why"],
            "run_id": dsl.PIPELINE_JOB_ID_PLACEHOLDER,
        }
        with dsl.If(assessed.outputs["Output"] == "promote", name="promote"):
            on_cluster(conclude_experiment(verdict="promote", **found))
        with dsl.If(assessed.outputs["Output"] == "end", name="end"):
            on_cluster(conclude_experiment(verdict="end", **found))
