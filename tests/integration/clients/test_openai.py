"""OpenAI's own client package against the whole stack: what it parses, and which of its errors it raises."""

import asyncio
import base64
import contextlib
import io
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import openai
import pytest
import pytest_asyncio
from openai.types import ImageEditPartialImageEvent, ImageGenCompletedEvent, ImageGenPartialImageEvent
from openai.types.images_response import ImagesResponse

from imagegen.v1 import jobs_pb2, jobs_pb2_grpc
from tests.accounts import new_key
from tests.integration.clients.conftest import Endpoints, running
from tests.integration.pictures import decode, encode, scene
from tests.integration.stack import ADAPTERS_FAMILIES
from tests.integration.web import serve_web

pytestmark = pytest.mark.asyncio(loop_scope="module")
PNG = b"\x89PNG"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(endpoints: Endpoints) -> AsyncIterator[openai.AsyncOpenAI]:
    """The asynchronous client, which asks once."""
    async with openai.AsyncOpenAI(base_url=f"{endpoints.rest}/v1", api_key=endpoints.key, max_retries=0) as found:
        yield found


def files(answer: ImagesResponse) -> list[bytes]:
    """The pictures of an answer."""
    assert answer.data is not None
    return [base64.b64decode(image.b64_json or "") for image in answer.data]


def seeds(answer: ImagesResponse) -> list[int]:
    """The seeds of an answer, which are beyond what OpenAI has."""
    return [(image.model_extra or {})["seed"] for image in answer.data or []]


def named(data: bytes, name: str = "picture.png") -> io.BytesIO:
    """A file with a name, as clients send one."""
    file = io.BytesIO(data)
    file.name = name
    return file


async def test_text_to_picture(client: openai.AsyncOpenAI) -> None:
    """The family's default size and PNG in base64, without anything else said."""
    answer = await client.images.generate(prompt="a red apple")
    (picture,) = files(answer)
    assert picture.startswith(PNG)
    assert (answer.size, answer.output_format, answer.background) == ("96x64", "png", "opaque")
    assert decode(picture).shape == (64, 96, 3)


async def test_the_synchronous_client(endpoints: Endpoints) -> None:
    def work() -> ImagesResponse:
        with openai.OpenAI(base_url=f"{endpoints.rest}/v1", api_key=endpoints.key) as client:
            return client.images.generate(prompt="a red apple", model="small", size="128x64", n=2)

    answer = await asyncio.to_thread(work)
    assert [decode(each).shape for each in files(answer)] == [(64, 128, 3)] * 2


async def test_n_pictures_have_seeds_of_their_own(client: openai.AsyncOpenAI) -> None:
    """Ten, each by its seed what that seed alone gives."""
    answer = await client.images.generate(prompt="a red apple", n=10, extra_body={"seed": 40})
    assert seeds(answer) == list(range(40, 50))
    assert len(set(files(answer))) == 10
    alone = await client.images.generate(prompt="a red apple", extra_body={"seed": 47})
    assert files(alone)[0] == files(answer)[7]
    drawn = await client.images.generate(prompt="a red apple", n=2)
    assert len(set(seeds(drawn))) == 2


async def test_links(client: openai.AsyncOpenAI) -> None:
    """response_format url: a link that needs no key."""
    answer = await client.images.generate(prompt="apple", response_format="url", n=2, size="64x64")
    assert answer.data is not None
    assert [image.b64_json for image in answer.data] == [None, None]
    for image in answer.data:
        async with httpx.AsyncClient() as web:
            assert (await web.get(image.url or "")).content.startswith(PNG)


@pytest.mark.parametrize(("name", "start"), [("jpeg", b"\xff\xd8\xff"), ("webp", b"RIFF"), ("png", PNG)])
async def test_formats(client: openai.AsyncOpenAI, name: Any, start: bytes) -> None:
    compression = None if name == "png" else 30
    answer = await client.images.generate(prompt="apple", output_format=name, output_compression=compression)
    assert files(answer)[0].startswith(start)
    assert answer.output_format == name


async def test_less_quality_is_a_smaller_file(client: openai.AsyncOpenAI) -> None:
    sizes = []
    for quality in (5, 95):
        answer = await client.images.generate(
            prompt="apple", output_format="jpeg", output_compression=quality, extra_body={"seed": 1}
        )
        sizes.append(len(files(answer)[0]))
    assert sizes[0] < sizes[1]


