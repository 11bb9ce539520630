"""The whole service with storages and stores: an orchestrator on a real Triton, a real database and a real S3."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import grpc
import httpx
import numpy as np
import psycopg
import pytest
from google.rpc import error_details_pb2

from gateway.__main__ import listen
from gateway.config import Address
from imagegen.v1 import generation_pb2 as pb
from imagegen.v1 import jobs_pb2
from orchestrator.config import Settings
from orchestrator.results.storages import PLACES
from tests.accounts import new_key
from tests.integration.both_protocols import gateway, url_of
from tests.integration.results.s3 import BUCKET, Server
from tests.integration.stack import Client, details, serving, settings

SIDE = 64
PICTURE = cv2.imencode(".png", np.arange(SIDE * SIDE * 3, dtype=np.uint8).reshape(SIDE, SIDE, 3))[1].tobytes()


def edit(url: str = "storage://shop/in.png", **output: object) -> pb.GenerateRequest:
    """A picture rewritten: no network takes part."""
    return pb.GenerateRequest(edit=pb.Edit(image=pb.ImageSource(url=url)), output=pb.Output(**output))  # type: ignore[arg-type]


@pytest.fixture
def config(tiny_triton: int, server: Server, tmp_path: Path) -> Settings:
    """Everybody has a storage "shop" with one picture in it."""
    chosen = settings(tiny_triton, tmp_path)
    with psycopg.connect(chosen.database_url, autocommit=True) as connection:
        place = PLACES.dump_json(server.place(prefix="shop")).decode()
        connection.execute("INSERT INTO imagegen.storages VALUES (1, 'shop', 's3', %s)", (place,))
    server.client.put_object(Bucket=BUCKET, Key="shop/in.png", Body=PICTURE)
    return chosen


@pytest.fixture
async def client(config: Settings, server: Server) -> AsyncIterator[Client]:
    async with serving(config) as (_, connected):
        yield connected
    server.clear()


async def read(client: Client, name: str) -> tuple[bytes, jobs_pb2.ReadResultResponse]:
    """A picture's bytes, and the first answer."""
    answers = [answer async for answer in client.jobs.ReadResult(jobs_pb2.ReadResultRequest(name=name))]
    return b"".join(answer.data for answer in answers), answers[0]


async def test_a_picture_comes_from_a_storage_and_a_copy_goes_to_one(client: Client, server: Server) -> None:
    seen = await client.generate(edit(target="storage://shop/out/a b.png"))
    assert server.list_keys() == ["shop/in.png", "shop/out/a b.png"]
    copy = server.client.get_object(Bucket=BUCKET, Key="shop/out/a b.png")
    assert copy["Body"].read() == seen.data
    assert copy["ContentType"] == "image/png"
    pixels, original = (cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR) for file in (seen.data, PICTURE))
    np.testing.assert_array_equal(pixels, original)


async def test_storages_over_rest(config: Settings, server: Server) -> None:
    key, listener = await new_key(config.database_url, "test"), listen(Address("127.0.0.1", 0))
    with psycopg.connect(config.database_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE imagegen.storages SET account_id = (SELECT id FROM imagegen.accounts WHERE name = 'test')"
        )
    async with (
        serving(config.model_copy(update={"public_url": url_of(listener)})) as (orchestrator, _),
        gateway(listener, orchestrator.grpc_port, key) as http,
    ):
        body = {"url": "storage://shop/in.png", "target": "storage://shop/rest.png"}
        answer = (await http.post("/rest_api/process_result", json=body)).json()
        assert answer["status"] == "complete"
        copy = server.client.get_object(Bucket=BUCKET, Key="shop/rest.png")["Body"].read()
        assert (await http.get(answer["result_url"])).content == copy
        in_folder = (await http.post("/rest_api/process_result", json={**body, "target": "storage://shop/new/"})).json()
        copy = server.client.get_object(Bucket=BUCKET, Key=f"shop/new/{in_folder['job']}.png")["Body"].read()
        assert (await http.get(in_folder["result_url"])).content == copy
        for field in body:
            refused = await http.post("/rest_api/process", json={**body, field: "storage://other/a.png"})
            end = "source" if field == "url" else "target"
            said = f"Invalid {end} storage. {field} names the storage other, which"
            assert (refused.status_code, refused.json()["message"].startswith(said)) == (400, True)
    server.clear()


