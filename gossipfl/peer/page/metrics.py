"""Metrics of a running peer in the text format of Prometheus.

Names follow https://prometheus.io/docs/practices/naming: base units, ``_total`` for counters. Labels have few
values: no neighbour's peer id is one.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from gossipfl import __version__
from gossipfl.peer.page.activity import Activity

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)

#: Name, key of the status, and meaning.
_GAUGES: Final = (
    ("model_age_steps", "age", "Age of the model, in training steps"),
    ("saved_model_age_steps", "saved_age", "Age of the model in the last checkpoint, in training steps"),
    ("loss", "loss", "Mean loss of the last training batches"),
    ("neighbours", "neighbours", "Peers in the view"),
    ("connected_peers", "connected", "Peers with a live connection"),
    ("start_time_seconds", "started", "Start of the peer, in seconds since 1970"),
)
_COUNTERS: Final = (
    ("training_steps", "step", "Training steps done by this peer, in all its starts"),
    ("model_changes", "event", "Versions of the model, in all its starts"),
    ("divergences", "divergences", "Resets of a model that held NaN or an infinity"),
)
_NETWORK: Final = (
    ("messages_sent", "messages_sent", "Complete messages sent"),
    ("messages_received", "messages_received", "Complete and valid messages received"),
    ("sent_bytes", "bytes_sent", "Bytes of the frames sent"),
    ("received_bytes", "bytes_received", "Bytes of the frames received"),
    ("connections_dialled", "connections_dialled", "Connections that this peer dialled"),
    ("connections_accepted", "connections_accepted", "Connections that others dialled"),
)
_ESTIMATES: Final = (
    ("peers", "peers", "Number of peers in the network, estimated by gossip"),
    ("test_metric_mean", "mean", "Mean of the task's first metric over the network, estimated by gossip"),
    ("consensus_distance", "consensus_distance", "Consensus distance of the network, estimated by gossip"),
)


class Metrics:
    """A registry of its own, whose values are those of the status at the moment of the scrape.

    Parameters
    ----------
    status : callable
        Returns the peer's status as plain values.
    activity : Activity
    is_healthy : callable
    """

    def __init__(
        self, status: Callable[[], Mapping[str, Any]], activity: Activity, is_healthy: Callable[[], bool]
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_PeerCollector(status, activity, is_healthy))
        ProcessCollector(registry=self._registry)
        self.predictions = Histogram(
            "gossipfl_predict_duration_seconds",
            "Time to answer a request for predictions",
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.requests = Counter(
            "gossipfl_http_requests",
            "Requests answered, by status code",
            ["code"],
            registry=self._registry,
        )

    def text(self) -> bytes:
        """Return all metrics now."""
        return generate_latest(self._registry)


class _PeerCollector(Collector):
    def __init__(
        self, status: Callable[[], Mapping[str, Any]], activity: Activity, is_healthy: Callable[[], bool]
    ) -> None:
        self._status = status
        self._activity = activity
        self._is_healthy = is_healthy

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        values = self._status()
        about = {"version": __version__, "task": values["task"], "peer_id": values["peer_id"]}
        yield InfoMetricFamily("gossipfl_peer", "The peer", value=about)
        yield GaugeMetricFamily("gossipfl_healthy", "Whether /healthz answers 200", value=self._is_healthy())
        for name, key, meaning in _GAUGES:
            if values[key] is not None:
                yield GaugeMetricFamily(f"gossipfl_{name}", meaning, value=values[key])
        for name, key, meaning in _COUNTERS:
            yield CounterMetricFamily(f"gossipfl_{name}", meaning, value=values[key])
        network = values["network"]
        for name, key, meaning in _NETWORK:
            yield CounterMetricFamily(f"gossipfl_{name}", meaning, value=network[key])
        yield _labelled_gauge(
            "test_metric", "Metrics on the peer's own test samples", "metric", values["metrics"]
        )
        codecs = collections.Counter(each["codec"] for each in values["peers"] if each["codec"] is not None)
        yield _labelled_gauge(
            "codec_neighbours", "Peers to which models are sent in a codec", "codec", codecs
        )
        held = {each["name"]: 1.0 for each in values["conditions"]}
        yield _labelled_gauge("condition", "Conditions that need an operator's attention", "condition", held)
        estimates = values["estimates"] or {}
        for name, key, meaning in _ESTIMATES:
            if estimates.get(key) is not None:
                yield GaugeMetricFamily(f"gossipfl_network_{name}", meaning, value=estimates[key])
        yield GaugeMetricFamily(
            "gossipfl_training_allowed",
            "Whether neither the operator nor the policy forbids training",
            value=values["permission"]["trains"],
        )
        yield GaugeMetricFamily(
            "gossipfl_merging_allowed",
            "Whether neither the operator nor the policy forbids merging",
            value=values["permission"]["merges"],
        )
        flow = values["flow"]
        if flow is not None:
            tokens = flow["tokens"]
            for name, meaning, value in (
                ("tokens", "Tokens for messages, in all accounts together", sum(tokens)),
                ("tokens_limit", "Most tokens that the accounts can hold", flow["capacity"] * len(tokens)),
            ):
                yield GaugeMetricFamily(f"gossipfl_{name}", meaning, value=value)
        conditions = (values["policy"] or {}).get("conditions", ())
        yield _labelled_gauge(
            "policy_condition_holds",
            "Whether a condition of the policy holds",
            "condition",
            {each["name"]: float(each["holds"]) for each in conditions},
        )
        yield _labelled_gauge(
            "policy_reading",
            "Last reading for a condition of the policy, in the unit of its setting",
            "condition",
            {each["name"]: each["value"] for each in conditions},
        )
        yield _labelled_gauge(
            "round_measure",
            "What the algorithm measured of itself in the last round",
            "measure",
            (values["rounds"] or {}).get("measures", {}),
        )
        gate = values["gate"] or {}
        activity = self._activity
        for name, meaning, label, counts in (
            ("refused_messages", "Messages this peer refused", "reason", network["refused"]),
            ("failed_exchanges", "Exchanges that failed", "reason", network["failed"]),
            ("exchanges", "Exchanges of models that this peer started", "outcome", activity.outcomes),
            (
                "gate_decisions",
                "Decisions of the gate on received models",
                "reason",
                gate.get("decisions", {}),
            ),
            ("records", "What happened to the model, by kind of record", "kind", activity.counts),
        ):
            yield _labelled_counter(name, meaning, label, dict(counts))
        for name, seconds, meaning in (
            ("exchange", activity.exchange_seconds, "Seconds of the exchanges that this peer started"),
            ("learning", activity.training_seconds, "Seconds of merging and training"),
        ):
            yield CounterMetricFamily(f"gossipfl_{name}_seconds", meaning, value=seconds)
        yield GaugeMetricFamily(
            "gossipfl_quarantined_peers",
            "Peers from which the gate takes nothing",
            value=len(gate.get("quarantined", ())),
        )


def _labelled_counter(name: str, meaning: str, label: str, counts: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"gossipfl_{name}", meaning, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


def _labelled_gauge(name: str, meaning: str, label: str, values: Mapping[str, float | None]) -> Metric:
    family = GaugeMetricFamily(f"gossipfl_{name}", meaning, labels=[label])
    for key, value in sorted(values.items()):
        if value is not None:
            family.add_metric([key], value)
    return family