async def test_a_transparent_background(client: openai.AsyncOpenAI) -> None:
    picture = encode(scene())
    answer = await client.images.edit(
        image=named(picture), prompt="apple", background="transparent", extra_body={"strength": 0.1}
    )
    opacity = decode(files(answer)[0])[..., 3]
    assert opacity.min() < 255
    assert answer.background == "transparent"


async def test_everything_else_by_extra_body(client: openai.AsyncOpenAI) -> None:
    """Short names of what nearly everybody wants; and any field of the documented JSON."""
    extra = {"seed": 5, "steps": 2, "sampler": "euler", "guidance_scale": 1.0, "negative_prompt": "pear"}
    first = await client.images.generate(prompt="apple", extra_body=extra)
    again = await client.images.generate(prompt="apple", extra_body={**extra, "priority": "high"})
    other = await client.images.generate(prompt="apple", extra_body={**extra, "steps": 3})
    assert files(first) == files(again) != files(other)
    wide = await client.images.generate(prompt="apple", extra_body={"print_size": "a10", "dpi": 100})
    assert wide.size == "102x146"


async def test_fields_without_an_effect_are_taken(client: openai.AsyncOpenAI) -> None:
    answer = await client.images.generate(
        prompt="apple", quality="high", style="vivid", moderation="low", user="somebody", background="auto", size="auto"
    )
    assert (answer.quality, answer.safety_identifier) == ("high", "somebody")


@pytest.mark.parametrize("count", [0, 1, 2])
async def test_a_stream_with_previews(client: openai.AsyncOpenAI, count: int) -> None:
    """As many as were asked for, each a picture; then the picture itself."""
    stream = await client.images.generate(
        prompt="apple", stream=True, partial_images=count, size="128x64", extra_body={"seed": 3, "steps": 12}
    )
    events = [event async for event in stream]
    *partial, last = events
    assert len(partial) <= count
    assert bool(partial) == bool(count)
    for index, event in enumerate(partial):
        assert isinstance(event, ImageGenPartialImageEvent)
        assert event.partial_image_index == index
        assert base64.b64decode(event.b64_json).startswith(b"\xff\xd8\xff")
    assert isinstance(last, ImageGenCompletedEvent)
    assert (last.size, last.output_format, last.usage.total_tokens) == ("128x64", "png", 0)
    alone = await client.images.generate(prompt="apple", size="128x64", extra_body={"seed": 3, "steps": 12})
    assert base64.b64decode(last.b64_json) == files(alone)[0]


async def test_a_stream_of_the_synchronous_client(endpoints: Endpoints) -> None:
    def work() -> list[str]:
        with openai.OpenAI(base_url=f"{endpoints.rest}/v1", api_key=endpoints.key) as client:
            stream = client.images.generate(prompt="apple", stream=True, n=2)
            return [event.type for event in stream]

    assert await asyncio.to_thread(work) == ["image_generation.completed"] * 2


async def test_an_edit_without_a_mask_changes_the_picture(client: openai.AsyncOpenAI) -> None:
    """The more, the higher the strength."""
    start = scene(96, 64)
    away = []
    for strength in (0.25, 1.0):
        extra = {"seed": 1, "strength": strength}
        answer = await client.images.edit(image=named(encode(start)), prompt="apple", extra_body=extra)
        changed = decode(files(answer)[0])
        assert changed.shape == start.shape
        away.append(np.abs(changed.astype(int) - start).mean())
    assert 0 < away[0] < away[1]


async def test_a_mask_is_painted_where_it_is_clear(client: openai.AsyncOpenAI) -> None:
    """Whatever its colours are; everything else stays, bit for bit."""
    start, mask = scene(96, 64), np.full((64, 96, 4), 255, np.uint8)
    mask[16:48, 24:72, 3] = 0
    answer = await client.images.edit(image=named(encode(start)), mask=named(encode(mask)), prompt="apple")
    changed = decode(files(answer)[0])
    outside = mask[..., 3] > 0
    assert np.array_equal(changed[outside], start[outside])
    assert not np.array_equal(changed[~outside], start[~outside])


