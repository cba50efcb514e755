"""How a challenger comes to get its part of the requests beside production, and production to answer all of them again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lakeline.serving.deployment import serving_of
from lakeline.serving.experiment.state import CHALLENGER, State
from lakeline.serving.release import Release, Route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow import MlflowClient

    from lakeline.serving.release import Variant
    from lakeline.serving.site import Site


def share_out(client: MlflowClient, site: Site, state: State, production: Release, challenger: Release) -> None:
    """Set up the challenger, then have production pass on what isn't its own: the other way round there would be nobody to answer it."""
    from lakeline.registry.moves import move_alias
    from lakeline.registry.store import speaking

    model = challenger.model
    with speaking():
        move_alias(client, model, CHALLENGER, state.challenger, f"it is tested beside version {state.production}", state.who)
    route = Route(state.id, state.weight, site.url(model, "production"), state.unkeyed)
    site.roll_out(replace(challenger, route=route), serving_of(challenger))
    site.roll_out(replace(production, route=replace(route, peer=site.url(model, CHALLENGER))), serving_of(production))
    site.share(model, state.weight)


def take_down(client: MlflowClient, site: Site, model: str, why: str) -> None:
    """Undo what `share_out` has done, in the opposite order: nobody is sent to a server that goes."""
    from lakeline.registry.moves import move_alias
    from lakeline.registry.store import speaking

    if "production" in site.serving(model):
        site.share(model, None)
        production = site.serving(model)["production"]
        if production.route is not None:
            site.roll_out(replace(production, route=None), serving_of(production))
    if CHALLENGER in site.serving(model):
        site.withdraw(model, CHALLENGER)
    with speaking():
        move_alias(client, model, CHALLENGER, None, why)


def both_serve(arms: Mapping[Variant, Release], state: State) -> bool:
    """Whether both variants are rolled out for this test."""
    tested = {"production": state.production, CHALLENGER: state.challenger}
    found = {variant: arm.version for variant, arm in arms.items() if arm.route is not None and arm.route.experiment == state.id}
    return found == tested
