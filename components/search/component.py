"""Component: try one estimator with one set of parameters."""

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def search(dataset: str, commit: str, trial: int, train: dsl.Input[dsl.Dataset]) -> str:
    """Try one estimator with one set of parameters, drawn from the spec's search space by the number of the trial.

    A fit that fails doesn't fail the search: the result says why.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    commit
        Commit whose spec says what to try.
    trial
        Number of the trial. 0 is the baseline: the first estimator of the spec.
    train
        Rows to learn from, as `split` wrote them.

    Returns
    -------
    str
        Estimator, parameters, metrics on the validation rows and time, JSON.
    """
    from pathlib import Path

    from lakeline.training.search import run_trial

    return run_trial(dataset, commit, Path(train.path), trial).to_json()
