"""The service config for clients: how long each method may take, and what is retried."""

import json
from typing import Any

from gateway.upstream.orchestrator import SERVICE_CONFIG
from imagegen.v1 import accounts_pb2, generation_pb2, jobs_pb2, provenance_pb2, webhooks_pb2

SENDS_AGAIN_EACH_TIME = {"WebhookService/ResendDelivery"}
CONFIG: dict[str, Any] = json.loads(SERVICE_CONFIG.read_text())


def methods(*, retried: bool) -> list[str]:
    """Names of the methods that the config has, those that are retried or all."""
    found = [method for method in CONFIG["methodConfig"] if not retried or "retryPolicy" in method]
    return [f"{n['service'].removeprefix('imagegen.v1.')}/{n['method']}" for method in found for n in method["name"]]


def test_every_method_has_a_timeout_once() -> None:
    files = (accounts_pb2, generation_pb2, jobs_pb2, provenance_pb2, webhooks_pb2)
    services = [service for file in files for service in file.DESCRIPTOR.services_by_name.values()]
    assert sorted(methods(retried=False)) == sorted(f"{s.name}/{m.name}" for s in services for m in s.methods)
    assert all(float(method["timeout"].removesuffix("s")) >= 30 for method in CONFIG["methodConfig"])


def test_unavailable_alone_is_retried_and_nothing_that_would_happen_twice() -> None:
    """GRPC sends a stream again only before its first message; CreateJob is safe by its request_id."""
    assert set(methods(retried=False)) - set(methods(retried=True)) == SENDS_AGAIN_EACH_TIME
    for method in CONFIG["methodConfig"]:
        if "retryPolicy" in method:
            assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
            assert method["retryPolicy"]["maxAttempts"] == 3
