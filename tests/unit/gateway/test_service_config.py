"""The service config for clients: what is retried, and what must not be."""

import json

from gateway.upstream import SERVICE_CONFIG
from imagegen.v1 import accounts_pb2, generation_pb2, jobs_pb2

MAY_RUN_ONCE_ONLY = {"GenerationService/Generate", "JobService/CreateJob", "JobService/EstimateJob"}


def test_unavailable_alone_is_retried_and_nothing_that_makes_a_job() -> None:
    retried = set()
    for method in json.loads(SERVICE_CONFIG.read_text())["methodConfig"]:
        assert method["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE"]
        assert method["retryPolicy"]["maxAttempts"] == 3
        retried |= {f"{name['service'].removeprefix('imagegen.v1.')}/{name['method']}" for name in method["name"]}
    files = (accounts_pb2.DESCRIPTOR, generation_pb2.DESCRIPTOR, jobs_pb2.DESCRIPTOR)
    services = [service for file in files for service in file.services_by_name.values()]
    assert retried == {f"{s.name}/{m.name}" for s in services for m in s.methods} - MAY_RUN_ONCE_ONLY
