"""Triton goes, comes back, or lacks a model; keys are missing or wrong."""

import asyncio
import contextlib
import shutil
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from imagegen.v1 import generation_pb2 as pb
from local import triton
from local.settings import Ports
from tests.accounts import new_key
from tests.integration.stack import TINY, TINY_FAMILIES, Client, details, serving, settings, text_to_image


async def until(client: Client, feature: str, status: int) -> None:
    """Wait until a feature has that health."""
    stub = health_pb2_grpc.HealthStub(client.channel)
    async with asyncio.timeout(60):
        async for answer in stub.Watch(health_pb2.HealthCheckRequest(service=feature)):
            if answer.status == status:
                return


async def test_triton_goes_and_comes_back(tmp_path: Path) -> None:
    """UNAVAILABLE with RetryInfo while it is gone; afterwards all is well, by itself."""
    ports = Ports.free()
    with contextlib.ExitStack() as first:
        first.enter_context(triton.running([TINY], tmp_path / "triton", ports=ports))
        async with serving(settings(ports.triton_grpc, tmp_path)) as (_, client):
            before = await client.generate(text_to_image(steps=2, seed=5))
            first.close()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.generate(text_to_image(steps=2, seed=5))
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            found = details(caught.value)
            assert isinstance(found["RetryInfo"], error_details_pb2.RetryInfo)
            await until(client, "text_to_image/tiny", health_pb2.HealthCheckResponse.NOT_SERVING)
            with triton.running([TINY], tmp_path / "triton", ports=ports):
                await until(client, "text_to_image/tiny", health_pb2.HealthCheckResponse.SERVING)
                again = await client.generate(text_to_image(steps=2, seed=5))
                assert again.data == before.data


async def test_a_model_that_is_missing(tmp_path: Path) -> None:
    """The server starts, says that the family is not ready, and answers UNAVAILABLE for it."""
    repository = tmp_path / "models"
    shutil.copytree(TINY, repository, ignore=shutil.ignore_patterns("tiny_vae_decoder"))
    with triton.running([repository], tmp_path / "triton") as server:
        async with serving(settings(server.grpc_port, tmp_path)) as (_, client):
            await until(client, "", health_pb2.HealthCheckResponse.NOT_SERVING)
            await until(client, "live", health_pb2.HealthCheckResponse.SERVING)  # a liveness probe kills nobody for it
            families = await client.generation.ListFamilies(pb.ListFamiliesRequest())
            assert not families.families[0].ready
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.generate(text_to_image())
            assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
            assert "not ready" in (caught.value.details() or "")


async def test_a_model_with_other_tensors_is_not_used(tiny_triton: int, tmp_path: Path) -> None:
    """A folder that breaks the contract leaves its family not ready, instead of failing each request."""
    families = tmp_path / "families.toml"
    families.write_text(
        TINY_FAMILIES.read_text()
        .replace('vae_decoder = "tiny_vae_decoder"', 'vae_decoder = "tiny_unet"')
        .replace('tokenizer = "', f'tokenizer = "{TINY_FAMILIES.parent}/')
    )
    async with serving(settings(tiny_triton, tmp_path, families=families)) as (_, client):
        await until(client, "text_to_image/tiny", health_pb2.HealthCheckResponse.NOT_SERVING)


async def test_keys(tiny_triton: int, tmp_path: Path) -> None:
    """No key, a wrong key, and the right one; health and reflection need none."""
    config = settings(tiny_triton, tmp_path, anonymous=False)
    key = await new_key(config.database_url, "anna")
    async with serving(config) as (_, client):
        for metadata, reason in (({}, "API_KEY_MISSING"), ({"x-api-key": "guess"}, "API_KEY_UNKNOWN")):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.generate(text_to_image(steps=1), metadata)
            assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
            info = details(caught.value)["ErrorInfo"]
            assert isinstance(info, error_details_pb2.ErrorInfo)
            assert info.reason == reason
        seen = await client.generate(text_to_image(steps=1), {"x-api-key": key})
        assert seen.data
        await until(client, "", health_pb2.HealthCheckResponse.SERVING)