async def test_a_mask_with_several_pictures(client: openai.AsyncOpenAI) -> None:
    """It is the mask of the first; the others steer what is painted, and nothing outside of it."""
    start, mask = scene(96, 64), np.full((64, 96, 4), 255, np.uint8)
    mask[16:48, 24:72, 3] = 0
    other = np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8)
    made = []
    for more in ([], [other], [other, start]):
        answer = await client.images.edit(
            image=[named(encode(each)) for each in (start, *more)],
            mask=named(encode(mask)),
            prompt="apple",
            extra_body={"seed": 1},
        )
        made.append(decode(files(answer)[0]))
        outside = mask[..., 3] > 0
        assert np.array_equal(made[-1][outside], start[outside])
    assert len({each.tobytes() for each in made}) == 3
    sent = [named(encode(start)), named(b"not a picture")]
    with pytest.raises(openai.BadRequestError, match=r"image\[1\]") as caught:
        await client.images.edit(image=sent, mask=named(encode(mask)), prompt="apple")
    assert caught.value.param == "image"


async def test_fields_that_change_nothing_are_warnings(client: openai.AsyncOpenAI) -> None:
    answer = await client.images.generate(prompt="a red apple", extra_body={"strength": 0.5})
    (warning,) = (answer.model_extra or {})["warnings"]
    assert warning.startswith("strength is not used: ")
    assert "warnings" not in ((await client.images.generate(prompt="a red apple")).model_extra or {})


