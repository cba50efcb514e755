"""Component: record how a run ended."""

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def record(dataset: str, pipeline: str, run_id: str, status: dsl.PipelineTaskFinalStatus) -> None:
    """Record how a pipeline run ended, also when a step failed.

    Parameters
    ----------
    dataset
        Name of the data set, which is its experiment in MLflow.
    pipeline
        Name of the pipeline.
    run_id
        Id of the pipeline run.
    status
        How the run ended, as Kubeflow Pipelines says.
    """
    from lakeline.registry import record_end

    record_end(dataset, run_id, pipeline, status.state, status.error_message or "")
