"""Settings: what a variable can't be is said, and a secret isn't."""

from pathlib import Path

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


@pytest.mark.parametrize("named", ["~/kept here", "kept here", "./kept here/"])
def test_home_is_one_folder_however_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: str):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAKELINE_HOME", named)
    get_settings.cache_clear()

    assert get_settings().home == tmp_path / "kept here"


def test_variable_that_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LAKELINE_HOME", "")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    get_settings.cache_clear()

    assert get_settings().home != tmp_path
    assert get_settings().mlflow_uri.startswith("sqlite:///")


@pytest.mark.parametrize(("named", "why"), [("~nobody-of-that-name/x", "no such user's home"), ("/srv/\udce9", "isn't UTF-8")])
def test_home_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch, named: str, why: str):
    monkeypatch.setenv("LAKELINE_HOME", named)
    get_settings.cache_clear()

    with pytest.raises(UsageError, match=rf"^LAKELINE_HOME .*{why}"):
        get_settings()