async def test_a_field_is_named_as_it_was_sent(client: openai.AsyncOpenAI) -> None:
    """By its own name where it is one of this API, else by that of the documented JSON."""
    long, generate = "x" * 100_001, "background.generate"
    for fields, named_ in (
        ({"prompt": long}, "prompt"),
        ({"prompt": "a", "extra_body": {"negative_prompt": long}}, "negative_prompt"),
        ({"prompt": "a", "extra_body": {"background": {"generate": {"additional_prompt": long}}}}, generate),
        ({"prompt": "a", "extra_body": {"background": {"generate": {"negative_prompt": long}}}}, generate),
        ({"prompt": "a", "extra_body": {"steps": 151}}, "steps"),
        ({"prompt": "a", "extra_body": {"imagegen": {"steps": 151}}}, "imagegen.steps"),
        ({"prompt": "a", "model": "small+none"}, "model"),
        ({"prompt": "a", "extra_body": {"loras": [{"name": "none"}]}}, "loras"),
        ({"prompt": "a", "size": "20000x64"}, "size"),
        ({"prompt": "a", "output_format": "jpeg", "extra_body": {"output_compression": 101}}, "output_compression"),
        ({"prompt": "a", "extra_body": {"safe": True, "nsfw_parameters": {"thresold": 2}}}, "nsfw_parameters.thresold"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            await client.images.generate(**fields)
        assert (caught.value.param or "").startswith(named_), (fields.keys(), caught.value.message)


async def test_several_pictures(client: openai.AsyncOpenAI) -> None:
    """The first one is edited; the likeness of the others steers: one or several, in their order."""
    other = np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8)
    start, steering = encode(scene()), encode(other)
    made = []
    for pictures in ([start], [start, steering], [start, steering, start]):
        sent = [named(data) for data in pictures]
        answer = await client.images.edit(image=sent, prompt="apple", extra_body={"seed": 1})
        made.append(files(answer)[0])
        assert answer.size == "96x64"
    assert len(set(made)) == 3
    with pytest.raises(openai.BadRequestError) as caught:
        await client.images.edit(image=[named(start) for _ in range(6)], prompt="apple")
    assert caught.value.param == "image"
    with pytest.raises(openai.BadRequestError) as caught:
        await client.images.edit(image=[named(start), named(b"not a picture")], prompt="apple")
    assert caught.value.param == "image"


async def test_other_adapters(client: openai.AsyncOpenAI) -> None:
    """`adapter` chooses what is done to the picture."""
    for adapter in ("generate_background", "control", "upscale", "outpainting"):
        answer = await client.images.edit(
            image=named(encode(scene(64, 64))), prompt="apple", size="96x64", extra_body={"adapter": adapter}
        )
        assert decode(files(answer)[0]).shape[:2] == (64, 96), adapter


async def test_a_stream_of_an_edit(client: openai.AsyncOpenAI) -> None:
    stream = await client.images.edit(
        image=named(encode(scene())), prompt="apple", stream=True, partial_images=1, extra_body={"steps": "10"}
    )
    events = [event async for event in stream]
    assert isinstance(events[0], ImageEditPartialImageEvent)
    assert events[-1].type == "image_edit.completed"


async def test_edits_by_address(endpoints: Endpoints) -> None:
    """JSON in place of a form, as OpenAI takes it too: addresses and data URIs."""
    picture, mask = encode(scene()), encode(np.zeros((64, 96, 4), np.uint8))
    body: dict[str, Any] = {
        "prompt": "apple",
        "mask": {"image_url": f"data:image/png;base64,{base64.b64encode(mask).decode()}"},
    }
    headers = {"Authorization": f"Bearer {endpoints.key}"}
    async with serve_web() as web, httpx.AsyncClient(base_url=endpoints.rest, headers=headers, timeout=60) as plain:
        body["images"] = [{"image_url": web.put("/picture.png", picture)}]
        answer = await plain.post("/v1/images/edits", json=body)
    assert (answer.status_code, answer.json()["size"]) == (200, "96x64"), answer.text


async def test_models(client: openai.AsyncOpenAI) -> None:
    """Model families, in their order."""
    assert [model.id async for model in client.models.list()] == ["small", "bare"]
    assert (await client.models.retrieve("bare")).object == "model"
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("gpt-image-1")
    assert caught.value.code == "model_not_found"


async def test_names_of_other_services_by_a_setting(adapters_triton: int, tmp_path: Path) -> None:
    """IMAGEGEN_OPENAI_MODELS; without it they are not known."""
    aliases = {"openai_models": {"dall-e-3": "bare"}}
    async with (
        running(adapters_triton, tmp_path, gateway=aliases, families=ADAPTERS_FAMILIES) as found,
        openai.AsyncOpenAI(base_url=f"{found.rest}/v1", api_key=found.key, max_retries=0) as client,
    ):
        answer = await client.images.generate(prompt="apple", model="dall-e-3", size="64x64", response_format="url")
        assert answer.size == "64x64"
        assert [model.id async for model in client.models.list()] == ["small", "bare", "dall-e-3"]
        with pytest.raises(openai.NotFoundError) as caught:
            await client.images.generate(prompt="apple", model="gpt-image-1")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert "small" in caught.value.message


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x" * 100_001}, "prompt"),
        ({"size": "1024"}, "size"),
        ({"size": "16x16"}, "size"),
        ({"size": "20000x20000"}, "size"),
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"quality": "best"}, "quality"),
        ({"response_format": "file"}, "response_format"),
        ({"output_format": "gif"}, "output_format"),
        ({"output_compression": 101, "output_format": "jpeg"}, "output_compression"),
        ({"background": "transparent", "output_format": "jpeg"}, "background"),
        ({"partial_images": 4, "stream": True}, "partial_images"),
        ({"extra_body": {"seed": -1}}, "seed"),
        ({"extra_body": {"seed": 2**63}}, "seed"),
        ({"extra_body": {"steps": 151}}, "steps"),
        ({"extra_body": {"sampler": "magic"}}, "sampler"),
        ({"extra_body": {"guidance_scale": 51}}, "guidance_scale"),
        ({"extra_body": {"priority": "first"}}, "priority"),
        ({"extra_body": {"sead": 7}}, "sead"),
        ({"extra_body": {"print_size": "z9"}}, "print_size"),
    ],
    ids=str,
)
async def test_what_is_wrong_is_named(client: openai.AsyncOpenAI, wrong: Mapping[str, Any], param: str) -> None:
    asked: dict[str, Any] = {"prompt": "apple", **wrong}
    with pytest.raises(openai.BadRequestError) as caught:
        await client.images.generate(**asked)
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
    said = str(caught.value.body["message"]).split("; ")  # type: ignore[index]
    assert param in said[0]
    assert len(said) == len(set(said))
    assert "background.generate" not in caught.value.message
    assert "imagegen." not in caught.value.message


@pytest.mark.parametrize(
    ("image", "mask", "param"),
    [
        (b"not a picture", None, "image"),
        (encode(scene()), b"not a picture", "mask"),
        (encode(scene()), encode(np.full((64, 96, 4), 255, np.uint8)), "mask"),
    ],
    ids=["image", "mask", "opaque mask"],
)
async def test_pictures_that_cannot_be_used(
    client: openai.AsyncOpenAI, image: bytes, mask: bytes | None, param: str
) -> None:
    """Also what shows only when the job runs."""
    masked: dict[str, Any] = {} if mask is None else {"mask": named(mask)}
    with pytest.raises(openai.BadRequestError) as caught:
        await client.images.edit(image=named(image), prompt="apple", **masked)
    assert caught.value.param == param, caught.value.message


