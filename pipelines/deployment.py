"""The deployment pipeline: the version that has the alias production comes to serve, or what served before stays."""

# pyright: basic, reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
# A component called in a pipeline is a task; to a type checker it is the function that it was made of.

from kfp import dsl

from components.deploy.component import deploy
from components.preflight.component import preflight
from components.record.component import record
from components.resolve_model.component import resolve_model
from pipelines.cluster import config, on_cluster


@dsl.pipeline(name="deployment", pipeline_config=config())
def deployment(dataset: str, version: int = 0) -> None:
    """Deploy the version that has the alias production: resolve, try apart from traffic, roll out, try in place, record.

    Parameters
    ----------
    dataset
        Name of the data set, which is its model's name.
    version
        Version that the alias is thought to stand at; 0: whichever it is. If it stands elsewhere, the run ends.
    """
    ending = on_cluster(record(dataset=dataset, pipeline="deployment", run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER))
    with dsl.ExitHandler(ending, name="deployment"):
        wanted = on_cluster(resolve_model(dataset=dataset, version=version, run_id=dsl.PIPELINE_JOB_ID_PLACEHOLDER))
        with dsl.If(wanted.outputs["Output"] == "deploy", name="deploy"):
            tried = on_cluster(preflight(release=wanted.outputs["release"]))
            on_cluster(deploy(release=wanted.outputs["release"], tried=tried.output))
