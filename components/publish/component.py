"""Component: merge a validated delivery into main."""

from typing import List

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def publish(
    dataset: str,
    branch: str,
    commit: str,
    arrivals: List[str],
    raw_report: dsl.Input[dsl.Artifact],
    clean_report: dsl.Input[dsl.Artifact],
    run_id: str,
    trained_in: str,
    report: dsl.Output[dsl.HTML],
    record: dsl.Output[dsl.Artifact],
) -> str:
    """Merge a delivery that passed its checks into main, in one step, and tag each arrival.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    branch
        Branch of the delivery.
    commit
        Commit with the clean rows, head of the branch.
    arrivals
        Ids of the arrivals to publish.
    raw_report
        What `validate` found in the raw rows.
    clean_report
        What `validate` found in the clean rows.
    run_id
        Id of the pipeline run, for the report.
    trained_in
        Id of the run that goes on to train from the commit, said in its metadata so that the merge's event starts no second one;
        empty if none does.
    report
        What arrived and what changed, HTML.
    record
        The same, JSON.

    Returns
    -------
    str
        Commit on main that has the arrivals.
    """
    from lakeline.report.run import publish_and_report

    checked = [raw_report.path, clean_report.path]
    outputs = {"report": report.path, "record": record.path}
    return publish_and_report(dataset, branch, commit, arrivals, checked, run_id, trained_in, outputs)
