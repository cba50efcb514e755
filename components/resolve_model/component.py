"""Component: pin the alias production of a model to a version and the digest of its files."""

from typing import NamedTuple

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def resolve_model(dataset: str, version: int, run_id: str) -> NamedTuple("ResolvedModel", Output=str, release=str):
    """Pin what is to be deployed: what the alias production means changes, what a version and a digest mean doesn't.

    Parameters
    ----------
    dataset
        Name of the data set, which is its model's name.
    version
        Version that the alias is thought to stand at; 0: whichever it is. If it stands elsewhere, the run ends here.
    run_id
        Id of the pipeline run.

    Returns
    -------
    Output
        "deploy", or "serving" if the version serves already.
    release
        Version, digest, data commit, run and who moved the alias, as JSON.
    """
    from lakeline.serving.deployment import resolve

    wanted = resolve(dataset, version, run_id)
    return wanted.status, wanted.release.to_json()
