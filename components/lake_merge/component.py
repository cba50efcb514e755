"""Component: merge a branch of the lake into another."""

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def lake_merge(dataset: str, source: str, into: str, message: str) -> str:
    """Merge a branch of the lake into another, whole or not at all.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    source
        Branch, tag or commit to merge.
    into
        Branch to merge into.
    message
        What the merge is for.

    Returns
    -------
    str
        The new head of `into`.
    """
    from lakeline.lake import open_lake

    return open_lake(dataset).merge(source, into, message)
