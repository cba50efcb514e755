"""The watch, on a machine that serves a model: it deploys what the alias says, once for each move of it."""

import pytest

from lakeline.registry import promote_by_hand
from lakeline.registry.deployed import standing
from lakeline.serving.local.site import LocalSite
from tests.embedded.conftest import Lakeline
from tests.embedded.test_deployment import Served, empty_store, here, served  # noqa: F401  # pyright: ignore[reportUnusedImport]  (fixtures)
from tests.unit.registry.conftest import NAME

pytestmark = pytest.mark.embedded


def test_watch_deploys_what_somebody_promotes_and_what_fails_once(here: Served, lakeline: Lakeline):  # noqa: F811
    here.world.lake.tag("model/1", here.world.commit)
    watch = ("watch", "--dataset", NAME, "--once")
    assert lakeline(*watch).result == {}
    other = here.bring("return [1.0] * len(rows)")

    deployed = lakeline(*watch)

    assert deployed.code == 0, deployed.said
    assert (deployed.result["pipeline"], deployed.result["status"]) == ("deployment", "succeeded")
    assert here.versions_seen() == {str(other): 5}
    assert lakeline(*watch).result == {}

    here.bring("return [float('nan')] * len(rows)")
    failed = lakeline(*watch)

    assert failed.code == 1
    assert "was rolled back" in failed.result["error"]
    assert standing(NAME).production == other
    assert here.versions_seen() == {str(other): 5}
    assert lakeline(*watch).result == {}

    LocalSite().stop(NAME)
    promote_by_hand(NAME, here.good, "somebody else serves it")
    assert lakeline(*watch).result == {}, "this machine serves it no longer"
