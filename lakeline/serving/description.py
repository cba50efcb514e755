"""The server's routes in OpenAPI's words, with the columns of the very model that is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lakeline import __version__
from lakeline.serving.release import KEY_HEADER, REQUEST_HEADER, VARIANT_HEADER, VARIANTS, VERSION_HEADER

if TYPE_CHECKING:
    from lakeline.serving.environment import ServerSettings
    from lakeline.serving.model import ServedModel
    from lakeline.serving.rows import Column

_TYPES: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "double": {"type": "number"},
    "float": {"type": "number"},
    "long": {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    "integer": {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    "boolean": {"type": "boolean"},
    "datetime": {"type": "string", "format": "date-time"},
}
_REFUSALS = {
    "400": "The body, or a header, is not what it should be: the message names column and row.",
    "401": "The token is missing, or another one.",
    "408": "The body didn't come in time.",
    "413": "Too many bytes or rows.",
    "415": "The body is neither JSON nor CSV, or not UTF-8, or compressed.",
    "422": "The model gives no number for a row.",
    "503": "Too much is waiting to be read or predicted.",
    "504": "There was no answer in time.",
}


def describe_routes(settings: ServerSettings, model: ServedModel) -> dict[str, Any]:
    """OpenAPI 3.1 document of a server.

    Parameters
    ----------
    settings
        What is served, and its limits.
    model
        Says the columns.

    Returns
    -------
    dict[str, Any]
        As JSON.
    """
    unit = f" in {model.unit}" if model.unit else ""
    answers: dict[str, Any] = {
        "200": {
            "description": f"A prediction{f' of {model.target}' if model.target else ''}{unit} for each row, in their order.",
            "headers": {name: {"schema": {"type": "string"}} for name in (REQUEST_HEADER, VERSION_HEADER, VARIANT_HEADER)},
            "content": {"application/json": {"schema": _object({"predictions": {"type": "array", "items": {"type": "number"}}})}},
        }
    }
    refusal = _object({"error_code": {"type": "string"}, "message": {"type": "string"}})
    answers |= {status: {"description": said, "content": {"application/json": {"schema": refusal}}} for status, said in _REFUSALS.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": f"{settings.model}, version {settings.version} ({settings.variant})", "version": __version__},
        "security": [{"token": []}],
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "paths": {
            "/invocations": {
                "post": {
                    "summary": "Predict.",
                    "parameters": [
                        _header(
                            REQUEST_HEADER,
                            "Id that the predictions are logged under; one is drawn if none is sent.",
                            pattern=r"^[A-Za-z0-9._:/+=@-]{1,128}$",
                        ),
                        _header(KEY_HEADER, "What the truth will be known by; one key is always answered by one variant.", maxLength=256),
                        _header(VARIANT_HEADER, "Variant that is to answer, while an A/B test runs.", enum=list(VARIANTS)),
                    ],
                    "requestBody": {
                        "required": True,
                        "description": f"At most {settings.max_bytes:,} bytes and {settings.max_rows:,} rows.",
                        "content": {
                            "application/json": {"schema": _body(settings, model.columns)},
                            "text/csv": {"schema": {"type": "string"}},
                        },
                    },
                    "responses": answers,
                }
            },
            **{path: {"get": _get(summary)} for path, summary in _OTHERS.items()},
        },
    }


_OTHERS = {
    "/livez": "Whether the process answers, and the model comes back from its calls; 503 if not.",
    "/readyz": "Whether it takes requests, and of which version; 503 while it ends, or the model doesn't come back.",
    "/ping": "As MLflow has it.",
    "/health": "As MLflow has it.",
    "/version": "What is served.",
    "/metrics": "For Prometheus.",
}


def _get(summary: str) -> dict[str, Any]:
    return {"summary": summary, "security": [], "responses": {"200": {"description": "Yes."}, "503": {"description": "No."}}}


def _header(name: str, said: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": said, "schema": {"type": "string", **schema}}


def _body(settings: ServerSettings, columns: tuple[Column, ...]) -> dict[str, Any]:
    values = {column.name: _value(column) for column in columns}
    needed = [column.name for column in columns if not column.optional]
    bounds = {"minItems": 1, "maxItems": settings.max_rows}
    row = {"type": "object", "properties": values, "required": needed, "additionalProperties": False}
    records = {"type": "array", "items": row, **bounds}
    split = _object(
        {
            "columns": {"const": [column.name for column in columns]},
            "data": {
                "type": "array",
                "items": {"type": "array", "prefixItems": list(values.values()), "minItems": len(values), "maxItems": len(values)},
                **bounds,
            },
        }
    )
    by_column = {name: {"type": "array", "items": value, **bounds} for name, value in values.items()}
    inputs = {"type": "object", "properties": by_column, "required": needed, "additionalProperties": False}
    forms = {"dataframe_split": split, "dataframe_records": records, "instances": records, "inputs": {"anyOf": [inputs, records]}}
    return {"oneOf": [_object({name: form}) for name, form in forms.items()]}


def _value(column: Column) -> dict[str, Any]:
    schema = _TYPES[column.kind]
    return {**schema, "type": [schema["type"], "null"]} if column.nullable else schema


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
