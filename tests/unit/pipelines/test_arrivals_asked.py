"""What the command line makes of an arrival's options."""

import pytest

from lakeline.data.specfile import local_spec
from lakeline.errors import UsageError
from pipelines.commands.run import arrivals_asked


@pytest.mark.parametrize(
    ("text", "extra", "ids"),
    [
        ("green-2022-01", [], ["green-2022-01"]),
        ("green-2022-01,green-2022-03", [], ["green-2022-01", "green-2022-03"]),
        ("next", [], ["next"]),
        (None, ["--color", "green", "--year", "2022", "--month", "1"], ["green-2022-01"]),
        (None, ["--month=12", "--year=2023", "--color=yellow"], ["yellow-2023-12"]),
    ],
)
def test_arrival_by_id_or_by_parameters(text: str | None, extra: list[str], ids: list[str]):
    assert arrivals_asked(local_spec("nyc-taxi").spec, text, extra) == ids


@pytest.mark.parametrize(
    ("text", "extra", "said"),
    [
        (None, [], "which arrival"),
        (None, ["--colour", "green"], "no option '--colour'"),
        (None, ["green"], "no option 'green'"),
        (None, ["--color"], "--color needs a value"),
        (None, ["--color", "blue", "--year", "2022", "--month", "1"], "blue"),
        (None, ["--color", "green", "--year", "2022", "--month", "13"], "there is no month 13"),
        (None, ["--color", "green", "--year", "2022", "--month", "May"], "month"),
        ("green-2022-01", ["--month", "1"], "not both"),
        ("green-2022-1x", [], "green-2022-1x"),
    ],
)
def test_what_is_no_arrival_is_refused_with_what_to_give(text: str | None, extra: list[str], said: str):
    with pytest.raises(UsageError, match=said):
        arrivals_asked(local_spec("nyc-taxi").spec, text, extra)
