"""Component: check arrivals against the spec."""

from typing import List

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def validate(
    dataset: str,
    branch: str,
    commit: str,
    arrivals: List[str],
    layer: str,
    report: dsl.Output[dsl.Artifact],
) -> int:
    """Check the rows of arrivals against the schema and checks of the spec.

    Fails if a row fails. What failed, with up to 20 sample rows a check, is then committed to the branch.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    branch
        Branch of the delivery, where a failure is reported.
    commit
        Commit whose rows are checked.
    arrivals
        Ids of the arrivals to check.
    layer
        "raw" (as delivered) or "clean" (as transformed).
    report
        What was checked and found, JSON.

    Returns
    -------
    int
        Number of rows checked.
    """
    import json
    from pathlib import Path

    from lakeline.data.validate import validate as check

    result = check(dataset, branch, commit, arrivals, layer)
    Path(report.path).write_text(json.dumps(result.to_dict()), encoding="utf-8")
    return result.rows
