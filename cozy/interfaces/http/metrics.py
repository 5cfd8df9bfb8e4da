"""What `/metrics` tells to Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from cozy.engine.trace import Trace
from cozy.events import TurnFailed, TurnFinished
from cozy.interfaces.http.exchange import Exchange

# few: each bucket of each label is a line that is rendered at every scrape
_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_FAST = (0.001, 0.005, 0.02, 0.1, 0.5, 2, 10)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Metrics:
    """One process's figures, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        kept = self.registry
        self.requests = Counter(
            "cozy_http_requests", "Requests answered", ["method", "route", "status"], registry=kept
        )
        self.latency = Histogram(
            "cozy_http_request_seconds",
            "Time to the end of the answer",
            ["route"],
            buckets=_SECONDS,
            registry=kept,
        )
        self.in_flight = Gauge("cozy_http_requests_in_flight", "Requests being answered", registry=kept)
        self.refused = Counter("cozy_refused", "Requests refused, by limit", ["limit"], registry=kept)
        self.turns = Counter("cozy_turns", "Turns ended", ["personality", "outcome"], registry=kept)
        self.turn_seconds = Histogram(
            "cozy_turn_seconds", "Time of a whole turn", ["personality"], buckets=_SECONDS, registry=kept
        )
        self.first_word = Histogram(
            "cozy_first_word_seconds",
            "Time to the first word",
            ["personality"],
            buckets=_SECONDS,
            registry=kept,
        )
        self.stage_seconds = Histogram(
            "cozy_stage_seconds", "Time of one stage", ["stage_type"], buckets=_FAST, registry=kept
        )
        self.degraded = Counter(
            "cozy_stages_degraded",
            "Stages that went on without a value",
            ["personality", "stage", "code"],
            registry=kept,
        )
        self.tokens = Counter(
            "cozy_tokens", "Tokens, as model servers counted them", ["model", "kind"], registry=kept
        )
        self.running = Gauge("cozy_turns_running", "Turns under way", registry=kept)
        self.waiting = Gauge("cozy_turns_waiting", "Requests waiting for a turn", registry=kept)
        self.reloads = Counter("cozy_reloads", "Reloads of the personalities", ["outcome"], registry=kept)

    def request(self, method: str, exchange: Exchange) -> None:
        """Count a request that has been answered."""
        route = exchange.route or "none"
        known = method if method in _METHODS else "other"  # anybody may make words up
        self.requests.labels(known, route, str(exchange.status)).inc()
        self.latency.labels(route).observe(exchange.latency_ms / 1000)

    def turn(
        self, personality: str, ended: TurnFinished | TurnFailed | None, first_word_s: float | None
    ) -> None:
        """Count a turn; None: its reader left before the end."""
        outcome = "left" if ended is None else "failed" if isinstance(ended, TurnFailed) else "finished"
        self.turns.labels(personality, outcome).inc()
        if first_word_s is not None:
            self.first_word.labels(personality).observe(first_word_s)
        if ended is None:
            return
        trace: Trace = ended.trace
        self.turn_seconds.labels(personality).observe(trace.wall_s)
        for stage in trace.stages:
            if stage.outcome != "not run":
                self.stage_seconds.labels(stage.type).observe(stage.seconds)
            if stage.outcome == "degraded":
                self.degraded.labels(personality, stage.id, str(stage.facts.get("code", ""))).inc()
        for _, request in trace.requests[-1:]:
            self.tokens.labels(request.model, "prompt").inc(trace.usage.prompt_tokens)
            self.tokens.labels(request.model, "completion").inc(trace.usage.completion_tokens)

    def text(self) -> bytes:
        """Everything, in Prometheus' text format. Takes milliseconds: call it in a thread."""
        return generate_latest(self.registry)