@pytest.mark.parametrize("count", [5, 16])
async def test_more_pictures_than_steer(client: openai.AsyncOpenAI, count: int) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.images.edit(prompt="apple", image=[named(encode(scene()))] * count)
    assert caught.value.param == "image"
    assert f"image may be 4 pictures at most, not {count}" in caught.value.message


async def test_an_error_in_a_stream(client: openai.AsyncOpenAI) -> None:
    stream = await client.images.edit(image=named(b"not a picture"), prompt="apple", stream=True)
    with pytest.raises(openai.APIError) as caught:
        async for _ in stream:
            pass
    assert (caught.value.type, caught.value.param) == ("invalid_request_error", "image")


async def test_keys(endpoints: Endpoints) -> None:
    """Neither an unknown key nor none is let in; and the shape of the answer says which."""
    base: dict[str, Any] = {"base_url": f"{endpoints.rest}/v1", "api_key": "wrong", "max_retries": 0}
    for headers, code in (({}, "invalid_api_key"), ({"Authorization": openai.Omit()}, None)):
        async with openai.AsyncOpenAI(**base) as client:
            with pytest.raises(openai.AuthenticationError) as caught:
                await client.images.generate(prompt="apple", extra_headers=headers)
        assert caught.value.code == code


async def test_what_is_not_served(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught, pytest.deprecated_call():
        await client.images.create_variation(image=named(encode(scene())))
    assert caught.value.code == "unknown_url"


async def test_limits_of_an_account(endpoints: Endpoints) -> None:
    """Too many jobs, too many requests, too few credits: all 429; the last is not asked again."""
    for name, limits, code in (
        ("busy", {"max_active": 1}, "rate_limit_exceeded"),
        ("fast", {"requests_per_minute": 1}, "rate_limit_exceeded"),
        ("poor", {"credits": 0}, "insufficient_quota"),
    ):
        key = await new_key(endpoints.database_url, name, **limits)
        async with openai.AsyncOpenAI(base_url=f"{endpoints.rest}/v1", api_key=key, max_retries=0) as client:
            with pytest.raises(openai.RateLimitError) as caught:
                await client.images.generate(prompt="apple", n=4)
        assert caught.value.code == code, name
        retry = caught.value.response.headers.get("x-should-retry" if name == "poor" else "retry-after")
        assert retry, name


async def test_a_client_that_hangs_up_cancels_its_jobs(slow_triton: int, tmp_path: Path) -> None:
    """Unless it has an idempotency key: then the same request again answers the same picture."""
    async with running(slow_triton, tmp_path) as found:
        asked: dict[str, Any] = {"prompt": "apple", "extra_body": {"steps": 20}}
        key = {"Idempotency-Key": "order-1"}
        async with openai.AsyncOpenAI(base_url=f"{found.rest}/v1", api_key=found.key, max_retries=0) as client:
            with pytest.raises(openai.APITimeoutError):
                await client.images.generate(**asked, timeout=1.5)
            assert (await newest_job(found)).state == jobs_pb2.JOB_STATE_CANCELLED
            with pytest.raises(openai.APITimeoutError):
                await client.images.generate(**asked, extra_headers=key, timeout=1.5)
            job = await newest_job(found)
            assert job.state == jobs_pb2.JOB_STATE_SUCCEEDED
            again = await client.images.generate(**asked, extra_headers=key)
            assert seeds(again) == [job.artifact.seed]


async def newest_job(found: Endpoints) -> jobs_pb2.Job:
    """The account's newest job, once it has ended."""
    metadata = [("x-api-key", found.key)]
    async with grpc.aio.insecure_channel(found.grpc) as channel:
        stub = jobs_pb2_grpc.JobServiceStub(channel)
        (job,) = (await stub.ListJobs(jobs_pb2.ListJobsRequest(page_size=1), metadata=metadata)).jobs
        with contextlib.suppress(grpc.aio.AioRpcError):  # a job that was cancelled ends its stream with that
            async for _ in stub.WatchJob(jobs_pb2.WatchJobRequest(job_id=job.job_id), metadata=metadata):
                pass
        return await stub.GetJob(jobs_pb2.GetJobRequest(job_id=job.job_id), metadata=metadata)
