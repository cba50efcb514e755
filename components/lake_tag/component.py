"""Component: tag a commit of the lake."""

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def lake_tag(dataset: str, name: str, ref: str) -> str:
    """Tag a commit of the lake.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    name
        Name of the tag.
    ref
        Branch, tag or commit to tag.

    Returns
    -------
    str
        The commit that the tag stands at.
    """
    from lakeline.lake import open_lake

    lake = open_lake(dataset)
    lake.tag(name, ref)
    return lake.resolve(name)
