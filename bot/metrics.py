"""Figures and vitals in Prometheus' words: the one place that knows its library; docs/operations.md has the table."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from bot.vitals import BOUNDS, Vitals
from data.figures import Figures, Verdicts, waited
from data.spending import MICRO

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Snapshot:
    """What one look found."""

    figures: Figures
    verdicts: Verdicts
    vitals: Vitals
    leads: bool
    now: datetime
    disk_free_bytes: int
    database_bytes: int
    caps: Mapping[str, int]
    """Micro-dollars by period."""


def rendered(snapshot: Snapshot) -> bytes:
    """Return a look as Prometheus reads it."""
    registry = CollectorRegistry()
    ProcessCollector(namespace="mynah", registry=registry)  # its start, memory and open files
    registry.register(_Once(snapshot))
    return generate_latest(registry)


class _Once(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        found, vitals, verdicts = self._snapshot.figures, self._snapshot.vitals, self._snapshot.verdicts
        now = self._snapshot.now
        yield _gauge("leads", "1: this process does the work", int(self._snapshot.leads))
        yield _gauge(
            "jobs", "Trainings that are stored, by status", found.jobs, "status", ("queued", "running", "done", "failed", "cancelled")
        )
        yield _gauge("jobs_at_stage", "Running trainings, by what they are at", found.stages, "stage")
        yield _gauge("training_tokens_per_second", "Tokens learned from a second, of all that are trained", found.tokens_per_second)
        yield _gauge("queue_oldest_seconds", "How long the oldest queued training has waited", waited(found.oldest_queued_at, now))
        yield _gauge("requests", "Requests for lines that are not answered yet", found.requests, "status", ("queued", "running"))
        yield _counter("lines", "Lines drawn since this process was first asked, by the verdict on them", verdicts.lines, "verdict")
        yield _counter("lines_said", "Lines among them that were shown", verdicts.said)
        states = ("draft", "approved", "sending", "posted", "rejected", "failed")
        yield _gauge("posts", "Posts that are stored, by status", found.posts, "status", states)
        yield _gauge("posts_awaiting_person", "Posts that wait for a person to look or decide", found.awaiting_person)
        yield _gauge("posting_paused", "1: posting is paused", int(found.paused))
        yield _gauge("voices", "Voices", found.voices)
        yield _gauge("models", "Versions of them", found.models)
        spent = GaugeMetricFamily("mynah_spent_dollars", "Spent on X in this UTC day and month", labels=("period", "kind"))
        for (period, kind), cost in sorted(found.spent.items()):
            spent.add_metric([period, kind], cost / MICRO)
        yield spent
        yield _gauge("spend_cap_dollars", "The caps on it", {name: cap / MICRO for name, cap in self._snapshot.caps.items()}, "period")
        if found.backed_up_at:
            moment = datetime.fromisoformat(found.backed_up_at).timestamp()
            yield _gauge("last_backup_timestamp_seconds", "When `mynah backup` last made one", moment)
        yield _gauge("database_bytes", "The database's file", self._snapshot.database_bytes)
        yield _gauge("database_free_bytes", "What of it holds nothing", found.free_bytes)
        yield _gauge("disk_free_bytes", "Free where the database lies", self._snapshot.disk_free_bytes)
        yield _gauge("loop_lag_seconds", "The longest that the event loop was late within a minute", vitals.loop_lag)
        if vitals.in_discord:
            yield _gauge("gateway_up", "1: connected to Discord", int(not vitals.gateway_down_seconds))
            yield _counter("gateway_connections", "Connections to Discord that were made, or made again", vitals.connections)
        buckets = list(zip([*map(str, BOUNDS), "+Inf"], accumulate(vitals.acknowledged), strict=True))
        acks = HistogramMetricFamily("mynah_ack_seconds", "From an interaction's arrival to its acknowledgement")
        acks.add_metric([], buckets, vitals.acknowledged_seconds)
        yield acks
        yield _counter("rate_limited", "Answers of 429, by who gave them", vitals.rate_limited, "service", ("discord", "x"))
        yield _counter("children_started", "Processes that were started, by kind", vitals.started, "kind", ("trainer", "speaker"))


Values = float | Mapping[str, float]


def _gauge(name: str, what: str, values: Values, label: str = "", always: Iterable[str] = ()) -> Metric:
    return _filled(GaugeMetricFamily, name, what, values, label, always)


def _counter(name: str, what: str, values: Values, label: str = "", always: Iterable[str] = ()) -> Metric:
    return _filled(CounterMetricFamily, name, what, values, label, always)


def _filled(
    kind: type[GaugeMetricFamily | CounterMetricFamily], name: str, what: str, values: Values, label: str, always: Iterable[str]
) -> Metric:
    """Return a family; `always`: labels that are there with a zero as well."""
    if not isinstance(values, Mapping):
        return kind(f"mynah_{name}", what, value=values)
    family = kind(f"mynah_{name}", what, labels=(label,))
    for key, value in sorted((dict.fromkeys(always, 0.0) | dict(values)).items()):
        family.add_metric([key], value)
    return family
