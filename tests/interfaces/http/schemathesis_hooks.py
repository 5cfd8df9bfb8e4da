"""What schemathesis is told of Cozy beside its configuration, schemathesis.toml; read by its own process."""

from __future__ import annotations

import os
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response

REFUSED = ("logprobs", "top_logprobs", "modalities", "audio", "store", "moderation", "web_search_options")
"""Fields of OpenAI's that no personality can do anything with."""


@schemathesis.check
def nobody_is_let_in(_ctx: CheckContext, response: Response, case: Case) -> None:
    """For runs without a good credential: where one is wanted, that is all there is to say."""
    if case.operation.definition.raw.get("security") and case.method == case.operation.method.upper():
        assert response.status_code == 401, f"{response.status_code} for somebody whom nobody knows"


@schemathesis.hook.apply_to(method="POST", path="/v1/chat/completions")
def map_case(_ctx: HookContext, case: Case) -> Case:
    """A chat that fits the document has somebody to talk to: made up names would all end at 404."""
    if case.meta and case.meta.generation.mode.is_positive and isinstance(case.body, dict):
        case.body = _with_somebody(case.body)
    return case


def _with_somebody(body: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in body.items() if name not in REFUSED} | {"model": "plain"}
    options = kept.get("cozy", {})
    if options:
        kept["cozy"] = _known(options)
    if not (kept.get("session_id") or options.get("session_id")):
        kept["messages"] = [*body["messages"], {"role": "user", "content": "And now?"}]
    return _known(kept)


def _known(named: dict[str, Any]) -> dict[str, Any]:
    """A personality and a session that there are, where others are named."""
    there_are = {"personality_id": "plain", "session_id": os.environ.get("COZY_SESSION", "new")}
    return named | {name: value for name, value in there_are.items() if named.get(name)}
