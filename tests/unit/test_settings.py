"""Settings: what a variable can't be is said, and a secret isn't."""

import pytest

from lakeline.errors import UsageError
from lakeline.settings import get_settings


@pytest.mark.parametrize("token", ["open\nsesame", "tökén", "open sesame", "\n"])
def test_token_that_no_header_can_carry_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, token: str):
    monkeypatch.setenv("LAKELINE_SERVING_TOKEN", token)
    get_settings.cache_clear()

    with pytest.raises(UsageError) as refused:
        get_settings()

    assert str(refused.value).startswith("LAKELINE_SERVING_TOKEN can't be sent: it is empty, or has a blank in it")
    assert not any(word in str(refused.value) for word in ("sesame", "tök"))


@pytest.mark.parametrize(("token", "read"), [("open-sesame\r\n", "open-sesame"), ("", None)])
def test_token_is_read_without_the_line_end_of_a_file(monkeypatch: pytest.MonkeyPatch, token: str, read: str | None):
    monkeypatch.setenv("LAKELINE_SERVING_TOKEN", token)
    get_settings.cache_clear()

    kept = get_settings().serving_token

    assert (kept.get_secret_value() if kept else None) == read
