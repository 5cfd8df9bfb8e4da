"""What watches a server asks: does it live, is it ready, how does what it needs, what are its figures."""

from __future__ import annotations

from typing import Literal

import anyio
import anyio.to_thread
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

import cozy
from cozy.interfaces.http.endpoint import Call, Endpoint, endpoint
from cozy.interfaces.http.metrics import Metrics
from cozy.interfaces.http.problems import engine_reason
from cozy.interfaces.http.service import Service
from cozy.ports.operations import Condition, DependencyHealth, HealthCheck

PATIENCE_S = 3.0
"""A check that has not answered by then has failed: whoever asks waits no longer."""


class Alive(BaseModel):
    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    status: Literal["ready", "not ready"]
    reasons: list[str]


class Dependency(BaseModel):
    name: str
    status: Condition
    latency_ms: float | None
    reason: str

    @staticmethod
    def of(health: DependencyHealth) -> Dependency:
        kind = engine_reason(health.code, "", in_full=False) if health.code else ""
        reason = ": ".join(filter(None, (health.reason, kind)))
        return Dependency(
            name=health.name, status=health.condition, latency_ms=health.latency_ms, reason=reason
        )


class Health(BaseModel):
    status: Condition
    version: str
    config_version: str
    dependencies: list[Dependency]


@endpoint("GET", "/health/live", access="anyone", tag="Operations", gives=Alive)
async def live(_call: Call[None, None]) -> Alive:
    """Tell that the process answers."""
    return Alive()


@endpoint("GET", "/health/ready", access="anyone", tag="Operations", gives=Ready, errors=(503,))
async def ready(call: Call[None, None]) -> Response:
    """Tell whether new requests are welcome: 503 while the server is being stopped or lacks what it needs."""
    reasons = ["draining"] if call.service.draining.is_set() else []
    found = await checked(call.service, vital_only=True)
    reasons += [f"{h.name}: {h.reason}" for h in found if h.vital and h.condition == "down"]
    state = Ready(status="not ready" if reasons else "ready", reasons=reasons)
    return JSONResponse(state.model_dump(), 503 if reasons else 200)


@endpoint("GET", "/health", access="anyone", tag="Operations", gives=Health, errors=(503,))
async def health(call: Call[None, None]) -> Response:
    """Tell how each dependency does: `ok`, `degraded` or `down`, and the whole; 503 where it is `down`."""
    service = call.service
    found = await checked(service)
    state = Health(
        status=overall(found),
        version=cozy.__version__,
        config_version=service.settings.version,
        dependencies=[Dependency.of(h) for h in found],
    )
    return JSONResponse(state.model_dump(), 503 if state.status == "down" else 200)


def overall(found: list[DependencyHealth]) -> Condition:
    """`down` where something vital is; `degraded` where anything is not well."""
    if any(h.vital and h.condition == "down" for h in found):
        return "down"
    return "degraded" if any(h.condition != "ok" for h in found) else "ok"


async def checked(service: Service, *, vital_only: bool = False) -> list[DependencyHealth]:
    """Every dependency, asked side by side."""
    results: dict[int, DependencyHealth] = {}

    async def ask(index: int, check: HealthCheck) -> None:
        results[index] = await check()

    with anyio.move_on_after(PATIENCE_S):
        async with anyio.create_task_group() as tasks:
            for index, check in enumerate(service.checks):
                tasks.start_soon(ask, index, check)
    late = [i for i in range(len(service.checks)) if i not in results]
    for index in late:
        name = getattr(service.checks[index], "name", f"check {index}")
        results[index] = DependencyHealth(name, "down", reason=f"no answer within {PATIENCE_S:g} s")
    return [results[i] for i in sorted(results) if not vital_only or results[i].vital]


def metrics_endpoint(metrics: Metrics) -> Endpoint:
    """`/metrics`, which needs the figures themselves."""

    async def show(call: Call[None, None]) -> Response:
        """Tell the figures of all processes of this server in Prometheus' text format."""
        await metrics.look_at(call.service.outbox)
        text = await anyio.to_thread.run_sync(metrics.text)  # takes milliseconds that others would wait
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    return Endpoint(
        "GET", "/metrics", show, access="anyone", tag="Operations", media_type="text/plain; version=0.0.4"
    )


ENDPOINTS = (live, ready, health)
