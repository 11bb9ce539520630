"""The gateway's channel against a server with the orchestrator's limits of a connection."""

from typing import Any

import grpc

from gateway.config import Address
from gateway.upstream.orchestrator import open_channel
from imagegen.v1 import jobs_pb2, jobs_pb2_grpc
from orchestrator.api import transport
from tests.unit.orchestrator.test_edge import KEY
from tests.unit.orchestrator.test_transport import served


async def test_more_calls_than_a_connection_takes_run_at_once_over_several() -> None:
    calls = transport.MAX_STREAMS + 50
    async with served() as port, open_channel(Address("127.0.0.1", port)) as channel:
        rotating: Any = channel
        jobs = jobs_pb2_grpc.JobServiceStub(rotating)
        watches: list[Any] = [
            jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id="forever"), metadata=[KEY], timeout=60) for _ in range(calls)
        ]
        for watch in watches:
            assert (await watch.read()).sequence == 1
        assert len(channel._links) == 2
        for watch in watches:
            watch.cancel()
            assert await watch.code() is grpc.StatusCode.CANCELLED
        job: jobs_pb2.Job = await jobs.GetJob(jobs_pb2.GetJobRequest(job_id="x"), metadata=[KEY], timeout=60)
        assert job.job_id
        assert len(channel._links) == 2, "calls that have ended make room"
