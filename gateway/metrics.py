"""Prometheus metrics of the gateway, named once; the names are part of the interface."""

from prometheus_client import Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120)
_BYTES = tuple(4.0**power for power in range(4, 15))

LABELS = ["route", "method", "status"]

REQUESTS = Histogram(
    "imagegen_rest_request_seconds",
    "Time of a request, from its headers to the end of its answer; 499: its client went before.",
    LABELS,
    buckets=_SECONDS,
)
RECEIVED = Histogram("imagegen_rest_received_bytes", "Bodies of requests.", ["route"], buckets=_BYTES)
SENT = Histogram("imagegen_rest_sent_bytes", "Bodies of answers.", ["route"], buckets=_BYTES)
OPEN = Gauge("imagegen_rest_open_requests", "Requests that are being answered.")
