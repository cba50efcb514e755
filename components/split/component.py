"""Component: split the clean rows of a commit into training and held-out rows."""

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def split(dataset: str, commit: str, arrivals: str, train: dsl.Output[dsl.Dataset], holdout: dsl.Output[dsl.Dataset]) -> int:
    """Split the clean rows of a commit as its spec says.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    commit
        Commit id. A branch name is refused: what it means changes.
    arrivals
        Which arrivals to learn from, as a pattern; "*" is all.
    train
        Rows to learn from, Parquet.
    holdout
        Rows that no model of this commit learns from, Parquet.

    Returns
    -------
    int
        Number of training rows.
    """
    from pathlib import Path

    from lakeline.data.split import split as split_rows

    result = split_rows(dataset, commit, arrivals, Path(train.path), Path(holdout.path))
    train.metadata.update(result.lineage, rows=result.train_rows)
    holdout.metadata.update(result.lineage, rows=result.holdout_rows)
    return result.train_rows
