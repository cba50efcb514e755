"""Component: promote the winner of an A/B test, or end the test without one."""

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def conclude_experiment(dataset: str, experiment: str, verdict: str, why: str, run_id: str) -> str:
    """Have the challenger serve no longer as such, and move the alias production to it if it has won.

    The move of the alias is what deploys the winner. Run again after an interrupt, it comes to the same end.

    Parameters
    ----------
    dataset
        Name of the data set, which is its model's name in the registry.
    experiment
        Id of the test that was judged.
    verdict
        What `assess_experiment` found: "promote" or "end".
    why
        The reasons, which are recorded with the move.
    run_id
        Id of the pipeline run.

    Returns
    -------
    str
        "promoted", "ended", or "stopped" if somebody had stopped the test.
    """
    from lakeline.serving.experiment.running import conclude
    from lakeline.settings import get_settings

    state = conclude(dataset, experiment, "promote" if verdict == "promote" else "end", why, get_settings().run_id or run_id)
    return state.outcome or "ended"
