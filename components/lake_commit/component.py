"""Component: commit a file to a branch of the lake."""

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def lake_commit(dataset: str, branch: str, path: str, content: dsl.Input[dsl.Artifact], message: str) -> str:
    """Commit a file to a branch of the lake.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    branch
        Branch to commit to.
    path
        Path of the file in the lake.
    content
        The file.
    message
        What the commit is for.

    Returns
    -------
    str
        The new commit, or the head of the branch if the file is there already.
    """
    from pathlib import Path

    from lakeline.lake import open_lake

    return open_lake(dataset).commit(branch, {path: Path(content.path)}, message)
