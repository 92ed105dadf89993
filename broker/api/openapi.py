"""The OpenAPI 3.1 description, generated from the table of routes."""

import json
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from broker.api.models import ProblemDocument, WriteValue
from broker.api.problems import KINDS, MEDIA_TYPE
from broker.api.route import Route
from broker.api.routes import ROUTES

VERSION = "1"
EVERYWHERE = (
    "request_malformed",
    "header_repeated",
    "query_invalid",
    "credentials_missing",
    "credentials_refused",
    "subjects_differ",
    "permission_denied",
    "too_many_calls",
    "internal_error",
    "unavailable",
    "deadline_passed",
)
WITH_BODY = (
    "json_invalid",
    "body_invalid",
    "body_too_large",
    "media_type_unsupported",
    "request_timeout",
    "origin_refused",
)
_REF = "#/components/schemas/{model}"
_JSON = "application/json"
_EVENTS = "text/event-stream"
_PARAMETERS = {
    "site": "A site, by its id.",
    "device": "A device of the site, by its id.",
    "index": "The index of a record, from 0.",
    "id": "A decision, by the id that refusals quote.",
    "revision": "Revision of a policy, whole.",
    "session": "An open session, by its id.",
    "approval": "Id of an approval: `arm-…`.",
    "request": "An access request, by its id.",
    "ticket": "A ticket, as access requests cite it.",
}
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A key of your choice for this call, new for every new call; unknown after a restart.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
}


def openapi_document() -> dict[str, Any]:
    """The description of all that the API serves."""
    models: set[type[BaseModel]] = {ProblemDocument, WriteValue}
    for route in ROUTES:
        models.update(model for model in (route.answer, route.body, route.query) if model)
    in_order = sorted(models, key=lambda model: model.__name__)
    modes: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [(m, "validation") for m in in_order]
    _, schemas = models_json_schema(modes, ref_template=_REF, by_alias=True)
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "OT access broker", "version": VERSION, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas["$defs"].items())),
            "securitySchemes": {
                "certificate": {"type": "mutualTLS", "description": "A client certificate of your organisation."},
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
            },
        },
        "security": [{"certificate": [], "token": []}],
    }


@cache
def openapi_octets() -> bytes:
    """The description as JSON, the same octets every time."""
    return json.dumps(openapi_document(), indent=2, ensure_ascii=False).encode() + b"\n"


def problem_codes(route: Route) -> tuple[str, ...]:
    """Every problem that a route may answer, by status and code."""
    codes = {*EVERYWHERE, *route.problems, *(WITH_BODY if route.body else ())}
    return tuple(sorted(codes, key=lambda code: (KINDS[code].status, code)))


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "description": route.description,
        "x-permission": route.permission,
        "x-recorded": list(route.leaves),
        "x-decided-by": route.decided_by.value,
        "parameters": _parameters(route),
        "responses": _success(route) | _problems(route),
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": _reference(route.body)}}}
    return {name: value for name, value in operation.items() if value or name == "responses"}


def _parameters(route: Route) -> list[dict[str, Any]]:
    schema = {"type": "string"}
    path = [
        {"name": name, "in": "path", "required": True, "description": _PARAMETERS[name], "schema": schema}
        for name in route.parameters
    ]
    query = []
    if route.query is not None:
        described = route.query.model_json_schema(by_alias=True, ref_template=_REF)
        query = [
            {"name": name, "in": "query", "required": False, "schema": _inline(member, described.get("$defs", {}))}
            for name, member in described["properties"].items()
        ]
    return path + query + ([_KEY] if route.name == "write" else [])


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    """A parameter's schema with its references replaced by what they name."""
    if isinstance(schema, dict) and "$ref" in schema:
        return definitions[schema["$ref"].rsplit("/", 1)[1]]
    if isinstance(schema, dict):
        return {name: _inline(member, definitions) for name, member in schema.items()}
    return [_inline(member, definitions) for member in schema] if isinstance(schema, list) else schema


def _success(route: Route) -> dict[str, Any]:
    if route.subprotocol:
        return {"101": {"description": f"The connection is a WebSocket with subprotocol {route.subprotocol}."}}
    if route.streams:
        return {"200": {"description": route.summary, "content": {_EVENTS: {"schema": {"type": "string"}}}}}
    if route.media_type != _JSON:
        return {"200": {"description": route.summary, "content": {route.media_type: {"schema": {"type": "string"}}}}}
    schema = _reference(route.answer) if route.answer else {"type": "object"}
    return {"200": {"description": route.summary, "content": {_JSON: {"schema": schema}}}}


def _problems(route: Route) -> dict[str, Any]:
    by_status: dict[str, list[str]] = {}
    for code in problem_codes(route):
        by_status.setdefault(str(KINDS[code].status), []).append(code)
    return {
        status: {
            "description": " / ".join(f"`{code}`: {KINDS[code].title}" for code in codes),
            "content": {MEDIA_TYPE: {"schema": _reference(ProblemDocument)}},
        }
        for status, codes in by_status.items()
    }


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}
