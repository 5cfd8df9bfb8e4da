from __future__ import annotations

from typing import Any

from openapi_spec_validator import OpenAPIV31SpecValidator

from cozy.interfaces.http.app import endpoints
from cozy.interfaces.http.chat import Chat
from cozy.interfaces.http.metrics import Metrics
from cozy.interfaces.http.openapi import document
from cozy.service import extensions


def described() -> dict[str, Any]:
    return document(endpoints(Chat.complete, Metrics(), extensions()))  # pyright: ignore[reportArgumentType]


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(described()).validate()


def test_every_operation_has_a_name_of_its_own_and_a_summary() -> None:
    operations = [o for methods in described()["paths"].values() for o in methods.values()]
    names = [o["operationId"] for o in operations]
    assert len(names) == len(set(names))
    assert all(o["summary"] for o in operations)


def test_the_chat_route_says_what_the_clients_of_every_dialect_send_and_get() -> None:
    chat = described()["paths"]["/v1/chat/completions"]["post"]
    bodies = chat["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    assert [body["$ref"].rpartition("/")[2] for body in bodies] == ["ChatRequest", "CompletionRequest"]
    assert set(chat["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}


def test_parts_of_a_path_that_are_ids_are_said_to_be() -> None:
    shown = described()["paths"]["/v1/sessions/{session_id}"]["get"]
    assert [part["schema"] for part in shown["parameters"]] == [{"type": "string", "format": "uuid"}]