@pytest.mark.parametrize(
    ("request_", "field", "said"),
    [
        (edit("storage://other/in.png"), "edit.image.url", "names the storage other, which the account does not have"),
        (edit("storage://shop/../in.png"), "edit.image.url", "without empty parts"),
        (edit("storage://shop/none.png"), "edit.image", "storage shop has nothing under this path"),
        (edit(target="storage://other/x"), "output.target", "names the storage other, which the account does not have"),
        (edit(target="https://shop.example/x"), "output.target", "must begin with storage://"),
    ],
)
async def test_what_a_storage_has_not_is_refused_by_its_field(
    client: Client, request_: pb.GenerateRequest, field: str, said: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.generate(request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"{field}: " in (caught.value.details() or "")
    assert said in (caught.value.details() or "")


async def test_a_stored_picture_is_read_with_its_hash_until_its_time_is_over(
    client: Client, config: Settings, tmp_path: Path
) -> None:
    seen = await client.generate(edit(delivery=pb.DELIVERY_URI))
    assert seen.data == b""
    name = seen.artifact.uri.rpartition("/")[2]
    data, first = await read(client, name)
    assert (len(data), first.content_type, first.file_size) == (seen.artifact.file_size, "image/png", len(data))
    assert first.sha256 == hashlib.sha256(data).digest()
    assert [path.name for path in (tmp_path / "results").iterdir()] == [name]
    with psycopg.connect(config.database_url, autocommit=True) as connection:
        connection.execute("UPDATE imagegen.results SET expires_at = now()")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read(client, name)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_corrupt_picture_is_an_error_with_its_reason_in_both_protocols(
    config: Settings, tmp_path: Path
) -> None:
    """One byte of it is another: 500 and DATA_LOSS, for GET, HEAD and If-None-Match alike; the job's own answer too."""
    listener = listen(Address("127.0.0.1", 0))
    async with (
        serving(config.model_copy(update={"public_url": url_of(listener)})) as (orchestrator, client),
        gateway(listener, orchestrator.grpc_port, "any") as http,
    ):
        seen = await client.generate(edit("storage://shop/in.png", delivery=pb.DELIVERY_URI))
        good = await http.get(seen.artifact.uri)
        assert good.status_code == 200
        (file,) = (tmp_path / "results").iterdir()
        data = bytearray(file.read_bytes())
        data[-20] ^= 1
        file.write_bytes(data)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await read(client, file.name)
        assert caught.value.code() is grpc.StatusCode.DATA_LOSS
        info = details(caught.value)["ErrorInfo"]
        assert isinstance(info, error_details_pb2.ErrorInfo)
        assert info.reason == "RESULT_CORRUPT"
        for headers in ({}, {"If-None-Match": good.headers["ETag"]}):
            answer = await http.get(seen.artifact.uri, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (500, "DATA_LOSS")
            assert "corrupt" in answer.json()["message"]
        assert (await http.head(seen.artifact.uri)).status_code == 500


async def test_an_account_that_has_as_many_bytes_as_it_may_is_refused(config: Settings) -> None:
    """With reason and time, in both protocols; repeats of what was taken are answered; room is made by deleting."""
    key, listener = await new_key(config.database_url, "test", max_stored_bytes=1), listen(Address("127.0.0.1", 0))
    with psycopg.connect(config.database_url, autocommit=True) as connection:
        connection.execute(
            "UPDATE imagegen.storages SET account_id = (SELECT id FROM imagegen.accounts WHERE name = 'test')"
        )
    metadata = (("x-api-key", key),)
    async with (
        serving(config.model_copy(update={"public_url": url_of(listener)})) as (orchestrator, client),
        gateway(listener, orchestrator.grpc_port, key) as http,
    ):
        first = jobs_pb2.CreateJobRequest(request=edit("storage://shop/in.png"))
        first.request.request_id = "first"
        job = await client.jobs.CreateJob(first, metadata=metadata)
        async for _ in client.jobs.WatchJob(jobs_pb2.WatchJobRequest(job_id=job.job_id), metadata=metadata):
            pass
        another = jobs_pb2.CreateJobRequest(request=edit("storage://shop/in.png"))
        refused = await until_refused(client, another, metadata)
        assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        found = details(refused)
        assert isinstance(found["ErrorInfo"], error_details_pb2.ErrorInfo)
        assert found["ErrorInfo"].reason == "RESULTS_FULL"
        assert isinstance(found["RetryInfo"], error_details_pb2.RetryInfo)
        assert "bytes of images stored, and may have 1: delete jobs" in (refused.details() or "")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.generate(edit("storage://shop/in.png", delivery=pb.DELIVERY_URI), {"x-api-key": key})
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await client.generate(edit("storage://shop/in.png"), {"x-api-key": key})).data, "inline: stores nothing"
        answer = await http.post("/rest_api/process", json={"url": "storage://shop/in.png"})
        assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_REQUESTS")
        assert "bytes of images stored" in answer.json()["message"]
        assert int(answer.headers["Retry-After"]) >= 1
        assert (await client.jobs.CreateJob(first, metadata=metadata)).job_id == job.job_id
        await client.jobs.DeleteJob(jobs_pb2.DeleteJobRequest(job_id=job.job_id), metadata=metadata)
        async with asyncio.timeout(30):
            while True:  # jobs that still ran may store a picture after the first listing
                await delete_all(client, metadata)
                try:
                    await client.jobs.CreateJob(another, metadata=metadata)
                    break
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.1)


async def delete_all(client: Client, metadata: tuple[tuple[str, str], ...]) -> None:
    """Delete every job that has a picture, page by page."""
    asked = jobs_pb2.ListJobsRequest(page_size=100, state=jobs_pb2.JOB_STATE_SUCCEEDED)
    while True:
        page = await client.jobs.ListJobs(asked, metadata=metadata)
        for each in page.jobs:
            await client.jobs.DeleteJob(jobs_pb2.DeleteJobRequest(job_id=each.job_id), metadata=metadata)
        if not page.next_page_token:
            return
        asked.page_token = page.next_page_token


async def until_refused(
    client: Client, request: jobs_pb2.CreateJobRequest, metadata: tuple[tuple[str, str], ...]
) -> grpc.aio.AioRpcError:
    """The refusal of a request; what is stored is read once a second."""
    async with asyncio.timeout(30):
        while True:
            try:
                await client.jobs.CreateJob(request, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                return error


async def test_s3_is_the_store_and_its_links_are_read_without_us(
    config: Settings, server: Server, tiny_triton: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAKEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    changes = {"results_url": f"s3://{BUCKET}/results", "s3_endpoint": server.url, "database_url": config.database_url}
    async with serving(settings(tiny_triton, tmp_path, **changes)) as (_, client):
        seen = await client.generate(edit(delivery=pb.DELIVERY_URI))
        assert seen.artifact.uri.startswith(f"{server.url}/{BUCKET}/results/")
        async with httpx.AsyncClient() as web:
            answer = await web.get(seen.artifact.uri)
        assert answer.headers["Content-Type"] == "image/png"
        assert len(answer.content) == seen.artifact.file_size
        name = seen.artifact.uri.partition("?")[0].rpartition("/")[2]
        assert (await read(client, name))[0] == answer.content
    server.clear()
