"""Settings of a process, read once at its edge from the environment."""

import functools
import os
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lakeline import __version__
from lakeline.errors import UsageError

_PROJECT = Path(__file__).resolve().parent.parent


def _default_home() -> Path:
    """State of a checkout stays in the checkout; an installed package keeps it in the user's home."""
    if (_PROJECT / "pyproject.toml").is_file():
        return _PROJECT / ".lakeline"
    try:
        return Path.home() / ".lakeline"
    except RuntimeError:
        raise UsageError("there is no home folder here: HOME isn't set. Name a folder to keep all in: LAKELINE_HOME") from None


def bearer(token: str) -> str:
    """Give a bearer token without the end of line that a file has.

    Raises
    ------
    ValueError
        If no header can carry it: says so in words that follow the name of where it is from, and never repeats it.
    """
    told = token.rstrip("\r\n")
    if not told or not all("!" <= character <= "~" for character in told):
        raise ValueError("can't be sent: it is empty, or has a blank in it, or what is no visible ASCII character")
    return told


def sqlite_uri(path: Path) -> str:
    """Name a SQLite file as MLflow reads it: what would begin a query or an escape in a URL is escaped."""
    return "sqlite:///" + str(path).replace("%", "%25").replace("?", "%3F")


class Settings(BaseSettings):
    """What the environment says; each field is the variable LAKELINE_<FIELD>, unless an alias is given.

    lakeFS is found by the lakeFS client's own settings (LAKECTL_SERVER_ENDPOINT_URL, ~/.lakectl.yaml, ...).
    """

    model_config = SettingsConfigDict(env_prefix="LAKELINE_", extra="ignore", populate_by_name=True, env_ignore_empty=True)

    home: Path = Field(default_factory=_default_home)
    lake: Literal["git", "lakefs"] = "git"
    lakefs_storage: str | None = None
    data: Path | None = None
    datasets: Path = _PROJECT / "datasets"
    run_id: str | None = None
    warm: bool = True
    tracking_uri: str | None = Field(default=None, validation_alias=AliasChoices("MLFLOW_TRACKING_URI", "LAKELINE_MLFLOW_TRACKING_URI"))
    pipelines_endpoint: str | None = Field(default=None, validation_alias="KF_PIPELINES_ENDPOINT")
    pipelines_ui: str | None = Field(default=None, validation_alias="KF_PIPELINES_UI_ENDPOINT")
    pipelines_token: SecretStr | None = Field(default=None, validation_alias="KF_PIPELINES_TOKEN")
    events_url: str | None = Field(default=None, pattern=r"^https?://[A-Za-z0-9._:/\[\]-]+$")
    hook_url: str | None = Field(default=None, pattern=r"^https?://[A-Za-z0-9._:/\[\]-]+$")
    events_token: SecretStr | None = None
    serving: Literal["local", "kubernetes"] = "local"
    serving_namespace: str = "lakeline-serving"
    serving_image: str = f"ghcr.io/lakeline/serving:{__version__}"
    serving_gateway: str = Field(default="", pattern=r"^([a-z0-9-]+/[a-z0-9-]+)?$")
    serving_token: SecretStr | None = None
    serving_port: int = Field(default=8080, ge=1, le=65535)
    predictions: str | None = None

    @field_validator("home", "data", "datasets")
    @classmethod
    def _placed(cls, folder: Path | None) -> Path | None:
        """Expand `~`, which no shell does within quotes, and go on from where the command was started."""
        if folder is None:
            return None
        try:
            os.fsencode(folder).decode()
            return folder.expanduser().absolute()
        except UnicodeError:
            raise ValueError("can't be: its name isn't UTF-8, which MLflow's store needs. Name another folder") from None
        except RuntimeError:
            raise ValueError(f"is {str(folder)!r}, and there is no such user's home here. Name the folder itself") from None

    @field_validator("predictions")
    @classmethod
    def _found(cls, folder: str | None) -> str | None:
        return os.path.expanduser(folder) if folder and folder.startswith("~") else folder  # noqa: PTH111 (a URL as well)

    @field_validator("serving_token")
    @classmethod
    def _carried(cls, token: SecretStr | None) -> SecretStr | None:
        return SecretStr(bearer(token.get_secret_value())) if token else None

    @property
    def hook_address(self) -> str | None:
        """The event source as lakeFS reaches it: LAKELINE_HOOK_URL, where that is another address than LAKELINE_EVENTS_URL here."""
        return self.hook_url or self.events_url

    @property
    def mlflow_uri(self) -> str:
        """MLflow's tracking store: MLFLOW_TRACKING_URI, or LAKELINE_MLFLOW_TRACKING_URI (of pods), or SQLite under `home`."""
        return self.tracking_uri or sqlite_uri(self.home.resolve() / "mlflow.db")

    @property
    def predictions_url(self) -> str:
        """Where servers log predictions: LAKELINE_PREDICTIONS (a folder, s3://..., lakefs://...), or a folder under `home`."""
        return self.predictions or str(self.home.resolve() / "predictions")

    @property
    def lakes(self) -> Path:
        """Folder of the bare git repositories, one a data set."""
        return self.home / "lake"

    @property
    def runs(self) -> Path:
        """Folder of what runs on this machine left: logs, artifacts, reports."""
        return self.home / "runs"


@functools.cache
def get_settings() -> Settings:
    """Settings of this process. Tests that change the environment call `get_settings.cache_clear()`.

    Raises
    ------
    UsageError
        If a variable has a value that it can't have: names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = error.errors()[0]
        name = str(wrong["loc"][0])
        variable = name if name.isupper() else f"LAKELINE_{name.upper()}"
        if wrong["type"] == "value_error":  # what a check of ours says, without the value: it may be a secret
            raise UsageError(f"{variable} {wrong['msg'].removeprefix('Value error, ')}.") from None
        raise UsageError(f"{variable} is {wrong['input']!r}. {wrong['msg']}.") from None
