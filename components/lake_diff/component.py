"""Component: list what differs between two commits of the lake."""

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def lake_diff(dataset: str, base: str, other: str, changes: dsl.Output[dsl.Artifact]) -> int:
    """List the paths that differ between two commits of the lake.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    base
        Branch, tag or commit to compare with.
    other
        Branch, tag or commit to compare.
    changes
        Path and kind (added, changed, removed) of each, JSON.

    Returns
    -------
    int
        Number of paths that differ.
    """
    import json
    from pathlib import Path

    from lakeline.lake import open_lake

    found = open_lake(dataset).diff(base, other)
    Path(changes.path).write_text(json.dumps([{"path": change.path, "kind": change.kind} for change in found]), encoding="utf-8")
    return len(found)
