"""Component: move the alias production if every gate holds."""

from typing import List

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def promote(
    dataset: str,
    commit: str,
    version: int,
    evaluation: dsl.Input[dsl.Artifact],
    results: List[str],
    best: str,
    run_id: str,
    report: dsl.Output[dsl.HTML],
    verdict: dsl.Output[dsl.Markdown],
    record: dsl.Output[dsl.Artifact],
) -> str:
    """Make a version the model in production if every gate of the spec holds, and report the run.

    Parameters
    ----------
    dataset
        Name of the data set, which is its model's name in the registry.
    commit
        Commit whose spec says what the gates are; it gets the tag model/<version> in the lake.
    version
        Version to promote.
    evaluation
        What `evaluate` found.
    results
        Results of the trials, for the report.
    best
        The best trial, for the report.
    run_id
        Id of the pipeline run, for the report.
    report
        Data, trials, metrics, gates and lineage of the run, HTML.
    verdict
        The verdict and its reasons, Markdown.
    record
        The report's content, JSON.

    Returns
    -------
    str
        "promoted" or "held".
    """
    from lakeline.report.run import promote_and_report

    outputs = {"report": report.path, "verdict": verdict.path, "record": record.path}
    return promote_and_report(dataset, commit, version, evaluation.path, results, best, run_id, outputs)
