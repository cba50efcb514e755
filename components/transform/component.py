"""Component: make clean rows of raw ones."""

from typing import List, NamedTuple

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def transform(
    dataset: str,
    branch: str,
    commit: str,
    arrivals: List[str],
) -> NamedTuple("Transformed", commit=str, rows_raw=int, rows_clean=int):
    """Make clean rows of the raw rows of arrivals, with the transform.sql of the spec, and commit them to the branch.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    branch
        Branch of the delivery.
    commit
        Commit with the raw rows, head of the branch.
    arrivals
        Ids of the arrivals to transform.

    Returns
    -------
    commit
        Commit with the clean rows.
    rows_raw
        Number of rows before.
    rows_clean
        Number of rows after.
    """
    from lakeline.data.transform import transform as clean

    result = clean(dataset, branch, commit, arrivals)
    return result.commit, result.rows_raw, result.rows_clean
