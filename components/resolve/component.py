"""Component: pin a ref of the lake to a commit."""

from typing import List, NamedTuple

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def resolve(dataset: str, ref: str, arrivals: str, trials: int, retrain: bool) -> NamedTuple(
    "Resolved", Output=str, commit=str, trials=List[int], started=float
):
    """Pin what a run learns from: what a branch or tag means changes, what a commit means doesn't.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    ref
        Branch, tag or commit of the lake.
    arrivals
        Which arrivals to learn from, as a pattern; "*" is all.
    trials
        Number of trials of the search; 0 takes what the spec says.
    retrain
        Train also if a model was registered from this commit before.

    Returns
    -------
    Output
        "train"; or, if `retrain` is false, "trained" if a model was registered from this commit before, or "empty" if the commit has no
        arrivals yet.
    commit
        The commit that `ref` means now.
    trials
        Numbers of the trials.
    started
        When the run started, in seconds since 1970.
    """
    from lakeline.training.plan import plan

    result = plan(dataset, ref, arrivals, trials, retrain=retrain)
    return result.status, result.commit, list(result.trials), result.started
