"""Component: have a version serve, or bring back what served before."""

from kfp import dsl

from components.image import STEPS_IMAGE


@dsl.component(base_image=STEPS_IMAGE, install_kfp_package=False)
def deploy(release: str, tried: str, report: dsl.Output[dsl.HTML], verdict: dsl.Output[dsl.Markdown]) -> str:
    """Roll a version out without dropping a request, try it where callers reach it, and record that it serves.

    If it fails by its own fault, what served before serves again, the alias production goes back to that, and the run, the registry
    and an event of the Deployment say why. If its place is at fault (no room, a port, a store away), what served goes on and the
    alias stays. Run again, it comes to the same end as without an interrupt.

    Parameters
    ----------
    release
        What `resolve_model` gave.
    tried
        What `preflight` found.
    report
        What serves, how it was tried, and the moves that led to it, HTML.
    verdict
        The same in a few lines, Markdown.

    Returns
    -------
    str
        Number of requests, how many failed, milliseconds (p50, p99), as JSON.
    """
    from lakeline.report.deployment import deploy_and_report

    return deploy_and_report(release, tried, report.path, verdict.path)
