"""Events as they come over the network: read strictly, or refused with what is wrong with them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lakeline.errors import UsageError

MOST = 64 * 1024
"""Bytes that an event may have. lakeFS' own are about a kilobyte; the event source refuses larger ones as well."""

REPOSITORY = r"^[a-z0-9][a-z0-9-]{2,62}$"
COMMIT = r"^([0-9a-f]{64}|[0-9a-f]{40})$"
ARRIVAL = r"^[A-Za-z0-9_-]{1,100}$"
VERSION = r"^[A-Za-z0-9._-]{1,100}$"
NUMBER = r"^[1-9][0-9]{0,8}$"
DELIVERY = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"

_SHOWN = 60
_MISTAKES = 3

_Text = Annotated[str, Field(max_length=8192)]


class MalformedEvent(UsageError):
    """An event that isn't what its kind must be. Trying it again makes no sense."""


class _Event(BaseModel):
    # What a later lakeFS adds is ignored; what is here must be right.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")


class Merge(_Event):
    """A commit on main, as lakeFS' webhook says it (or as much of it as says which one)."""

    event_type: Literal["post-merge", "post-commit"]
    repository_id: Annotated[str, Field(pattern=REPOSITORY)]
    branch_id: Literal["main"]
    commit_id: Annotated[str, Field(pattern=COMMIT)]
    event_time: Annotated[str, Field(max_length=40)] = ""
    action_name: _Text = ""
    hook_id: _Text = ""
    source_ref: _Text = ""
    commit_message: _Text = ""
    committer: _Text = ""
    commit_metadata: Annotated[dict[str, _Text], Field(max_length=200)] = Field(default_factory=dict)
    merge_source: _Text = ""


class Arrival(_Event):
    """New files at the source: arrivals by their ids, or "next" for those that follow what the lake has."""

    dataset: Annotated[str, Field(pattern=REPOSITORY)]
    arrivals: Annotated[list[Annotated[str, Field(pattern=ARRIVAL)]], Field(min_length=1, max_length=100)]
    version: Annotated[str, Field(pattern=VERSION)] | None = None
    """What tells this state of the files from another, such as an object's ETag: one run for each."""


class Alias(_Event):
    """The alias `production` was set to a version of a model, as the gate passes it on."""

    delivery: Annotated[str, Field(pattern=DELIVERY)]
    """MLflow's id of it: one for each time that somebody sets the alias."""
    model: Annotated[str, Field(pattern=REPOSITORY)]
    alias: Literal["production"]
    version: Annotated[str, Field(pattern=NUMBER)]


class Webhook(_Event):
    """What MLflow's registry tells of, whatever it is."""

    entity: Annotated[str, Field(max_length=100)]
    action: Annotated[str, Field(max_length=100)]
    data: dict[str, Any]


_E = TypeVar("_E", bound=_Event)


def parse(kind: type[_E], text: str) -> _E:
    """Read an event.

    Parameters
    ----------
    kind
        `Merge`, `Arrival`, `Alias` or `Webhook`.
    text
        Body of the request: one JSON object.

    Returns
    -------
    Merge, Arrival, Alias or Webhook
        As the class says.

    Raises
    ------
    MalformedEvent
        If it is too large, no JSON object, lacks a field, or has one that it can't have: says which.
    """
    what = f"malformed {kind.__name__.lower()} event"
    if len(text) > MOST or len(text.encode(errors="replace")) > MOST:
        raise MalformedEvent(f"{what}: it has more than {MOST // 1024} KiB. Nothing was done.")
    try:
        content = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        said = "it is nested too deeply" if isinstance(error, RecursionError) else f"it is no JSON ({error})"
        raise MalformedEvent(f"{what}: {said}. Nothing was done.") from None
    if not isinstance(content, dict):
        raise MalformedEvent(f"{what}: it is no JSON object. Nothing was done.")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        mistakes = error.errors(include_url=False)
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}{_got(one['type'], one['input'])}" for one in mistakes[:_MISTAKES])
        more = f"; and {len(mistakes) - _MISTAKES} more" if len(mistakes) > _MISTAKES else ""
        raise MalformedEvent(f"{what}: {said}{more}. Nothing was done.") from None


def _got(kind: str, value: object) -> str:
    if kind == "missing":
        return ""
    shown = repr(value)
    return f" (it is {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '...'})"


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
