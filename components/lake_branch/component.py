"""Component: create a branch of the lake."""

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def lake_branch(dataset: str, name: str, source: str = "main") -> str:
    """Create a branch of the lake.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    name
        Name of the new branch: letters, digits, - and _.
    source
        Branch, tag or commit to start from.

    Returns
    -------
    str
        Commit that the branch starts at.
    """
    from lakeline.lake import open_lake

    return open_lake(dataset).create_branch(name, source).head
