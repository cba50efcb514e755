"""Component: judge an A/B test by what really happened."""

from typing import NamedTuple

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def assess_experiment(
    dataset: str,
    challenger: int,
    run_id: str,
    report: dsl.Output[dsl.HTML],
    verdict: dsl.Output[dsl.Markdown],
    record: dsl.Output[dsl.Artifact],
) -> NamedTuple("Assessed", Output=str, experiment=str, why=str):
    """Judge the A/B test that a model is in: join its logged predictions with the truth, and compare the variants as the spec says.

    Parameters
    ----------
    dataset
        Name of the data set, which is its model's name in the registry.
    challenger
        Version that a test is to be of; 0: of whichever it is.
    run_id
        Id of the pipeline run, for the report.
    report
        The variants, how they compare, and what was left out, HTML.
    verdict
        What is to become of the test, and why, Markdown.
    record
        All that was found, JSON.

    Returns
    -------
    Output
        "continue", "promote" or "end"; "start" if a test of the challenger is to be set up first; "none" if the model is in no test.
    experiment
        Id of the test.
    why
        The reasons, in sentences.
    """
    from lakeline.report.experiment import assess_and_report

    outputs = {"report": report.path, "verdict": verdict.path, "record": record.path}
    return assess_and_report(dataset, challenger, run_id, outputs)
