"""Component: try a version apart from all traffic."""

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def preflight(release: str) -> str:
    """Start a server of a version apart from all traffic and try it; a version that fails by its own fault loses the alias.

    It must start, predict its own example as when it was made, and answer what callers of the version that serves send, within
    the bounds of the spec's part `serving`.

    Parameters
    ----------
    release
        What `resolve_model` gave.

    Returns
    -------
    str
        Number of requests, how many failed, milliseconds (p50, p99), as JSON.
    """
    import json

    from lakeline.serving.deployment import preflight as try_apart
    from lakeline.serving.release import Release

    return json.dumps(try_apart(Release.from_json(release)).to_dict())
