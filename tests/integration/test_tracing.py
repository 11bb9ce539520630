"""Traces from a gateway through gRPC, the queue and each step to Triton, as a collector receives them."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import httpx
import prometheus_client.openmetrics.exposition as openmetrics
import pytest
import structlog
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2
from prometheus_client import REGISTRY

from common import logs, tracing
from imagegen.v1 import generation_pb2 as pb
from local import triton
from tests.integration.both_protocols import BothProtocols, both_here
from tests.integration.stack import TINY, TINY_FAMILIES, serving, settings, text_to_image
from tests.triton_traces import arguments, http_collector

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
"""A traceparent, of the W3C's document."""
OTHER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BODY = {"width": 64, "height": 64, "background": {"generate": {"description": "a red apple"}}}


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """OTLP over gRPC, by OpenTelemetry's own service definition."""

    def __init__(self) -> None:
        self.spans: list[trace_pb2.Span] = []
        self.services: set[str] = set()

    def Export(self, request: Any, context: object) -> Any:  # noqa: ARG002, N802 - of the service
        """See the service."""
        for resource in request.resource_spans:
            named = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.services.add(named["service.name"])
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()

    def named(self, name: str) -> list[trace_pb2.Span]:
        """Spans of a name."""
        return [each for each in self.spans if each.name == name]


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector on loopback that this process sends to, every trace."""
    server, found = grpc.server(futures.ThreadPoolExecutor(2)), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(found, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    tracing.start("imagegen-test", f"http://127.0.0.1:{port}", 1.0, "1")
    try:
        yield found
    finally:
        tracing.stop()
        server.stop(None).wait()


@pytest.fixture
async def ways(tiny_triton: int, tmp_path: Path, collector: Collector) -> AsyncIterator[BothProtocols]:
    assert collector is not None
    async with both_here(tiny_triton, TINY_FAMILIES, tmp_path) as found:
        yield found


def facts(span: trace_pb2.Span) -> dict[str, Any]:
    """Attributes of a span."""
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


async def test_a_request_is_followed_from_its_client_to_every_step(ways: BothProtocols, collector: Collector) -> None:
    answer = await ways.http.post("/rest_api/process_result", json=BODY, headers={"traceparent": CALLER})
    assert answer.json()["status"] == "complete"
    tracing.stop()
    by_id = {each.span_id: each for each in collector.spans}
    (served,) = collector.named("POST /rest_api/process_result")
    assert served.trace_id.hex() == CALLER.split("-")[1], "W3C context comes in"
    assert served.parent_span_id.hex() == CALLER.split("-")[2]
    assert facts(served)["http.response.status_code"] == 200
    (created,) = collector.named("imagegen.v1.JobService/CreateJob")
    assert by_id[created.parent_span_id] is served
    (job,) = collector.named("job")
    assert job.trace_id != created.trace_id, "it may start hours later, and again"
    assert [(each.trace_id, each.span_id) for each in job.links] == [(created.trace_id, created.span_id)]
    assert facts(job)["imagegen.task"] == "text_to_image"
    (denoise,) = collector.named("stage denoise")
    assert by_id[denoise.parent_span_id] is job
    steps = [each for each in denoise.events if each.name == "step"]
    calls = [each for each in collector.spans if each.name.endswith("unet") and each.parent_span_id == denoise.span_id]
    assert len(steps) == len(calls) >= 2
    assert all(facts(each)["imagegen.rows"] >= 1 for each in calls)
    assert all(each.kind == trace_pb2.Span.SPAN_KIND_CLIENT for each in calls)


async def test_a_stream_is_a_part_of_its_call(ways: BothProtocols, collector: Collector) -> None:
    await ways.client.generate(text_to_image(size=pb.Size(width=64, height=64)))
    tracing.stop()
    by_id = {each.span_id: each for each in collector.spans}
    (stream,) = collector.named("stream")
    assert by_id[stream.parent_span_id].name == "imagegen.v1.GenerationService/Generate"
    assert {each.name for each in collector.spans if each.trace_id == stream.trace_id} >= {
        "stage encode",
        "stage decode",
    }


async def test_tritons_own_spans_are_parts_of_our_calls(collector: Collector, tmp_path: Path) -> None:
    """Of requests that are recorded, whether alone in a batch or with others; of all others there is none.

    Triton may drop spans where its machine is busy, so not every call is asked for.
    """

    def request(seed: int) -> pb.GenerateRequest:
        return text_to_image(seed=seed, steps=6, size=pb.Size(width=64, height=64))

    with (
        http_collector() as of_triton,
        triton.running([TINY], tmp_path / "triton", arguments=arguments(of_triton.url)) as server,
    ):
        async with serving(settings(server.grpc_port, tmp_path)) as (_, client):
            await client.generate(request(0))
            alone = await asyncio.to_thread(of_triton.wait, "tiny_unet", 1)
            await asyncio.gather(*(client.generate(request(seed)) for seed in (1, 2, 3)))
            await asyncio.to_thread(of_triton.wait, "tiny_unet", len(alone) + 1)
            tracing.stop()
            tracing.start("imagegen-test", "http://127.0.0.1:9", 0.0, "1")
            await client.generate(request(4), {"traceparent": CALLER})
            tracing.stop()
    ours = {each.span_id.hex(): each.trace_id.hex() for each in collector.spans if each.name.startswith("infer ")}
    assert of_triton.services == {"imagegen-triton"}
    assert of_triton.named("compute"), "when the model itself ran"
    received = of_triton.named("InferRequest")
    assert {each["parentSpanId"] for each in received} <= ours.keys(), "probes belong to no request"
    assert all(each["traceId"] == ours[each["parentSpanId"]] for each in received)
    assert {each["traceId"] for each in of_triton.spans} <= set(ours.values()), "no other call is recorded"


async def test_log_lines_and_exemplars_carry_the_trace(
    ways: BothProtocols, collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    before, config = logging.getLogger().handlers[:], structlog.get_config()
    logs.configure("info")
    try:
        await ways.http.get("/rest_api/me", headers={"traceparent": OTHER})
    finally:
        logging.getLogger().handlers[:] = before
        structlog.configure(**config)
    assert collector is not None
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    (line,) = [each for each in lines if each.get("route") == "/rest_api/me"]
    assert line["trace_id"] == OTHER.split("-")[1]
    page = openmetrics.generate_latest(REGISTRY).decode()  # type: ignore[no-untyped-call]
    (sample,) = [
        each
        for each in page.splitlines()
        if each.startswith("imagegen_rest_request_seconds_bucket{") and OTHER.split("-")[1] in each
    ]
    assert 'route="/rest_api/me"' in sample


async def test_nothing_is_recorded_that_is_not_switched_on(tiny_triton: int, tmp_path: Path) -> None:
    assert tracing.headers() == {}
    async with both_here(tiny_triton, TINY_FAMILIES, tmp_path) as ways, asyncio.timeout(60):
        answer = await ways.http.get("/rest_api/me", headers={"traceparent": CALLER})
        assert answer.status_code == httpx.codes.OK
    assert tracing.trace_id() is None
