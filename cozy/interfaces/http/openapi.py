"""The routes as an OpenAPI 3.1 document, built from what each declares."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import cozy
from cozy.interfaces.http.endpoint import Endpoint


class ErrorDetails(BaseModel):
    code: str
    """Stable: `AUTH_…`, `VALIDATION_…`, `RESOURCE_…`, `ENGINE_…`, `STORAGE_…`, `TOOL_…`, `RATE_LIMIT_…`."""
    message: str
    type: str
    param: str | None
    request_id: str
    details: dict[str, Any]


class ErrorBody(BaseModel):
    """What every error is told as."""

    error: ErrorDetails


_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_Mode = Literal["validation", "serialization"]
_BEFORE_ROUTES = (413, 500)
"""Statuses that may be told by who knows no route: in the shape that is common to all."""
_TEXT = {"type": "string"}
_UUID = {"type": "string", "format": "uuid"}


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The whole document, ready for JSON."""
    modes = _each("serialization", ErrorBody)
    for e in endpoints:
        modes += _each("validation", *e.bodies, e.query) + _each("serialization", e.gives, e.error_body)
    refs, schemas = models_json_schema(
        list(dict.fromkeys(modes)), ref_template="#/components/schemas/{model}"
    )
    writer = _Writer(refs, schemas["$defs"])
    paths: dict[str, dict[str, Any]] = {}
    for e in endpoints:
        paths.setdefault(_PARAMETER.sub(r"{\1}", e.path), {})[e.method.lower()] = writer.operation(e)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Cozy",
            "version": cozy.__version__,
            "description": "A chat engine whose personalities are pipelines written in YAML.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key (`cozy key create`), or the token of a login.",
                }
            },
        },
        "tags": [{"name": name} for name in dict.fromkeys(e.tag for e in endpoints)],
    }


def _each(mode: _Mode, *models: type[BaseModel] | None) -> list[tuple[type[BaseModel], _Mode]]:
    return [(model, mode) for model in models if model is not None]


def _operation_id(e: Endpoint) -> str:
    """A word for a route; a path that ends with a slash is another path."""
    word = re.sub(r"[^a-z0-9]+", "_", e.path.lower()).strip("_")
    return f"{e.method.lower()}_{word}" + ("_" if word and e.path.endswith("/") else "")


class _Writer:
    def __init__(self, refs: Mapping[Any, Any], schemas: Mapping[str, Any]) -> None:
        self._refs, self._schemas = refs, schemas

    def operation(self, e: Endpoint) -> dict[str, Any]:
        parameters = [
            {"name": name, "in": "path", "required": True, "schema": _UUID if name in e.ids else _TEXT}
            for name in _PARAMETER.findall(e.path)
        ]
        operation: dict[str, Any] = {
            "operationId": _operation_id(e),
            "summary": e.summary,
            "tags": [e.tag],
            "parameters": parameters + self._query(e.query),
            "responses": self._responses(e),
        }
        if e.description:
            operation["description"] = e.description
        if bodies := [self._refs[model, "validation"] for model in e.bodies]:
            schema = bodies[0] if len(bodies) == 1 else {"anyOf": bodies}
            content = {"application/json": {"schema": schema}}
            operation["requestBody"] = {"required": not e.body_optional, "content": content}
        if e.access != "anyone" or e.authenticates:
            operation["security"] = [{"bearer": []}]
        return operation

    def _query(self, model: type[BaseModel] | None) -> list[dict[str, Any]]:
        if model is None:
            return []
        schema = self._schemas[self._refs[model, "validation"]["$ref"].rpartition("/")[2]]
        required = schema.get("required", ())
        return [
            {"name": name, "in": "query", "required": name in required, "schema": field}
            for name, field in schema.get("properties", {}).items()
        ]

    def _responses(self, e: Endpoint) -> dict[str, Any]:
        told: dict[str, Any] = {"description": HTTPStatus(e.status).phrase}
        if e.gives is not None:
            told["content"] = {e.media_type: {"schema": self._refs[e.gives, "serialization"]}}
        elif e.status != 204:
            told["content"] = {e.media_type: {}}
        if e.streams:
            told["content"]["text/event-stream"] = {}
        statuses = {*e.errors, 429, 500, 503}
        if e.bodies or e.query:
            statuses |= {400, 408, 413}
        if e.access != "anyone":
            statuses |= {401, 403}
        responses = {str(e.status): told}
        for status in sorted(statuses):
            model = ErrorBody if status in _BEFORE_ROUTES else e.error_body or ErrorBody
            error = {"application/json": {"schema": self._refs[model, "serialization"]}}
            responses.setdefault(str(status), {"description": HTTPStatus(status).phrase, "content": error})
        return responses
