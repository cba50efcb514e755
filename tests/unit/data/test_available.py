"""Whether the source has an arrival: asked without bringing it here."""

from typing import Any

import pytest

from lakeline.data.available import available
from lakeline.data.specfile import local_spec
from lakeline.errors import SourceError, UsageError


def test_local_copy_is_there_without_asking_the_server(things: Any, site: Any):
    things.define(("http://127.0.0.1:1", site.url))
    things.copy()

    assert available(local_spec("things").spec, "m01")
    assert site.requests == []


def test_server_says_which_files_it_has(things: Any, site: Any):
    things.define(("http://127.0.0.1:1", site.url))
    site.put("things-02.csv", b"rows")
    site.mischief.extend([lambda _: False, lambda handler: handler.answer(403) or True])
    spec = local_spec("things").spec

    assert [available(spec, arrival) for arrival in ("m02", "m03", "m04")] == [True, False, False]


def test_server_in_trouble_is_not_taken_for_one_without_the_file(things: Any, site: Any):
    things.define(("http://127.0.0.1:1", site.url))
    site.mischief.append(lambda handler: handler.answer(503) or True)

    with pytest.raises(SourceError, match="answers 503"):
        available(local_spec("things").spec, "m02")


def test_server_out_of_reach_is_said_to_be(things: Any):
    with pytest.raises(SourceError, match="out of reach"):
        available(local_spec("things").spec, "m02")


def test_impossible_arrival_is_refused(things: Any):
    with pytest.raises(UsageError, match="there is no month 13"):
        available(local_spec("things").spec, "m13")


def test_package_has_what_it_was_installed_with():
    assert available(local_spec("flights").spec, "2013-12")
