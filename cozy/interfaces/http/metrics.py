"""What `/metrics` tells to Prometheus; docs/runbooks/server.md says what each figure is good for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import anyio
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

import cozy
from cozy.engine.library import Library
from cozy.engine.trace import Asked, Trace
from cozy.errors import RateLimited, StorageError
from cozy.events import TurnFailed, TurnFinished
from cozy.interfaces.http.exchange import Exchange
from cozy.interfaces.http.service import Service
from cozy.ports.operations import BreakerState, Reload
from cozy.ports.outbox import Outbox

FRESH_S = 5.0
"""How long what the database was asked for a scrape is good for others."""
PATIENCE_S = 2.0

# few: each bucket of each label is a line that is rendered at every scrape
_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_FAST = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Metrics:
    """The figures of this process, told together with those of the processes beside it."""

    def __init__(self, share: Path | None = None) -> None:
        """`share`: where this process keeps its figures, in the folder of all, as `cozy.cli.shared_metrics`
        gives it; None: it is the only process."""
        _keep_values(share)
        self.registry = CollectorRegistry(auto_describe=True)
        self._requests()
        self._turns()
        self._outside()
        self._installation()
        self._told = self.registry
        if share is not None:
            self._told = CollectorRegistry()
            self._told.register(_AllProcesses(share.parent))
        self._library = Library()
        self._other_models: frozenset[str] = frozenset()
        self._looking = anyio.Lock()
        self._look_again = -math.inf

    def _requests(self) -> None:
        self.requests = self._counter("http_requests", "Requests answered", "method", "route", "status")
        self.latency = self._histogram("http_request_seconds", "Time to the end of the answer", "route")
        self.in_flight = self._gauge("http_requests_in_flight", "Requests being answered")
        self.connections = self._gauge("connections_open", "Connections of clients")
        self.refused = self._counter("refused", "Requests refused, by limit", "limit")

    def _turns(self) -> None:
        self.turns = self._counter("turns", "Turns ended", "personality", "outcome")
        self.failures = self._counter("turn_failures", "Turns that failed, by error", "code")
        self.turn_seconds = self._histogram("turn_seconds", "Time of a whole turn", "personality")
        self.first_word = self._histogram(
            "first_word_seconds", "Time from the request to the first word", "personality"
        )
        self.running = self._gauge("turns_running", "Turns under way")
        self.waiting = self._gauge("turns_waiting", "Requests waiting for a turn")
        self.stage_seconds = self._histogram(
            "stage_seconds", "Time of one stage", "stage_type", buckets=_FAST
        )
        self.degraded = self._counter(
            "stages_degraded", "Stages that went on without a value", "personality", "stage", "code"
        )
        self.tool_calls = self._counter("tool_calls", "Calls of tools in turns", "tool", "outcome")

    def _outside(self) -> None:
        """Models and engines."""
        self.model_requests = self._counter("model_requests", "Requests that models answered", "model")
        self.tokens = self._counter(
            "tokens", "Tokens, as model servers counted them or else as we do", "model", "kind"
        )
        self.cached_tokens = self._counter(
            "cached_tokens", "Tokens of prompts that model servers had seen before", "model"
        )
        self.engine_breaker = self._gauge(
            "engine_breaker",
            "0: asked, 1: one question tries it, 2: left alone",
            "livemax",
            "engine",
            "provider",
        )
        self.engine_errors = self._counter(
            "engine_errors", "Failures of engines, made good or not", "engine", "code"
        )
        self.engine_requests = self._counter(
            "engine_requests",
            "Questions to engines of the personal context",
            "engine",
            "provider",
            "outcome",
            "cache",
        )
        self.engine_seconds = self._histogram(
            "engine_seconds", "How long turns waited for them", "engine", "provider", buckets=_FAST
        )

    def _installation(self) -> None:
        self.jobs = self._counter("jobs", "Attempts at jobs that turns leave", "target", "outcome")
        # of the database, alike in all processes: the last look counts
        last = "livemostrecent"
        self.outbox_jobs = self._gauge("outbox_jobs", "Jobs that wait or are being done", last)
        self.outbox_oldest = self._gauge("outbox_oldest_seconds", "Age of the oldest of them", last)
        self.outbox_full = self._counter(
            "outbox_full", "Jobs dropped, or turns slowed or refused, because too many jobs wait", "policy"
        )
        self.outbox_dead = self._gauge("outbox_dead", "Jobs that were given up", last)
        self.reloads = self._counter("reloads", "Readings of the personalities, the first too", "outcome")
        self.reloaded_at = self._gauge(
            "reload_success_timestamp_seconds", "When all processes had read the personalities", "livemin"
        )
        self.reloaded_at.set_to_current_time()  # a process that is starting is not behind the others
        self.reload_errors = self._gauge(
            "reload_errors", "Errors in the personalities when they were last read", "livemax"
        )
        self.build = self._gauge("build_info", "1, with what is running", "livemax", "version")
        self.build.labels(cozy.__version__).set(1)

    def _counter(self, name: str, words: str, *labels: str) -> Counter:
        return Counter(f"cozy_{name}", words, labels, registry=self.registry)

    def _gauge(self, name: str, words: str, several: Any = "livesum", *labels: str) -> Gauge:
        """`several`: what is told of the values of several processes."""
        return Gauge(f"cozy_{name}", words, labels, registry=self.registry, multiprocess_mode=several)

    def _histogram(
        self, name: str, words: str, *labels: str, buckets: Sequence[float] = _SECONDS
    ) -> Histogram:
        return Histogram(f"cozy_{name}", words, labels, buckets=buckets, registry=self.registry)

    # -- what happens ----------------------------------------------------------------------------------

    def follow(self, service: Service) -> None:
        """Count the turns, jobs and reloads of an installation from now on."""
        self._library, self._other_models = service.engine.library, frozenset(service.models)
        service.engine.watch(self._turn_ended)
        service.worker.watch(lambda target, outcome: self.jobs.labels(target, outcome).inc())
        service.backlog.watch(lambda policy, count: self.outbox_full.labels(policy).inc(count))
        service.reloads.watch(self._reloaded)
        for breaker in service.breakers:
            breaker.watch(self._breaker_changed)

    def request(self, method: str, exchange: Exchange) -> None:
        """Count a request that has been answered."""
        route = exchange.route or "none"
        known = method if method in _METHODS else "other"  # anybody may make words up
        self.requests.labels(known, route, str(exchange.status)).inc()
        self.latency.labels(route).observe(exchange.latency_ms / 1000)
        if exchange.code == RateLimited.code:
            self.refused.labels(exchange.limit or "login").inc()  # which the identity counts for itself

    def _turn_ended(self, ended: TurnFinished | TurnFailed) -> None:
        trace: Trace = ended.trace
        if isinstance(ended, TurnFailed):
            outcome = "failed"
            self.failures.labels(ended.code).inc()
        else:
            outcome = "interrupted" if ended.finish_reason == "interrupted" else "finished"
        self.turns.labels(trace.personality, outcome).inc()
        self.turn_seconds.labels(trace.personality).observe(trace.wall_s)
        for stage in trace.stages:
            if stage.outcome != "not run":
                self.stage_seconds.labels(stage.type).observe(stage.seconds)
            if stage.outcome == "degraded":
                code = str(stage.facts.get("code", ""))
                self.degraded.labels(trace.personality, stage.id, code).inc()
        for called in trace.tool_calls:
            self.tool_calls.labels(called.tool or "other", called.outcome).inc()
        for failure in trace.engine_errors:
            self.engine_errors.labels(failure.engine, failure.code).inc()
        for _, record in trace.engines:
            of = record.engine, record.provider
            self.engine_requests.labels(*of, record.outcome, record.cache or "none").inc()
            self.engine_seconds.labels(*of).observe(record.seconds)
        for asked in trace.asked:
            self._asked(asked)

    def _asked(self, asked: Asked) -> None:
        model = asked.request.model
        if model not in self._library.models and model not in self._other_models:
            model = "other"  # a pattern in `server.models` lets clients name what they like
        self.model_requests.labels(model).inc()
        self.tokens.labels(model, "prompt").inc(asked.usage.prompt_tokens)
        self.tokens.labels(model, "completion").inc(asked.usage.completion_tokens)
        self.cached_tokens.labels(model).inc(asked.usage.cached_tokens)

    def _breaker_changed(self, engine: str, provider: str, state: BreakerState) -> None:
        self.engine_breaker.labels(engine, provider).set({"closed": 0, "half_open": 1, "open": 2}[state])

    def _reloaded(self, reload: Reload) -> None:
        self.reloads.labels("failed" if reload.errors else "done").inc()
        self.reload_errors.set(reload.errors)
        if not reload.errors:
            self.reloaded_at.set(reload.at.timestamp())

    # -- what is told ----------------------------------------------------------------------------------

    async def look_at(self, outbox: Outbox) -> None:
        """Ask the database for its figures, unless that was done a moment ago; NaN where it does not tell."""
        async with self._looking:
            if monotonic() < self._look_again:
                return
            found = None
            with suppress(StorageError), anyio.move_on_after(PATIENCE_S):  # `/health` says why
                found = await outbox.figures()
            self.outbox_jobs.set(found.open if found else math.nan)
            self.outbox_oldest.set(found.oldest_s if found else math.nan)
            self.outbox_dead.set(found.dead if found else math.nan)
            self._look_again = monotonic() + FRESH_S

    def text(self) -> bytes:
        """Everything, in Prometheus' text format. Takes milliseconds: call it in a thread."""
        return generate_latest(self._told)


def _keep_values(share: Path | None) -> None:
    """Have prometheus_client keep what is counted from now on in this process alone, or in shared files.

    Files are told apart by shares and not, as by itself, by the numbers of processes: whoever has a dead
    one's share goes on with its counters, so that they never fall, and files do not pile up.
    """
    untyped: Any = values
    untyped.ValueClass = values.MutexValue if share is None else untyped.MultiProcessValue(lambda: share.name)
    # when a counter began: one more line for each, which Prometheus reads as a figure of its own
    disable_created_metrics()


class _AllProcesses(Collector):
    """What lies in the folder, added up."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        untyped: Any = MultiProcessCollector
        return untyped.merge([str(file) for file in self._folder.glob("*.db") if _has_begun(file)])


def _has_begun(file: Path) -> bool:
    """The library's own collector stumbles over a file that is empty still, or for ever where its process was
    killed in that moment."""
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:  # the gauges of one that has just gone
        return False
