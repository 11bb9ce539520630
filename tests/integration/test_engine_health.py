"""A Triton whose models' processes die or freeze, and says that it is ready all the same."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2

from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from local import triton
from local.settings import Ports
from orchestrator.errors import EngineFaultError, EngineRefusedError
from orchestrator.models.endpoint import Probing
from orchestrator.models.pool import TritonPool
from tests.integration import stubs
from tests.integration.stack import TINY, Client, details, serving, settings, text_to_image
from tests.integration.test_outages import until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
FEATURE = "text_to_image/tiny"
QUICK = {"probe_seconds": 0.5, "probe_timeout_seconds": 3.0}

FAULTY = '''"""The shared model, which fails on a batch whose first number is 13."""

from engines.openvino_engine import TritonPythonModel as Shared


class TritonPythonModel(Shared):
    def _run(self, batch):
        if any(tensors["sample"].flat[0] == 13 for tensors in batch):
            raise RuntimeError("out of memory")
        return super()._run(batch)
'''


async def refused(client: Client) -> grpc.aio.AioRpcError:
    """What a stream is refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.generate(text_to_image(steps=4, seed=5))
    return caught.value


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_jobs_outlive_the_process_of_a_model(number: signal.Signals, tmp_path: Path) -> None:
    """A dead or frozen UNet: no job fails, streams are asked to retry, health reports it; a new Triton goes on."""
    ports = Ports.free()
    config = settings(ports.triton_grpc, tmp_path, worker_slots=2, **QUICK)
    with triton.running([TINY], tmp_path / "triton", ports=ports) as first:
        async with serving(config) as (_, client):
            before = await client.generate(text_to_image(steps=4, seed=5))
            requests = [text_to_image(steps=40, seed=number, request_id=f"r{number}") for number in range(6)]
            jobs = [await client.jobs.CreateJob(jobs_pb2.CreateJobRequest(request=each)) for each in requests]
            await progressed(client, jobs[0].job_id)
            stubs.send(first.process.pid, "tiny_unet", number)
            error = await refused(client)
            assert error.code() == grpc.StatusCode.UNAVAILABLE
            found = details(error)
            assert isinstance(found["ErrorInfo"], error_details_pb2.ErrorInfo)
            assert found["ErrorInfo"].reason == "ENGINE_UNAVAILABLE"
            assert isinstance(found["RetryInfo"], error_details_pb2.RetryInfo)
            assert found["RetryInfo"].retry_delay.ToNanoseconds() > 0
            await until(client, FEATURE, NOT_SERVING)
            os.killpg(first.process.pid, signal.SIGKILL)
            with triton.running([TINY], tmp_path / "triton", ports=ports):
                await until(client, FEATURE, SERVING)
                again = await client.generate(text_to_image(steps=4, seed=5))
                assert again.data == before.data
                async with asyncio.timeout(60):
                    ended = [await finished(client, job.job_id) for job in jobs]
    assert {job.state for job in ended} == {jobs_pb2.JOB_STATE_SUCCEEDED}


async def test_a_frozen_server_is_given_up_and_taken_back(tmp_path: Path) -> None:
    """Calls in flight end when a known tensor is late; the same server serves again once it answers."""
    with triton.running([TINY], tmp_path / "triton") as server:
        async with serving(settings(server.grpc_port, tmp_path, **QUICK)) as (_, client):
            stream = client.generation.Generate(text_to_image(steps=150, seed=5))
            await first_step(stream)
            os.kill(server.process.pid, signal.SIGSTOP)
            try:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    async with asyncio.timeout(60):
                        await last_step(stream)
                assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
                await until(client, FEATURE, NOT_SERVING)
            finally:
                os.kill(server.process.pid, signal.SIGCONT)
            await until(client, FEATURE, SERVING)
            assert (await client.generate(text_to_image(steps=2))).data


@pytest.fixture
async def faulty(tmp_path: Path) -> AsyncIterator[TritonPool]:
    """A Triton whose UNet fails on certain contents."""
    shutil.copytree(TINY, tmp_path / "models")
    (tmp_path / "models/tiny_unet/1/model.py").write_text(FAULTY)
    with triton.running([tmp_path / "models"], tmp_path / "triton") as server:
        pool = TritonPool(server.grpc_url, 60.0, Probing(0.5, 5.0))
        await pool.check({"tiny_unet"})
        yield pool
        await pool.close()


async def test_a_fault_of_one_request_does_not_count_against_the_engine(faulty: TritonPool) -> None:
    """Tensors that the model refuses, or fails on, fail their request alone; the model goes on serving others."""
    info = await faulty.describe("tiny_unet")
    good = {
        "sample": np.ones((2, 4, 8, 8), np.float32),
        "timestep": np.ones((2, 1), np.float32),
        "encoder_hidden_states": np.ones((2, 77, 32), np.float32),
    }
    no_rows = {**good, "timestep": np.ones((2, 1, 1), np.float32)}
    bad = {**good, "sample": np.full((2, 4, 8, 8), 13, np.float32)}
    for _ in range(5):
        with pytest.raises(EngineRefusedError):
            await faulty.infer(info, no_rows, ["out_sample"])
        with pytest.raises(EngineFaultError) as caught:
            await faulty.infer(info, bad, ["out_sample"])
        assert not isinstance(caught.value, EngineRefusedError)
        (answer,) = await faulty.infer(info, good, ["out_sample"])
        assert answer.shape == (2, 4, 8, 8)


async def finished(client: Client, job_id: str) -> jobs_pb2.Job:
    """A job at its end."""
    async for _ in client.jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id=job_id)):
        pass
    return await client.jobs.GetJob(jobs_pb2.GetJobRequest(job_id=job_id))


async def progressed(client: Client, job_id: str) -> None:
    """A job at its first step."""
    await first_step(client.jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id=job_id)))


async def first_step(events: AsyncIterable[pb.GenerateEvent]) -> None:
    """Read a stream up to its first step."""
    async for event in events:
        if event.HasField("progress"):
            return


async def last_step(events: AsyncIterable[pb.GenerateEvent]) -> None:
    """Read a stream to its end."""
    async for _ in events:
        pass
