"""Component: copy a file of the lake."""

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def lake_get(dataset: str, ref: str, path: str, content: dsl.Output[dsl.Artifact]) -> str:
    """Copy a file of the lake at a commit.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    ref
        Branch, tag or commit to read.
    path
        Path of the file in the lake.
    content
        The file; its metadata name repository, commit and path.

    Returns
    -------
    str
        The commit that was read.
    """
    from pathlib import Path

    from lakeline.lake import open_lake

    lake = open_lake(dataset)
    commit = lake.resolve(ref)
    lake.download(commit, path, Path(content.path))
    content.metadata.update(repository=dataset, commit=commit, path=path)
    return commit
