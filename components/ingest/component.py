"""Component: bring arrivals from their source onto a branch of the lake."""

from typing import List, NamedTuple

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def ingest(dataset: str, arrivals: List[str], run_id: str = "", most: int = 12) -> NamedTuple(
    "Ingested", Output=str, branch=str, commit=str, arrivals=List[str], other=str
):
    """Bring arrivals from their source onto a branch of their own in the lake.

    An arrival that the lake has already, with the same content, is left as it is.

    Parameters
    ----------
    dataset
        Name of the data set, which is its repository in the lake.
    arrivals
        Ids of the arrivals, such as ["2013-01", "2013-02"]; or ["next"]: those that follow the newest one in the lake, as far as
        the source has them.
    run_id
        Id of the pipeline run, by which others see whose delivery it is and whether that run is under way.
    most
        How many arrivals "next" brings in at once, the oldest first.

    Returns
    -------
    Output
        "new"; "repeated" if the lake has every one of the arrivals already, or nothing follows yet; or "under way" if another run is
        bringing them in.
    branch
        Branch with the raw files: this run's, or the other's that is under way; empty if repeated.
    commit
        Commit with the raw files; the head of main unless new.
    arrivals
        The arrivals that are new.
    other
        Id of the run that brings the arrivals in, if another does.
    """
    from lakeline.data.ingest import ingest as bring

    result = bring(dataset, arrivals, run_id, most)
    return result.status, result.branch, result.commit, list(result.arrivals), result.run
