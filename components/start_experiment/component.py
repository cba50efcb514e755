"""Component: have a version serve beside production, and share requests out between them."""

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def start_experiment(dataset: str, version: int, run_id: str) -> str:
    """Start an A/B test: try a version apart from all traffic, then have it answer a part of the requests beside production.

    If it can't serve, all is as it was. Run again after an interrupt, the same test comes to be set up.

    Parameters
    ----------
    dataset
        Name of the data set, which is its model's name in the registry.
    version
        Version to test beside the one in production.
    run_id
        Id of the pipeline run.

    Returns
    -------
    str
        Id of the test.
    """
    from lakeline.serving.experiment.running import start
    from lakeline.settings import get_settings

    return start(dataset, version, get_settings().run_id or run_id).id
